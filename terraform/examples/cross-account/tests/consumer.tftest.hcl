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

mock_provider "aws" {
  alias = "consumer"

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::444455556666:role/s3dict-consumer"
    }
  }
}

variables {
  bucket = "s3dict-example"
}

run "bucket_and_role_allow_the_same" {
  assert {
    condition = [
      for statement in jsondecode(module.s3dict.bucket_policy).Statement : statement.Action if statement.Effect == "Allow"
    ] == [for statement in jsondecode(aws_iam_role_policy.dicts.policy).Statement : statement.Action]
    error_message = "The bucket policy allows the role the actions of its own policy."
  }

  assert {
    condition = toset(["arn:aws:iam::444455556666:role/s3dict-consumer"]) == toset([
      for statement in jsondecode(module.s3dict.bucket_policy).Statement : statement.Principal.AWS if statement.Effect == "Allow"
    ])
    error_message = "The bucket policy allows one role only."
  }
}
