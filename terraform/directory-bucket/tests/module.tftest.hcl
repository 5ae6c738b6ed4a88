# The tests of the Python package compare the files in rendered/ with the code. After a change of the module these tests fail:
# review the difference, and update the files.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }

  mock_data "aws_region" {
    defaults = {
      id = "us-east-1"
    }
  }

  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "123456789012"
    }
  }
}

variables {
  bucket = "dicts--use1-az4--x-s3"
}

run "policies_match_the_reviewed_files" {
  assert {
    condition     = aws_iam_policy.this["reader"].policy == jsonencode(jsondecode(file("tests/rendered/reader.json")))
    error_message = "The reader policy differs from rendered/reader.json."
  }

  assert {
    condition     = aws_iam_policy.this["writer"].policy == jsonencode(jsondecode(file("tests/rendered/writer.json")))
    error_message = "The writer policy differs from rendered/writer.json."
  }

  assert {
    condition     = aws_iam_policy.this["admin"].policy == jsonencode(jsondecode(file("tests/rendered/admin.json")))
    error_message = "The admin policy differs from rendered/admin.json."
  }

  assert {
    condition     = output.bucket_policy == jsonencode(jsondecode(file("tests/rendered/bucket-policy.json")))
    error_message = "The bucket policy differs from rendered/bucket-policy.json."
  }

  assert {
    condition     = output.environment_variables == jsondecode(file("tests/rendered/environment-variables.json"))
    error_message = "The variables differ from rendered/environment-variables.json."
  }

  assert {
    condition     = output.shell_exports == "export S3DICT_BUCKET=dicts--use1-az4--x-s3\nexport S3DICT_ENVIRONMENT=main\nexport S3DICT_PREFIX=s3dict\nexport S3DICT_REGION=us-east-1"
    error_message = "The exports are lines for a shell."
  }
}

run "rules_match_the_code" {
  assert {
    condition = jsonencode(concat(
      [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : {
        ID         = rule.id
        Status     = rule.status
        Filter     = { Prefix = one(rule.filter).prefix }
        Expiration = { Days = one(rule.expiration).days }
      } if length(rule.expiration) > 0],
      [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : {
        ID                             = rule.id
        Status                         = rule.status
        Filter                         = { Prefix = one(rule.filter).prefix }
        AbortIncompleteMultipartUpload = { DaysAfterInitiation = one(rule.abort_incomplete_multipart_upload).days_after_initiation }
      } if length(rule.expiration) == 0],
    )) == jsonencode(jsondecode(file("tests/rendered/lifecycle.json")))
    error_message = "The lifecycle rules differ from rendered/lifecycle.json."
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : length(rule.noncurrent_version_expiration) == 0])
    error_message = "A directory bucket accepts no rule for versions."
  }
}

run "bucket_is_in_the_zone_of_its_name" {
  assert {
    condition = (
      one(aws_s3_directory_bucket.this.location).name == "use1-az4" && one(aws_s3_directory_bucket.this.location).type == "AvailabilityZone" &&
      aws_s3_directory_bucket.this.data_redundancy == "SingleAvailabilityZone"
    )
    error_message = "The zone is the one in the name."
  }
}

run "local_zones_have_names_of_three_parts" {
  variables {
    bucket = "dicts--usw2-lax1-az1--x-s3"
  }

  assert {
    condition = (
      one(aws_s3_directory_bucket.this.location).name == "usw2-lax1-az1" && one(aws_s3_directory_bucket.this.location).type == "LocalZone" &&
      aws_s3_directory_bucket.this.data_redundancy == "SingleLocalZone"
    )
    error_message = "A Local Zone is not an Availability Zone."
  }
}

run "statements_join_the_bucket_policy" {
  variables {
    bucket_policy_statements = [{
      Effect    = "Deny"
      Principal = "*"
      Action    = ["s3express:CreateSession"]
      Resource  = "arn:aws:s3express:us-east-1:123456789012:bucket/dicts--use1-az4--x-s3"
      Condition = { StringNotEquals = { "aws:SourceVpce" = "vpce-1a2b3c4d" } }
    }]
  }

  assert {
    condition     = join(",", [for statement in jsondecode(output.bucket_policy).Statement : statement.Effect]) == "Allow,Deny"
    error_message = "S3 Lifecycle stays allowed."
  }
}

run "policies_are_optional" {
  variables {
    create_policies = false
  }

  assert {
    condition     = length(aws_iam_policy.this) == 0 && length(output.policy_arns) == 0
    error_message = "There are no policies."
  }
}

run "other_names_are_rejected" {
  command = plan

  variables {
    bucket = "dicts"
  }

  expect_failures = [var.bucket]
}

run "environment_is_a_name" {
  command = plan

  variables {
    environment = "a/b"
  }

  expect_failures = [var.environment]
}

run "statements_of_other_actions_are_rejected" {
  command = plan

  variables {
    bucket_policy_statements = [{ Effect = "Allow", Principal = "*", Action = "s3:GetObject", Resource = "*" }]
  }

  expect_failures = [var.bucket_policy_statements]
}
