data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  bucket     = var.create_bucket ? aws_s3_bucket.this[0].bucket : var.bucket
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket}"

  # `id`, because provider version 6 deprecates `name` and version 5 has no `region`.
  region = coalesce(var.region, data.aws_region.current.id)

  # The days of the sweep classes. The data of a dict is in the smallest class that holds 8/7 of its ttl, so one rule for each
  # class serves every ttl. Ids, prefixes and days are those that `s3dict init` installs.
  sweep_days = [1, 2, 8, 35, 105, 420]

  # Letters, digits, "_", "." and "-" alone: some stores accept no other characters in the id of a rule.
  escaped_prefix = replace(replace(replace(var.prefix, "_", "__"), ".", "_d"), "/", "_s")
  rule_id_scope  = length(local.escaped_prefix) <= 200 ? local.escaped_prefix : "${substr(local.escaped_prefix, 0, 100)}_h${substr(sha256(var.prefix), 0, 32)}"
  rule_id_prefix = "s3dict.${local.rule_id_scope}."

  sweep_rules = concat(
    [for days in local.sweep_days : {
      id     = "${local.rule_id_prefix}sweep-${days}d"
      prefix = "${var.prefix}/sweep-${days}d/"
      days   = days
    }],
    [{
      # Manifests of ephemeral dicts. While a dict is in use, a heartbeat rewrites its manifest every five minutes.
      id     = "${local.rule_id_prefix}ephemeral"
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

  lifecycle {
    precondition {
      condition     = var.region == null || var.region == data.aws_region.current.id
      error_message = "The bucket is created in the provider's region: leave region null, or pass a provider of that region (providers = { aws = aws.that_region })."
    }
  }
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
    # The bucket key avoids a KMS request, and its cost, for nearly every S3 request.
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

resource "aws_s3_bucket_logging" "this" {
  count = var.create_bucket && var.access_log_bucket != null ? 1 : 0

  bucket        = aws_s3_bucket.this[0].bucket
  target_bucket = var.access_log_bucket
  target_prefix = coalesce(var.access_log_prefix, "${var.bucket}/")

  lifecycle {
    precondition {
      condition     = var.access_log_bucket != var.bucket
      error_message = "access_log_bucket must be another bucket: each log that is delivered would be logged in turn."
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  count = var.create_bucket ? 1 : 0

  bucket = aws_s3_bucket.this[0].bucket

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "DenyWithoutTLS"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      var.bucket_policy_statements,
    )
  })

  # S3 answers 409 to two concurrent changes of a bucket's access settings.
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

  # Removes what interrupted uploads and, in a versioned bucket, overwrites and expirations leave.
  rule {
    id     = "${local.rule_id_prefix}housekeeping"
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

  dynamic "rule" {
    for_each = var.lifecycle_rules

    content {
      id     = rule.value.id
      status = rule.value.enabled ? "Enabled" : "Disabled"

      filter {
        prefix = rule.value.prefix
      }

      dynamic "expiration" {
        for_each = rule.value.expiration_days[*]

        content {
          days = expiration.value
        }
      }

      dynamic "noncurrent_version_expiration" {
        for_each = rule.value.noncurrent_version_expiration_days[*]

        content {
          noncurrent_days = noncurrent_version_expiration.value
        }
      }

      dynamic "abort_incomplete_multipart_upload" {
        for_each = rule.value.abort_incomplete_multipart_upload_days[*]

        content {
          days_after_initiation = abort_incomplete_multipart_upload.value
        }
      }

      dynamic "transition" {
        for_each = rule.value.transitions

        content {
          days          = transition.value.days
          storage_class = transition.value.storage_class
        }
      }
    }
  }

  lifecycle {
    precondition {
      condition = alltrue([
        for rule in var.lifecycle_rules : !startswith(rule.prefix, "${var.prefix}/") && !startswith("${var.prefix}/", rule.prefix)
        if rule.expiration_days != null || length(rule.transitions) > 0
      ])
      error_message = "A rule of lifecycle_rules would delete or archive live entries: choose a prefix that does not overlap with '${var.prefix}/'."
    }
  }

  # Rules for noncurrent versions require that the versioning of the bucket is settled.
  depends_on = [aws_s3_bucket_versioning.this]
}
