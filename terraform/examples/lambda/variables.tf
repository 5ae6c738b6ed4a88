variable "region" {
  description = "The region of all resources."
  type        = string
  default     = "eu-central-1"
}

variable "bucket" {
  description = "The bucket's name, which must be globally unique."
  type        = string
}

variable "name" {
  description = "The name of the function, of its role and of its log group."
  type        = string
  default     = "s3dict-visits"
}

variable "package" {
  description = "The zip archive that build.sh creates: the function, s3dict and its dependencies."
  type        = string
  default     = "build/function.zip"
}

variable "image_uri" {
  description = "The container image in Amazon ECR that the Dockerfile builds, instead of the zip archive."
  type        = string
  default     = null
}
