variable "bucket" {
  description = "The directory bucket's name, which ends in its zone and in `--x-s3`: `dicts--use1-az4--x-s3`."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.bucket) <= 63 && can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?--[a-z0-9]+(-[a-z0-9]+)+--x-s3$", var.bucket))
    error_message = "The name of a directory bucket is NAME--ZONE--x-s3, for example dicts--use1-az4--x-s3, with at most 63 of the characters a-z 0-9 -."
  }
}

variable "prefix" {
  description = "The beginning of all object names (`S3DICT_PREFIX`)."
  type        = string
  default     = "s3dict"
  nullable    = false

  # S3 allows 255 characters for the id of a lifecycle rule, which begins with the prefix.
  validation {
    condition     = length(var.prefix) <= 200 && can(regex("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", var.prefix))
    error_message = "A prefix has at most 200 of the characters A-Z a-z 0-9 - _ . in segments between slashes, without a slash at either end."
  }

  validation {
    condition     = alltrue([for segment in split("/", var.prefix) : !contains([".", ".."], segment)])
    error_message = "No segment of a prefix is '.' or '..'."
  }
}

variable "environment" {
  description = "The environment (`S3DICT_ENVIRONMENT`) of all who use the bucket. There is one, because a session covers the whole bucket."
  type        = string
  default     = "main"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{1,64}$", var.environment)) && !contains([".", ".."], var.environment)
    error_message = "An environment has 1 to 64 of the characters A-Z a-z 0-9 - _ . and is not '.' or '..'."
  }
}

variable "create_policies" {
  description = "Whether to create IAM policies. If false, use the JSON documents of the outputs `reader_policy`, `writer_policy` and `admin_policy`."
  type        = bool
  default     = true
  nullable    = false
}

variable "name" {
  description = "The beginning of the policies' names. The bucket's name if null."
  type        = string
  default     = null

  validation {
    condition     = var.name == null || can(regex("^[A-Za-z0-9_.-]+$", var.name))
    error_message = "name has the characters A-Z a-z 0-9 - _ . only."
  }
}

variable "iam_path" {
  description = "The path of the IAM policies."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = length(var.iam_path) <= 512 && can(regex("^/([!-.0-~]+/)*$", var.iam_path))
    error_message = "An IAM path begins and ends with a slash and has at most 512 characters without spaces, for example /teams/data/."
  }
}

variable "bucket_policy_statements" {
  description = "Additional statements of the bucket policy, as objects in the IAM policy language. Their only action is s3express:CreateSession."
  type        = any
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for statement in var.bucket_policy_statements : contains(["Allow", "Deny"], try(statement.Effect, "")) &&
      (can(statement.Principal) || can(statement.NotPrincipal)) && try(toset(flatten([statement.Action])) == toset(["s3express:CreateSession"]), false)
    ])
    error_message = "Each statement has an Effect (Allow or Deny), a Principal and the Action s3express:CreateSession: the policy of a directory bucket takes no other."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` may delete a bucket that is not empty."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of the IAM policies."
  type        = map(string)
  default     = {}
  nullable    = false
}
