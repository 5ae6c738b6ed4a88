mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition  = "aws"
      dns_suffix = "amazonaws.com"
    }
  }

  mock_data "aws_region" {
    defaults = {
      id = "eu-central-1"
    }
  }
}

variables {
  bucket = "s3dict-example"
}

run "bucket_is_private_and_encrypted" {
  assert {
    condition     = aws_s3_bucket.this[0].bucket == "s3dict-example" && !aws_s3_bucket.this[0].force_destroy
    error_message = "The bucket has the requested name, and destroying it while it holds objects fails."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this[0].block_public_acls,
      aws_s3_bucket_public_access_block.this[0].block_public_policy,
      aws_s3_bucket_public_access_block.this[0].ignore_public_acls,
      aws_s3_bucket_public_access_block.this[0].restrict_public_buckets,
    ])
    error_message = "All four settings that block public access are on."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this[0].rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "ACLs are disabled."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Without a KMS key, S3 encrypts with its own keys."
  }

  assert {
    condition     = length(aws_s3_bucket_versioning.this) == 0
    error_message = "Versioning is off by default."
  }
}

run "bucket_policy_requires_tls" {
  assert {
    condition = jsondecode(aws_s3_bucket_policy.this[0].policy).Statement == [{
      Sid       = "DenyWithoutTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::s3dict-example", "arn:aws:s3:::s3dict-example/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
    error_message = "The bucket policy denies requests without TLS and nothing else."
  }
}

# rendered/lifecycle.json holds the rules in the format of the S3 API. The tests of the Python package compare the same file
# with the rules that `s3dict init` installs.
run "sweep_rules_match_the_code" {
  assert {
    condition = jsonencode(concat(
      [for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : {
        ID         = rule.id
        Status     = rule.status
        Filter     = { Prefix = one(rule.filter).prefix }
        Expiration = { Days = one(rule.expiration).days }
      } if length(rule.noncurrent_version_expiration) == 0],
      [for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : {
        ID                             = rule.id
        Status                         = rule.status
        Filter                         = { Prefix = one(rule.filter).prefix }
        Expiration                     = { ExpiredObjectDeleteMarker = one(rule.expiration).expired_object_delete_marker }
        AbortIncompleteMultipartUpload = { DaysAfterInitiation = one(rule.abort_incomplete_multipart_upload).days_after_initiation }
        NoncurrentVersionExpiration    = { NoncurrentDays = one(rule.noncurrent_version_expiration).noncurrent_days }
      } if length(rule.noncurrent_version_expiration) > 0],
    )) == jsonencode(jsondecode(file("tests/rendered/lifecycle.json")))
    error_message = "The lifecycle rules differ from rendered/lifecycle.json."
  }
}

run "kms_key_uses_a_bucket_key" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition = (
      one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms" &&
      one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).kms_master_key_id == var.kms_key_arn &&
      one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).bucket_key_enabled
    )
    error_message = "The bucket is encrypted with the key, through a bucket key."
  }
}

run "versioning_is_optional" {
  variables {
    versioning = true
  }

  assert {
    condition     = aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Enabled"
    error_message = "versioning enables versioning."
  }
}

run "existing_bucket_is_not_changed" {
  variables {
    create_bucket     = false
    region            = "us-west-2"
    access_log_bucket = "s3dict-logs"
  }

  assert {
    condition = 0 == sum([for made in [
      aws_s3_bucket.this,
      aws_s3_bucket_lifecycle_configuration.this,
      aws_s3_bucket_logging.this,
      aws_s3_bucket_ownership_controls.this,
      aws_s3_bucket_policy.this,
      aws_s3_bucket_public_access_block.this,
      aws_s3_bucket_server_side_encryption_configuration.this,
      aws_s3_bucket_versioning.this,
    ] : length(made)])
    error_message = "No resource changes an existing bucket."
  }

  assert {
    condition     = output.bucket == "s3dict-example" && output.region == "us-west-2" && length(aws_iam_policy.reader) == 1
    error_message = "Policies and outputs refer to the existing bucket."
  }
}

run "bucket_policy_takes_additional_statements" {
  variables {
    bucket_policy_statements = [
      {
        Sid       = "ReadFromAnotherAccount"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::444455556666:root" }
        Action    = ["s3:GetObject"]
        Resource  = ["arn:aws:s3:::s3dict-example/s3dict/*"]
      },
      {
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:DeleteBucket"
        Resource  = "arn:aws:s3:::s3dict-example"
        Condition = { ArnNotLike = { "aws:PrincipalArn" = "arn:aws:iam::111122223333:role/admin" } }
      },
    ]
  }

  assert {
    condition = (
      [for statement in jsondecode(aws_s3_bucket_policy.this[0].policy).Statement : statement.Effect] == ["Deny", "Allow", "Deny"] &&
      jsondecode(aws_s3_bucket_policy.this[0].policy).Statement[1].Principal.AWS == "arn:aws:iam::444455556666:root" &&
      jsondecode(aws_s3_bucket_policy.this[0].policy).Statement[2].Condition.ArnNotLike["aws:PrincipalArn"] == "arn:aws:iam::111122223333:role/admin"
    )
    error_message = "Additional statements follow the one that requires TLS, unchanged."
  }
}

run "access_logs_go_to_another_bucket" {
  variables {
    access_log_bucket = "s3dict-logs"
  }

  assert {
    condition = (
      aws_s3_bucket_logging.this[0].bucket == "s3dict-example" &&
      aws_s3_bucket_logging.this[0].target_bucket == "s3dict-logs" &&
      aws_s3_bucket_logging.this[0].target_prefix == "s3dict-example/"
    )
    error_message = "Access logs are delivered to the log bucket under the bucket's name."
  }
}

run "access_logs_are_off_by_default" {
  assert {
    condition     = length(aws_s3_bucket_logging.this) == 0
    error_message = "There is no logging configuration without access_log_bucket."
  }
}

run "additional_lifecycle_rules_follow_those_of_s3dict" {
  variables {
    lifecycle_rules = [
      {
        id                                 = "reports"
        prefix                             = "reports/"
        expiration_days                    = 90
        noncurrent_version_expiration_days = 7
        transitions                        = [{ days = 30, storage_class = "STANDARD_IA" }]
      },
      {
        id                                     = "uploads"
        prefix                                 = ""
        enabled                                = false
        abort_incomplete_multipart_upload_days = 3
      },
    ]
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.id if !startswith(rule.id, "s3dict.")] == ["reports", "uploads"]
    error_message = "Additional rules are installed."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this[0].rule) == length(jsondecode(file("tests/rendered/lifecycle.json"))) + 2
    error_message = "The rules of s3dict stay."
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule :
      rule.status == "Enabled" && one(rule.expiration).days == 90 && one(rule.noncurrent_version_expiration).noncurrent_days == 7 &&
      one(rule.transition).storage_class == "STANDARD_IA" && length(rule.abort_incomplete_multipart_upload) == 0
      if rule.id == "reports"
    ])
    error_message = "A rule has the actions that were given."
  }

  assert {
    condition = alltrue([
      for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule :
      rule.status == "Disabled" && one(rule.abort_incomplete_multipart_upload).days_after_initiation == 3 &&
      length(rule.expiration) == 0 && length(rule.transition) == 0
      if rule.id == "uploads"
    ])
    error_message = "A rule has no action that was not given."
  }
}
