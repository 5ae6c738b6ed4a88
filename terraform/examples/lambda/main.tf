terraform {
  required_version = ">= 1.5.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

provider "aws" {
  region = var.region
}

locals {
  environment = "prod"
}

module "s3dict" {
  source = "../.."

  bucket       = var.bucket
  environments = [local.environment]
}

resource "aws_lambda_function" "visits" {
  function_name = var.name
  description   = "Counts visits in an s3dict Dict"
  role          = aws_iam_role.visits.arn

  # Either the zip archive of build.sh, or the container image of the Dockerfile.
  package_type     = var.image_uri == null ? "Zip" : "Image"
  image_uri        = var.image_uri
  filename         = var.image_uri == null ? var.package : null
  source_code_hash = var.image_uri == null ? filebase64sha256(var.package) : null
  handler          = var.image_uri == null ? "visits.handler" : null
  runtime          = var.image_uri == null ? "python3.13" : null
  architectures    = ["arm64"]
  memory_size      = 512
  timeout          = 30

  environment {
    variables = module.s3dict.environment_variables[local.environment]
  }

  # Without the log group, the first invocation would create one whose logs never expire.
  depends_on = [aws_cloudwatch_log_group.visits, aws_iam_role_policy.logs]
}

resource "aws_cloudwatch_log_group" "visits" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 14
}

resource "aws_iam_role" "visits" {
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

resource "aws_iam_role_policy_attachment" "dicts" {
  role       = aws_iam_role.visits.name
  policy_arn = module.s3dict.writer_policy_arns[local.environment]
}

resource "aws_iam_role_policy" "logs" {
  name = "logs"
  role = aws_iam_role.visits.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.visits.arn}:*"
    }]
  })
}
