output "bucket" {
  description = "The bucket's name."
  value       = local.bucket
}

output "bucket_arn" {
  description = "The bucket's ARN."
  value       = local.bucket_arn
}

output "reader_policy_arns" {
  description = "The ARN of each environment's reader policy."
  value       = { for environment, policy in aws_iam_policy.reader : environment => policy.arn }
}

output "writer_policy_arns" {
  description = "The ARN of each environment's writer policy."
  value       = { for environment, policy in aws_iam_policy.writer : environment => policy.arn }
}

output "admin_policy_arn" {
  description = "The ARN of the admin policy."
  value       = aws_iam_policy.admin.arn
}

output "environment_variables" {
  description = "What to set for each environment, as a map: the `environment` of a Lambda function or of a container."
  value       = local.environment_variables
}

output "shell_exports" {
  description = "The same for each environment, as lines for a shell."
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
    }
  }
}
