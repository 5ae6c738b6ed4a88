variable "bucket" {
  description = "The bucket's name. It is created, unless `create_bucket` is false."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "A bucket name has 3 to 63 of the characters a-z 0-9 . - and begins and ends with a letter or digit."
  }
}

variable "create_bucket" {
  description = "Whether to create and configure the bucket. If false, only the policies are created, for an existing bucket: run `s3dict init` for its lifecycle rules, which keeps other rules."
  type        = bool
  default     = true
  nullable    = false
}

variable "region" {
  description = "The region of an existing bucket (`S3DICT_REGION`). The provider's region if null, where the bucket is created."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z0-9-]+$", var.region))
    error_message = "A region has the characters a-z 0-9 - only, for example eu-central-1."
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

variable "environments" {
  description = "The environments (`S3DICT_ENVIRONMENT`) that get a reader and a writer policy."
  type        = set(string)
  default     = ["main"]
  nullable    = false

  # This also keeps wildcards and slashes out of the policies.
  validation {
    condition     = alltrue([for name in var.environments : can(regex("^[A-Za-z0-9_.-]{1,64}$", name)) && !contains([".", ".."], name)])
    error_message = "Environments have 1 to 64 of the characters A-Z a-z 0-9 - _ . and are not '.' or '..'."
  }
}

variable "ephemeral_environments" {
  description = "Those of `environments` whose policies include ephemeral dicts (`Dict.ephemeral`). Ephemeral dicts belong to no environment: a principal that may use one may access all of them under the prefix."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "create_policies" {
  description = "Whether to create IAM policies. If false, use the JSON documents of the outputs `reader_policies`, `writer_policies` and `admin_policy`, for example as inline policies of roles."
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
  description = "The path of the IAM policies, for organisations that grant permissions by path."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = length(var.iam_path) <= 512 && can(regex("^/([!-.0-~]+/)*$", var.iam_path))
    error_message = "An IAM path begins and ends with a slash and has at most 512 characters without spaces, for example /teams/data/."
  }
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts the bucket. Without one S3 encrypts with its own keys (SSE-S3)."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]+:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, not of an alias: policies match only keys."
  }
}

variable "bucket_policy_statements" {
  description = "Additional statements of the bucket policy, as objects in the IAM policy language. A bucket has one policy, which this module manages: statements that are set elsewhere are overwritten."
  type        = any
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for statement in var.bucket_policy_statements : contains(["Allow", "Deny"], try(statement.Effect, "")) &&
      (can(statement.Principal) || can(statement.NotPrincipal)) && (can(statement.Action) || can(statement.NotAction))
    ])
    error_message = "Each statement of a bucket policy has an Effect (Allow or Deny), a Principal and an Action."
  }
}

variable "access_log_bucket" {
  description = "The existing bucket that receives S3 server access logs. There are none if null. It must not be the bucket itself, and its policy must allow logging.s3.amazonaws.com to write."
  type        = string
  default     = null
}

variable "access_log_prefix" {
  description = "The beginning of the access logs' object names. `<bucket>/` if null."
  type        = string
  default     = null
}

variable "lifecycle_rules" {
  description = "Additional lifecycle rules, for objects outside of `prefix`. This module manages all lifecycle rules of a bucket that it creates: rules that are set elsewhere are removed."
  type = list(object({
    id                                     = string
    prefix                                 = string
    enabled                                = optional(bool, true)
    expiration_days                        = optional(number)
    noncurrent_version_expiration_days     = optional(number)
    abort_incomplete_multipart_upload_days = optional(number)
    transitions = optional(list(object({
      days          = number
      storage_class = string
    })), [])
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for rule in var.lifecycle_rules : can(regex("^.{1,255}$", rule.id)) && !can(regex("^s3dict[.:]", rule.id))])
    error_message = "A rule's id has 1 to 255 characters and does not begin with 's3dict.' or 's3dict:', which mark the rules of s3dict."
  }

  validation {
    condition = alltrue([
      for rule in var.lifecycle_rules : length(rule.transitions) > 0 || anytrue([
        for days in [rule.expiration_days, rule.noncurrent_version_expiration_days, rule.abort_incomplete_multipart_upload_days] : days != null
      ])
    ])
    error_message = "A lifecycle rule needs at least one action."
  }
}

variable "versioning" {
  description = "Whether the bucket keeps noncurrent versions, which expire after a day. Every write, and every renewal of an entry that is read, leaves one."
  type        = bool
  default     = false
  nullable    = false
}

variable "force_destroy" {
  description = "Whether `terraform destroy` may delete a bucket that is not empty."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags of all resources that are created."
  type        = map(string)
  default     = {}
  nullable    = false
}
