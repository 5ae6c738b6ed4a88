output "function_name" {
  description = "For aws lambda invoke."
  value       = aws_lambda_function.visits.function_name
}

output "exports" {
  description = "For a shell that reads the same dicts: eval \"$(terraform output -raw exports)\"."
  value       = module.s3dict.shell_exports[local.environment]
}
