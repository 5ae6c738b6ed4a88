output "bucket" {
  description = "The bucket's name."
  value       = local.bucket
}

output "bucket_arn" {
  description = "The bucket's ARN."
  value       = local.bucket_arn
}

output "region" {
  description = "The bucket's region."
  value       = local.region
}

output "reader_policy_arns" {
  description = "The ARN of each environment's reader policy. Empty without `create_policies`."
  value       = { for environment, policy in aws_iam_policy.reader : environment => policy.arn }
}

output "writer_policy_arns" {
  description = "The ARN of each environment's writer policy. Empty without `create_policies`."
  value       = { for environment, policy in aws_iam_policy.writer : environment => policy.arn }
}

output "admin_policy_arn" {
  description = "The ARN of the admin policy. Null without `create_policies`."
  value       = one(aws_iam_policy.admin[*].arn)
}

output "reader_policies" {
  description = "The JSON document of each environment's reader policy."
  value       = local.reader_policies
}

output "writer_policies" {
  description = "The JSON document of each environment's writer policy."
  value       = local.writer_policies

  precondition {
    condition     = length(setsubtract(var.ephemeral_environments, var.environments)) == 0
    error_message = "Some of ephemeral_environments are not among environments."
  }
}

output "admin_policy" {
  description = "The JSON document of the admin policy."
  value       = local.admin_policy
}

output "bucket_policy" {
  description = "The JSON document of the bucket policy. Null without `create_bucket`."
  value       = one(aws_s3_bucket_policy.this[*].policy)
}

output "environment_variables" {
  description = "The environment variables for each environment, as a map: the `environment` of a Lambda function or of a container."
  value       = local.environment_variables
}

output "shell_exports" {
  description = "The same as `environment_variables`, as lines for a shell."
  value = {
    for environment, variables in local.environment_variables :
    environment => join("\n", [for name, value in variables : "export ${name}=${value}"])
  }
}

locals {
  environment_variables = {
    for environment in var.environments : environment => {
      S3DICT_BUCKET      = local.bucket
      S3DICT_ENVIRONMENT = environment
      S3DICT_PREFIX      = var.prefix
      S3DICT_REGION      = local.region
    }
  }
}
