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
      arn = "arn:aws:iam::111122223333:role/s3dict-worker"
    }
  }
}

variables {
  bucket = "s3dict-example"
  image  = "registry.example.com/worker:1"
}

run "task_is_configured_and_may_write" {
  assert {
    condition = {
      for variable in jsondecode(output.task_definition).containerDefinitions[0].environment : variable.name => variable.value
    } == module.s3dict.environment_variables["prod"]
    error_message = "The container has the environment variables of the module."
  }

  assert {
    condition = (
      jsondecode(output.task_definition).taskRoleArn == aws_iam_role.task.arn &&
      aws_iam_role_policy_attachment.dicts.role == aws_iam_role.task.name &&
      aws_iam_role_policy_attachment.dicts.policy_arn == module.s3dict.writer_policy_arns["prod"]
    )
    error_message = "The task's role has the writer policy."
  }
}
