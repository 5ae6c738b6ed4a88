# The policies in rendered/ are what the tests of the Python package run the library under. After a change of iam.tf, they show
# the difference: check it, and write the new policy there.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition  = "aws"
      dns_suffix = "amazonaws.com"
    }
  }
}

variables {
  bucket                 = "s3dict-example"
  environments           = ["prod", "dev"]
  ephemeral_environments = ["prod"]
  kms_key_arn            = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

run "the_reviewed_policies" {
  assert {
    condition     = aws_iam_policy.reader["prod"].policy == jsonencode(jsondecode(file("tests/rendered/reader-prod.json")))
    error_message = "The reader policy is no longer that of rendered/reader-prod.json."
  }

  assert {
    condition     = aws_iam_policy.reader["dev"].policy == jsonencode(jsondecode(file("tests/rendered/reader-dev.json")))
    error_message = "The reader policy is no longer that of rendered/reader-dev.json."
  }

  assert {
    condition     = aws_iam_policy.writer["prod"].policy == jsonencode(jsondecode(file("tests/rendered/writer-prod.json")))
    error_message = "The writer policy is no longer that of rendered/writer-prod.json."
  }

  assert {
    condition     = aws_iam_policy.writer["dev"].policy == jsonencode(jsondecode(file("tests/rendered/writer-dev.json")))
    error_message = "The writer policy is no longer that of rendered/writer-dev.json."
  }

  assert {
    condition     = aws_iam_policy.admin.policy == jsonencode(jsondecode(file("tests/rendered/admin.json")))
    error_message = "The admin policy is no longer that of rendered/admin.json."
  }

  assert {
    condition     = output.environment_variables["prod"] == jsondecode(file("tests/rendered/environment-variables-prod.json"))
    error_message = "The variables are no longer those of rendered/environment-variables-prod.json."
  }

  assert {
    condition     = output.shell_exports["prod"] == "export S3DICT_BUCKET=s3dict-example\nexport S3DICT_ENVIRONMENT=prod\nexport S3DICT_PREFIX=s3dict"
    error_message = "The exports are lines for a shell."
  }
}

run "names_tell_what_policies_are_for" {
  assert {
    condition = (
      aws_iam_policy.reader["dev"].name == "s3dict-example-dev-reader" &&
      aws_iam_policy.writer["dev"].name == "s3dict-example-dev-writer" &&
      aws_iam_policy.admin.name == "s3dict-example-admin"
    )
    error_message = "Names are made of the bucket's, the environment's and the role."
  }

  assert {
    condition     = keys(output.reader_policy_arns) == ["dev", "prod"] && keys(output.writer_policy_arns) == ["dev", "prod"]
    error_message = "There is a reader and a writer policy for each environment."
  }
}

run "no_key_no_kms" {
  variables {
    kms_key_arn = null
  }

  assert {
    condition = alltrue([
      for policy in concat(values(aws_iam_policy.reader), values(aws_iam_policy.writer), [aws_iam_policy.admin]) :
      !strcontains(policy.policy, "kms:")
    ])
    error_message = "Without a key, no policy speaks of KMS."
  }
}

run "another_partition" {
  variables {
    kms_key_arn = "arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  override_data {
    target = data.aws_partition.current
    values = {
      partition  = "aws-cn"
      dns_suffix = "amazonaws.com.cn"
    }
  }

  assert {
    condition     = strcontains(aws_iam_policy.reader["dev"].policy, "arn:aws-cn:s3:::s3dict-example/") && strcontains(aws_iam_policy.reader["dev"].policy, "s3.*.amazonaws.com.cn")
    error_message = "ARNs and services are those of the partition."
  }
}
