variable "region" {
  description = "Where everything is created."
  type        = string
  default     = "eu-central-1"
}

variable "bucket" {
  description = "The bucket's name, which nobody else in the world may have."
  type        = string
}

variable "name" {
  description = "The name of the function, of its role and in its log group."
  type        = string
  default     = "s3dict-visits"
}

variable "package" {
  description = "The archive that build.sh makes: the function, s3dict and what it needs."
  type        = string
  default     = "build/function.zip"
}
