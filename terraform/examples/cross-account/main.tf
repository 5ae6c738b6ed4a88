# A bucket in one account, and a role in another account that writes to its dicts. S3 allows a request across accounts if
# both sides do: the bucket policy for the role, and a policy of the role for the bucket.

terraform {
  required_version = ">= 1.5.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

# The account that owns the bucket.
provider "aws" {
  region  = var.region
  profile = var.owner_profile
}

# The account whose role uses it.
provider "aws" {
  alias   = "consumer"
  region  = var.region
  profile = var.consumer_profile
}

locals {
  environment = "prod"
}

module "s3dict" {
  source = "../.."

  bucket          = var.bucket
  environments    = [local.environment]
  create_policies = false # policies belong to an account, and the role is in the other one

  # The statements of the writer policy, for the role. The output depends on no resource, so this is not a cycle.
  bucket_policy_statements = [
    for statement in jsondecode(module.s3dict.writer_policies[local.environment]).Statement :
    merge(statement, { Sid = "Consumer${statement.Sid}", Principal = { AWS = aws_iam_role.consumer.arn } })
  ]
}

resource "aws_iam_role" "consumer" {
  provider = aws.consumer

  name = var.name

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "dicts" {
  provider = aws.consumer

  name   = "s3dict"
  role   = aws_iam_role.consumer.name
  policy = module.s3dict.writer_policies[local.environment]
}
