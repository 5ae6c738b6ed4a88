variable "bucket" {
  description = "The bucket's name, which must be globally unique."
  type        = string
}

variable "region" {
  description = "The bucket's region."
  type        = string
  default     = "eu-central-1"
}

variable "owner_profile" {
  description = "The profile of the AWS configuration for the account that owns the bucket."
  type        = string
  default     = "owner"
}

variable "consumer_profile" {
  description = "The profile of the AWS configuration for the account whose role uses the bucket."
  type        = string
  default     = "consumer"
}

variable "name" {
  description = "The name of the role."
  type        = string
  default     = "s3dict-consumer"
}
