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

  mock_resource "aws_iam_policy" {
    defaults = {
      arn = "arn:aws:iam::111122223333:policy/s3dict-example-prod-writer"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::111122223333:role/s3dict-visits"
    }
  }
}

variables {
  bucket  = "s3dict-example"
  package = "src/visits.py" # any file: nothing is deployed
}

run "function_is_configured_and_may_write" {
  assert {
    condition = aws_lambda_function.visits.environment[0].variables == tomap({
      S3DICT_BUCKET      = "s3dict-example"
      S3DICT_ENVIRONMENT = "prod"
      S3DICT_PREFIX      = "s3dict"
      S3DICT_REGION      = "eu-central-1"
    })
    error_message = "The function has the environment variables of the module."
  }

  assert {
    condition     = aws_iam_role_policy_attachment.dicts.policy_arn == module.s3dict.writer_policy_arns["prod"]
    error_message = "The function's role has the writer policy."
  }
}

run "function_can_be_a_container_image" {
  variables {
    image_uri = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/visits:1"
  }

  assert {
    condition     = aws_lambda_function.visits.package_type == "Image" && aws_lambda_function.visits.image_uri == var.image_uri
    error_message = "The function uses the image."
  }

  assert {
    condition     = aws_lambda_function.visits.filename == null && aws_lambda_function.visits.handler == null
    error_message = "An image has its own handler and no archive."
  }
}
