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
  description = "The bucket's region."
  type        = string
  default     = "eu-central-1"
}

variable "bucket" {
  description = "The bucket's name, which must be globally unique."
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
  description = "The policies to attach to roles and users."
  value = {
    reader = module.s3dict.reader_policy_arns["main"]
    writer = module.s3dict.writer_policy_arns["main"]
    admin  = module.s3dict.admin_policy_arn
  }
}
