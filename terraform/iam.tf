# Who may touch which keys.
#
# s3:ListBucket is granted for the very keys that may be read, and not only for listings: S3 answers a GET of a missing key
# with 404 to those who may list it, and with 403 to all others, and s3dict lives by the 404. A condition on s3:prefix does not
# stand in the way. Where no object answers, S3 asks whether the caller may list with the key itself as s3:prefix, so that
# a pattern that covers the key gives the 404. (AWS does not document this. Ceph has adopted it from there: ceph/ceph#68577.)
#
# The sweep classes are listed one by one. "sweep-*/named/prod/*" would also cover "sweep-8d/named/named/prod/", which is the
# dict "prod" of an environment "named": a wildcard goes over slashes.

locals {
  data_classes = concat([for days in local.sweep_days : "sweep-${days}d"], ["keep"])

  store_key = "${var.prefix}/store.json"
  probe_key = "${var.prefix}/sweep-1d/probe/*"

  ephemeral_keys = concat(
    ["${var.prefix}/ephemeral/*"],
    [for class in local.data_classes : "${var.prefix}/${class}/ephemeral/*"],
  )

  environment_keys = {
    for environment in var.environments : environment => concat(
      ["${var.prefix}/manifests/${environment}/*"],
      [for class in local.data_classes : "${var.prefix}/${class}/named/${environment}/*"],
      contains(var.ephemeral_environments, environment) ? local.ephemeral_keys : [],
    )
  }

  # The key is used through S3 alone, which asks for it in the caller's name.
  kms_condition = { StringLike = { "kms:ViaService" = "s3.*.${data.aws_partition.current.dns_suffix}" } }

  decrypt_statements = [for key in var.kms_key_arn[*] : {
    Sid       = "DecryptEntries"
    Effect    = "Allow"
    Action    = ["kms:Decrypt"]
    Resource  = [key]
    Condition = local.kms_condition
  }]

  encrypt_statements = [for key in var.kms_key_arn[*] : {
    Sid       = "EncryptAndDecryptEntries"
    Effect    = "Allow"
    Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [key]
    Condition = local.kms_condition
  }]

  # Reads everything and writes nothing. The refresh of an old entry that is read is denied, which s3dict expects: entries
  # that only readers read are swept when their ttl is over.
  reader_policies = {
    for environment, keys in local.environment_keys : environment => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [
          {
            Sid      = "ReadEntries"
            Effect   = "Allow"
            Action   = ["s3:GetObject"]
            Resource = [for key in concat(keys, [local.store_key]) : "${local.bucket_arn}/${key}"]
          },
          {
            Sid       = "ListEntries"
            Effect    = "Allow"
            Action    = ["s3:ListBucket"]
            Resource  = [local.bucket_arn]
            Condition = { StringLike = { "s3:prefix" = concat(keys, [local.store_key]) } }
          },
        ],
        local.decrypt_statements,
      )
    })
  }

  writer_policies = {
    for environment, keys in local.environment_keys : environment => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [
          {
            # The probe's scratch objects lie outside of environments; nobody reads them but the probe that wrote them.
            Sid      = "ReadAndWriteEntries"
            Effect   = "Allow"
            Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
            Resource = [for key in concat(keys, [local.probe_key]) : "${local.bucket_arn}/${key}"]
          },
          {
            Sid       = "ListEntries"
            Effect    = "Allow"
            Action    = ["s3:ListBucket"]
            Resource  = [local.bucket_arn]
            Condition = { StringLike = { "s3:prefix" = concat(keys, [local.probe_key, local.store_key]) } }
          },
          {
            Sid      = "ReadWhatTheStoreHonours"
            Effect   = "Allow"
            Action   = ["s3:GetObject"]
            Resource = ["${local.bucket_arn}/${local.store_key}"]
          },
          {
            # All environments rely on this object. So who creates the first dict may create it, with If-None-Match, but
            # nobody who writes to one environment may change it for the others.
            Sid       = "CreateWhatTheStoreHonours"
            Effect    = "Allow"
            Action    = ["s3:PutObject"]
            Resource  = ["${local.bucket_arn}/${local.store_key}"]
            Condition = { Null = { "s3:if-none-match" = "false" } }
          },
        ],
        local.encrypt_statements,
      )
    })
  }

  # For people and `s3dict init`, `doctor` and `gc`: all environments, and the bucket's lifecycle.
  admin_policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadAndWriteEverything"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
          Resource = ["${local.bucket_arn}/${var.prefix}/*"]
        },
        {
          # Without a condition on s3:prefix: HeadBucket, which has no prefix, is allowed by s3:ListBucket alone.
          Sid    = "LookAtTheBucket"
          Effect = "Allow"
          Action = [
            "s3:GetBucketPublicAccessBlock",
            "s3:GetBucketVersioning",
            "s3:GetEncryptionConfiguration",
            "s3:GetLifecycleConfiguration",
            "s3:ListBucket",
          ]
          Resource = [local.bucket_arn]
        },
        {
          Sid      = "InstallSweepRules"
          Effect   = "Allow"
          Action   = ["s3:PutLifecycleConfiguration"]
          Resource = [local.bucket_arn]
        },
      ],
      local.encrypt_statements,
    )
  })

  policy_name     = coalesce(var.name, var.bucket)
  max_policy_size = 6144
}

resource "aws_iam_policy" "reader" {
  for_each = local.reader_policies

  name        = "${local.policy_name}-${each.key}-reader"
  description = "Reads the dicts of environment ${each.key} under s3://${var.bucket}/${var.prefix}"
  policy      = each.value
  tags        = var.tags
}

resource "aws_iam_policy" "writer" {
  for_each = local.writer_policies

  name        = "${local.policy_name}-${each.key}-writer"
  description = "Creates, reads, writes and deletes the dicts of environment ${each.key} under s3://${var.bucket}/${var.prefix}"
  policy      = each.value
  tags        = var.tags

  lifecycle {
    precondition {
      condition     = length(each.value) <= local.max_policy_size
      error_message = "The policy for environment ${each.key} exceeds the ${local.max_policy_size} characters that IAM allows: shorten the prefix or the environment's name."
    }
    precondition {
      condition     = length(setsubtract(var.ephemeral_environments, var.environments)) == 0
      error_message = "Some of ephemeral_environments are not among environments."
    }
  }
}

resource "aws_iam_policy" "admin" {
  name        = "${local.policy_name}-admin"
  description = "Everything under s3://${var.bucket}/${var.prefix}, and the bucket's lifecycle rules"
  policy      = local.admin_policy
  tags        = var.tags
}
