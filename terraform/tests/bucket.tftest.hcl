mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition  = "aws"
      dns_suffix = "amazonaws.com"
    }
  }
}

variables {
  bucket = "s3dict-example"
}

run "a_private_bucket_with_s3_encryption" {
  assert {
    condition     = aws_s3_bucket.this[0].bucket == "s3dict-example" && !aws_s3_bucket.this[0].force_destroy
    error_message = "The bucket has the name that was asked for, and is not destroyed with what is in it."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this[0].block_public_acls,
      aws_s3_bucket_public_access_block.this[0].block_public_policy,
      aws_s3_bucket_public_access_block.this[0].ignore_public_acls,
      aws_s3_bucket_public_access_block.this[0].restrict_public_buckets,
    ])
    error_message = "Public access is blocked in all four ways."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this[0].rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "There are no ACLs."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Without a key, S3 encrypts with its own."
  }

  assert {
    condition     = length(aws_s3_bucket_versioning.this) == 0
    error_message = "No versions are kept unless that is asked for."
  }
}

run "only_tls" {
  assert {
    condition = jsondecode(aws_s3_bucket_policy.this[0].policy).Statement == [{
      Sid       = "DenyWithoutTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::s3dict-example", "arn:aws:s3:::s3dict-example/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
    error_message = "The bucket policy denies everything that comes without TLS, and does nothing else."
  }
}

# rendered/lifecycle.json holds the rules as the S3 API writes them. The tests of the Python package compare the same file with
# what `s3dict init` installs.
run "the_sweep_rules_of_the_code" {
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
    error_message = "The lifecycle rules are no longer those of rendered/lifecycle.json."
  }
}

run "a_kms_key_with_a_bucket_key" {
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

run "versions" {
  variables {
    versioning = true
  }

  assert {
    condition     = aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Enabled"
    error_message = "Versions are kept where that is asked for."
  }
}

run "a_bucket_of_somebody_else" {
  variables {
    create_bucket = false
  }

  assert {
    condition = 0 == sum([for made in [
      aws_s3_bucket.this,
      aws_s3_bucket_lifecycle_configuration.this,
      aws_s3_bucket_ownership_controls.this,
      aws_s3_bucket_policy.this,
      aws_s3_bucket_public_access_block.this,
      aws_s3_bucket_server_side_encryption_configuration.this,
      aws_s3_bucket_versioning.this,
    ] : length(made)])
    error_message = "Nothing about the bucket is touched."
  }

  assert {
    condition     = output.bucket == "s3dict-example" && length(aws_iam_policy.reader) == 1
    error_message = "The policies and outputs are those for the bucket that exists."
  }
}
