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

run "bucket_name_with_a_slash_is_rejected" {
  command = plan
  variables {
    bucket = "s3dict-example/dicts"
  }
  expect_failures = [var.bucket]
}

run "prefix_that_ends_in_a_slash_is_rejected" {
  command = plan
  variables {
    prefix = "dicts/"
  }
  expect_failures = [var.prefix]
}

run "prefix_with_a_wildcard_is_rejected" {
  command = plan
  variables {
    prefix = "dicts/*"
  }
  expect_failures = [var.prefix]
}

run "prefix_with_a_dot_segment_is_rejected" {
  command = plan
  variables {
    prefix = "dicts/../others"
  }
  expect_failures = [var.prefix]
}

run "prefix_too_long_for_the_id_of_a_rule_is_rejected" {
  command = plan
  variables {
    prefix = join("/", [for _ in range(101) : "p"])
  }
  expect_failures = [var.prefix]
}

run "environment_with_a_wildcard_is_rejected" {
  command = plan
  variables {
    environments = ["prod", "*"]
  }
  expect_failures = [var.environments]
}

run "environment_with_a_dot_segment_is_rejected" {
  command = plan
  variables {
    environments = [".."]
  }
  expect_failures = [var.environments]
}

run "unknown_ephemeral_environment_is_rejected" {
  command = plan
  variables {
    environments           = ["prod"]
    ephemeral_environments = ["pord"]
  }
  expect_failures = [output.writer_policies]
}

run "policy_larger_than_the_iam_limit_is_rejected" {
  command = plan
  variables {
    prefix       = join("/", [for _ in range(100) : "p"])
    environments = [join("", [for _ in range(64) : "e"])]
  }
  expect_failures = [aws_iam_policy.writer]
}

run "alias_of_a_key_is_rejected" {
  command = plan
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:alias/s3dict"
  }
  expect_failures = [var.kms_key_arn]
}

run "longest_prefix_is_accepted" {
  command = plan
  variables {
    prefix = join("", [for _ in range(200) : "p"])
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : length(rule.id) <= 255])
    error_message = "S3 allows 255 characters for the id of a rule."
  }
}

run "region_of_a_created_bucket_is_that_of_the_provider" {
  command = plan
  variables {
    region = "us-west-2"
  }
  expect_failures = [aws_s3_bucket.this]
}

run "region_with_a_space_is_rejected" {
  command = plan
  variables {
    region = "eu central 1"
  }
  expect_failures = [var.region]
}

run "iam_path_without_a_slash_is_rejected" {
  command = plan
  variables {
    iam_path = "/teams"
  }
  expect_failures = [var.iam_path]
}

run "bucket_policy_statement_without_a_principal_is_rejected" {
  command = plan
  variables {
    bucket_policy_statements = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "arn:aws:s3:::s3dict-example/*" }]
  }
  expect_failures = [var.bucket_policy_statements]
}

run "access_logs_in_the_bucket_itself_are_rejected" {
  command = plan
  variables {
    access_log_bucket = "s3dict-example"
  }
  expect_failures = [aws_s3_bucket_logging.this]
}

run "lifecycle_rule_with_an_id_of_s3dict_is_rejected" {
  command = plan
  variables {
    lifecycle_rules = [{ id = "s3dict.s3dict.sweep-1d", prefix = "reports/", expiration_days = 1 }]
  }
  expect_failures = [var.lifecycle_rules]
}

run "lifecycle_rule_without_an_action_is_rejected" {
  command = plan
  variables {
    lifecycle_rules = [{ id = "reports", prefix = "reports/" }]
  }
  expect_failures = [var.lifecycle_rules]
}

run "lifecycle_rule_that_expires_all_objects_is_rejected" {
  command = plan
  variables {
    lifecycle_rules = [{ id = "everything", prefix = "", expiration_days = 30 }]
  }
  expect_failures = [aws_s3_bucket_lifecycle_configuration.this]
}

run "lifecycle_rule_that_archives_live_entries_is_rejected" {
  command = plan
  variables {
    lifecycle_rules = [{ id = "archive", prefix = "s3dict/keep/", transitions = [{ days = 30, storage_class = "GLACIER" }] }]
  }
  expect_failures = [aws_s3_bucket_lifecycle_configuration.this]
}
