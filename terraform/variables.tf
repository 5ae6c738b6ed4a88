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
  description = "Whether to create and configure the bucket. With false only the policies are made, for a bucket that exists: run `s3dict init` for its lifecycle rules, which keeps the rules of others."
  type        = bool
  default     = true
  nullable    = false
}

variable "prefix" {
  description = "What all object names begin with (`S3DICT_PREFIX`)."
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
  description = "The environments (`S3DICT_ENVIRONMENT`) to make a reader and a writer policy for."
  type        = set(string)
  default     = ["main"]
  nullable    = false

  # Also what keeps wildcards, and slashes, out of the policies.
  validation {
    condition     = alltrue([for name in var.environments : can(regex("^[A-Za-z0-9_.-]{1,64}$", name)) && !contains([".", ".."], name)])
    error_message = "Environments have 1 to 64 of the characters A-Z a-z 0-9 - _ . and are not '.' or '..'."
  }
}

variable "ephemeral_environments" {
  description = "Those of `environments` whose policies include ephemeral dicts (`Dict.ephemeral`). Ephemeral dicts belong to no environment: who may use one may reach all of them under the prefix."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts the bucket. Without one S3 encrypts with its own keys (SSE-S3)."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]+:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a key, not of an alias: policies only know keys."
  }
}

variable "versioning" {
  description = "Whether the bucket keeps noncurrent versions, which are expired after a day. Every write, and every refresh of an entry that is read, leaves one."
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

variable "name" {
  description = "What the names of the policies begin with. The bucket's name if null."
  type        = string
  default     = null

  validation {
    condition     = var.name == null || can(regex("^[A-Za-z0-9_.-]+$", var.name))
    error_message = "name has the characters A-Z a-z 0-9 - _ . alone."
  }
}

variable "tags" {
  description = "Tags of everything that is created."
  type        = map(string)
  default     = {}
  nullable    = false
}
