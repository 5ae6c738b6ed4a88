# The roles of an ECS task on Fargate that uses dicts, and its task definition as JSON.

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

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })
}

module "s3dict" {
  source = "../.."

  bucket       = var.bucket
  environments = [local.environment]
}

# The role of the application. The SDK gets its credentials from the endpoint in AWS_CONTAINER_CREDENTIALS_RELATIVE_URI,
# which ECS sets.
resource "aws_iam_role" "task" {
  name               = "${var.name}-task"
  assume_role_policy = local.assume_role_policy
}

resource "aws_iam_role_policy_attachment" "dicts" {
  role       = aws_iam_role.task.name
  policy_arn = module.s3dict.writer_policy_arns[local.environment]
}

# The role of the ECS agent, which pulls the image and writes the log.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = local.assume_role_policy
}

data "aws_partition" "current" {}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_cloudwatch_log_group" "task" {
  name              = "/ecs/${var.name}"
  retention_in_days = 14
}
