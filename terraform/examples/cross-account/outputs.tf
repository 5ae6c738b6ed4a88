output "role_arn" {
  description = "The role that may write to the dicts of the other account."
  value       = aws_iam_role.consumer.arn
}

output "environment_variables" {
  description = "The environment variables for functions and containers with this role."
  value       = module.s3dict.environment_variables[local.environment]
}
