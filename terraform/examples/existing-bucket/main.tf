# Policies for a bucket that exists, in any region. Nothing about the bucket is changed.

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

variable "bucket" {
  description = "The existing bucket's name."
  type        = string
}

variable "region" {
  description = "The existing bucket's region."
  type        = string
}

variable "prefix" {
  description = "The prefix for the objects of s3dict, which no other application uses."
  type        = string
  default     = "s3dict"
}

module "s3dict" {
  source = "../.."

  bucket        = var.bucket
  create_bucket = false
  region        = var.region
  prefix        = var.prefix
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
