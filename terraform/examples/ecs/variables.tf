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
  description = "The name of the task family, and the beginning of the roles' names."
  type        = string
  default     = "s3dict-worker"
}

variable "image" {
  description = "The container image of the application, with s3dict installed."
  type        = string
}
