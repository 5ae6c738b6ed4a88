output "bucket" {
  description = "The bucket's name."
  value       = aws_s3_directory_bucket.this.bucket
}

output "bucket_arn" {
  description = "The bucket's ARN."
  value       = local.bucket_arn
}

output "region" {
  description = "The bucket's region."
  value       = local.region
}

output "zone" {
  description = "The id of the zone that the bucket is in."
  value       = local.zone
}

output "policy_arns" {
  description = "The ARNs of the policies `reader`, `writer` and `admin`. Empty without `create_policies`."
  value       = { for name, policy in aws_iam_policy.this : name => policy.arn }
}

output "reader_policy" {
  description = "The JSON document of the reader policy."
  value       = local.reader_policy
}

output "writer_policy" {
  description = "The JSON document of the writer policy."
  value       = local.writer_policy
}

output "admin_policy" {
  description = "The JSON document of the admin policy."
  value       = local.admin_policy
}

output "bucket_policy" {
  description = "The JSON document of the bucket policy."
  value       = aws_s3_bucket_policy.this.policy
}

output "environment_variables" {
  description = "The environment variables of a process that uses the bucket, as a map."
  value       = local.environment_variables
}

output "shell_exports" {
  description = "The same as `environment_variables`, as lines for a shell."
  value       = join("\n", [for name, value in local.environment_variables : "export ${name}=${value}"])
}

locals {
  environment_variables = {
    S3DICT_BUCKET      = aws_s3_directory_bucket.this.bucket
    S3DICT_ENVIRONMENT = var.environment
    S3DICT_PREFIX      = var.prefix
    S3DICT_REGION      = local.region
  }
}
