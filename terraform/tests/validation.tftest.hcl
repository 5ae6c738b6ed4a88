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

run "a_bucket_name_with_a_slash" {
  command = plan
  variables {
    bucket = "s3dict-example/dicts"
  }
  expect_failures = [var.bucket]
}

run "a_prefix_that_ends_in_a_slash" {
  command = plan
  variables {
    prefix = "dicts/"
  }
  expect_failures = [var.prefix]
}

run "a_prefix_with_a_wildcard" {
  command = plan
  variables {
    prefix = "dicts/*"
  }
  expect_failures = [var.prefix]
}

run "a_prefix_that_climbs" {
  command = plan
  variables {
    prefix = "dicts/../others"
  }
  expect_failures = [var.prefix]
}

run "a_prefix_too_long_for_the_id_of_a_rule" {
  command = plan
  variables {
    prefix = join("/", [for _ in range(101) : "p"])
  }
  expect_failures = [var.prefix]
}

run "an_environment_with_a_wildcard" {
  command = plan
  variables {
    environments = ["prod", "*"]
  }
  expect_failures = [var.environments]
}

run "an_environment_that_is_a_path" {
  command = plan
  variables {
    environments = [".."]
  }
  expect_failures = [var.environments]
}

run "an_ephemeral_environment_that_is_none" {
  command = plan
  variables {
    environments           = ["prod"]
    ephemeral_environments = ["pord"]
  }
  expect_failures = [aws_iam_policy.writer["prod"]]
}

run "a_policy_larger_than_iam_takes" {
  command = plan
  variables {
    prefix       = join("/", [for _ in range(100) : "p"])
    environments = [join("", [for _ in range(64) : "e"])]
  }
  expect_failures = [aws_iam_policy.writer]
}

run "the_alias_of_a_key" {
  command = plan
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:alias/s3dict"
  }
  expect_failures = [var.kms_key_arn]
}

run "the_longest_prefix" {
  command = plan
  variables {
    prefix = join("", [for _ in range(200) : "p"])
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : length(rule.id) <= 255])
    error_message = "S3 allows the id of a rule 255 characters."
  }
}
