terraform {
  required_version = ">= 1.5.7"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The first version whose lifecycle rules are for directory buckets too came out in December 2024.
      version = ">= 5.80"
    }
  }
}
