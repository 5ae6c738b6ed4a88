data "aws_partition" "current" {}

locals {
  bucket     = var.create_bucket ? aws_s3_bucket.this[0].bucket : var.bucket
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}"

  # Days of the sweep classes. A dict's data lies under the smallest class that holds its ttl with an eighth to spare, so one
  # rule for each class does for every ttl. Ids, prefixes and days are those that `s3dict init` installs.
  sweep_days = [1, 2, 8, 35, 105, 420]

  sweep_rules = concat(
    [for days in local.sweep_days : {
      id     = "s3dict:${var.prefix}:sweep-${days}d"
      prefix = "${var.prefix}/sweep-${days}d/"
      days   = days
    }],
    [{
      # Manifests of ephemeral dicts. A heartbeat writes them anew every five minutes while they are in use.
      id     = "s3dict:${var.prefix}:ephemeral"
      prefix = "${var.prefix}/ephemeral/"
      days   = 2
    }],
  )
}

resource "aws_s3_bucket" "this" {
  count = var.create_bucket ? 1 : 0

  bucket        = var.bucket
  force_destroy = var.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  count = var.create_bucket ? 1 : 0

  bucket                  = aws_s3_bucket.this[0].bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  rule {
    # The bucket key saves a request to KMS, and its price, for nearly every request to S3.
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  count = var.create_bucket && var.versioning ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_policy" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DenyWithoutTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  # S3 answers 409 to two changes of a bucket's access at once.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  dynamic "rule" {
    for_each = local.sweep_rules

    content {
      id     = rule.value.id
      status = "Enabled"

      filter {
        prefix = rule.value.prefix
      }

      expiration {
        days = rule.value.days
      }
    }
  }

  # What interrupted uploads and, in a versioned bucket, overwriting and expiry leave behind.
  rule {
    id     = "s3dict:${var.prefix}:housekeeping"
    status = "Enabled"

    filter {
      prefix = "${var.prefix}/"
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  # Rules on noncurrent versions want a bucket whose versioning is settled.
  depends_on = [aws_s3_bucket_versioning.this]
}
