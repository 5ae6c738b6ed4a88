# A directory bucket (S3 Express One Zone) for s3dict.

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  zone = regex("--([a-z0-9-]+)--x-s3$", var.bucket)[0]

  # The id of an Availability Zone has two parts (use1-az4), that of a Local Zone three (usw2-lax1-az1).
  zone_type = length(split("-", local.zone)) > 2 ? "LocalZone" : "AvailabilityZone"

  # `id`, because provider version 6 deprecates `name` and version 5 has no `region`.
  region     = data.aws_region.current.id
  bucket_arn = "arn:${data.aws_partition.current.partition}:s3express:${local.region}:${data.aws_caller_identity.current.account_id}:bucket/${var.bucket}"

  # The days of the sweep classes, as in the module for general purpose buckets.
  sweep_days = [1, 2, 8, 35, 105, 420]

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
      id     = "${local.rule_id_prefix}ephemeral"
      prefix = "${var.prefix}/ephemeral/"
      days   = 2
    }],
  )
}

resource "aws_s3_directory_bucket" "this" {
  bucket          = var.bucket
  data_redundancy = "Single${local.zone_type}"
  force_destroy   = var.force_destroy

  location {
    name = local.zone
    type = local.zone_type
  }
}

# S3 applies the lifecycle rules of a directory bucket in a session, which its policy has to allow.
resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_directory_bucket.this.bucket

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "S3LifecycleDeletesExpiredEntries"
        Effect    = "Allow"
        Principal = { Service = "lifecycle.s3.amazonaws.com" }
        Action    = "s3express:CreateSession"
        Resource  = local.bucket_arn
        Condition = { StringEquals = { "s3express:SessionMode" = "ReadWrite" } }
      }],
      var.bucket_policy_statements,
    )
  })
}

# Directory buckets have no versions, and accept rules for none.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_directory_bucket.this.bucket

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

  rule {
    id     = "${local.rule_id_prefix}housekeeping"
    status = "Enabled"

    filter {
      prefix = "${var.prefix}/"
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_policy.this]
}
