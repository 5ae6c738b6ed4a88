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

variable "region" {
  description = "Where the bucket is created."
  type        = string
  default     = "eu-central-1"
}

variable "bucket" {
  description = "The bucket's name, which nobody else in the world may have."
  type        = string
}

module "s3dict" {
  source = "../.."

  bucket = var.bucket
}

output "exports" {
  description = "For a shell: eval \"$(terraform output -raw exports)\"."
  value       = module.s3dict.shell_exports["main"]
}

output "policy_arns" {
  description = "What to attach to whom."
  value = {
    reader = module.s3dict.reader_policy_arns["main"]
    writer = module.s3dict.writer_policy_arns["main"]
    admin  = module.s3dict.admin_policy_arn
  }
}
