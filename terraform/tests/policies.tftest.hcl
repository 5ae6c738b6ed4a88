# The tests of the Python package run the library under the policies in rendered/. After a change of iam.tf these tests fail:
# review the difference, and update the files.

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
  bucket                 = "s3dict-example"
  environments           = ["prod", "dev"]
  ephemeral_environments = ["prod"]
  kms_key_arn            = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
}

run "policies_match_the_reviewed_files" {
  assert {
    condition     = aws_iam_policy.reader["prod"].policy == jsonencode(jsondecode(file("tests/rendered/reader-prod.json")))
    error_message = "The reader policy differs from rendered/reader-prod.json."
  }

  assert {
    condition     = aws_iam_policy.reader["dev"].policy == jsonencode(jsondecode(file("tests/rendered/reader-dev.json")))
    error_message = "The reader policy differs from rendered/reader-dev.json."
  }

  assert {
    condition     = aws_iam_policy.writer["prod"].policy == jsonencode(jsondecode(file("tests/rendered/writer-prod.json")))
    error_message = "The writer policy differs from rendered/writer-prod.json."
  }

  assert {
    condition     = aws_iam_policy.writer["dev"].policy == jsonencode(jsondecode(file("tests/rendered/writer-dev.json")))
    error_message = "The writer policy differs from rendered/writer-dev.json."
  }

  assert {
    condition     = aws_iam_policy.admin[0].policy == jsonencode(jsondecode(file("tests/rendered/admin.json")))
    error_message = "The admin policy differs from rendered/admin.json."
  }

  assert {
    condition     = output.environment_variables["prod"] == jsondecode(file("tests/rendered/environment-variables-prod.json"))
    error_message = "The variables differ from rendered/environment-variables-prod.json."
  }

  assert {
    condition     = output.shell_exports["prod"] == "export S3DICT_BUCKET=s3dict-example\nexport S3DICT_ENVIRONMENT=prod\nexport S3DICT_PREFIX=s3dict\nexport S3DICT_REGION=eu-central-1"
    error_message = "The exports are lines for a shell."
  }
}

run "policy_names_state_environment_and_role" {
  assert {
    condition = (
      aws_iam_policy.reader["dev"].name == "s3dict-example-dev-reader" &&
      aws_iam_policy.writer["dev"].name == "s3dict-example-dev-writer" &&
      aws_iam_policy.admin[0].name == "s3dict-example-admin"
    )
    error_message = "Names consist of the bucket's name, the environment and the role."
  }

  assert {
    condition     = keys(output.reader_policy_arns) == ["dev", "prod"] && keys(output.writer_policy_arns) == ["dev", "prod"]
    error_message = "There is a reader and a writer policy for each environment."
  }
}

run "policies_without_a_key_grant_no_kms_action" {
  variables {
    kms_key_arn = null
  }

  assert {
    condition = alltrue([
      for policy in concat(values(aws_iam_policy.reader), values(aws_iam_policy.writer), aws_iam_policy.admin) :
      !strcontains(policy.policy, "kms:")
    ])
    error_message = "Without a KMS key, no policy grants a KMS action."
  }
}

run "arns_are_those_of_the_partition" {
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
    error_message = "ARNs and service names are those of the partition."
  }
}

run "policies_have_the_iam_path" {
  variables {
    iam_path = "/teams/data/"
  }

  assert {
    condition = toset(["/teams/data/"]) == toset([
      for policy in concat(values(aws_iam_policy.reader), values(aws_iam_policy.writer), aws_iam_policy.admin) : policy.path
    ])
    error_message = "All policies are created under iam_path."
  }
}

run "documents_are_available_without_policies" {
  variables {
    create_policies = false
  }

  assert {
    condition     = length(aws_iam_policy.reader) + length(aws_iam_policy.writer) + length(aws_iam_policy.admin) == 0
    error_message = "No IAM policy is created."
  }

  assert {
    condition     = length(output.reader_policy_arns) + length(output.writer_policy_arns) == 0 && output.admin_policy_arn == null
    error_message = "There are no ARNs of policies that were not created."
  }

  assert {
    condition = (
      output.reader_policies["dev"] == jsonencode(jsondecode(file("tests/rendered/reader-dev.json"))) &&
      output.writer_policies["prod"] == jsonencode(jsondecode(file("tests/rendered/writer-prod.json"))) &&
      output.admin_policy == jsonencode(jsondecode(file("tests/rendered/admin.json")))
    )
    error_message = "The outputs hold the documents of the policies."
  }
}
