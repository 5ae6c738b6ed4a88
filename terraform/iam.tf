# Which principal may access which objects.
#
# s3:ListBucket is granted for the objects that may be read, not only for listings: S3 answers a GET of a missing object with
# 404 if the caller may list it, and with 403 otherwise, and s3dict depends on the 404. A condition on s3:prefix does not
# prevent this: for a missing object, S3 evaluates s3:ListBucket with the object's name as s3:prefix, so a pattern that
# matches the name results in 404. (AWS does not document this. Ceph has adopted the behaviour: ceph/ceph#68577.)
#
# The sweep classes are listed individually. "sweep-*/named/prod/*" would also match "sweep-8d/named/named/prod/", the dict
# "prod" of an environment "named": a wildcard matches slashes.

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

  # Only S3 may use the key, on the caller's behalf.
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

  # Reads only. The renewal of an old entry that is read is denied, which s3dict expects: entries that only readers read
  # expire at the end of their ttl.
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
            # The probe's scratch objects belong to no environment; only the probe that wrote them reads them.
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
            Sid      = "ReadStoreCapabilities"
            Effect   = "Allow"
            Action   = ["s3:GetObject"]
            Resource = ["${local.bucket_arn}/${local.store_key}"]
          },
          {
            # All environments rely on this object. The writer of the first dict may create it, with If-None-Match, but
            # a writer of one environment must not change it for the others.
            Sid       = "CreateStoreCapabilities"
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

  # For operators and `s3dict init`, `doctor` and `gc`: all environments, and the bucket's lifecycle rules.
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
          # No condition on s3:prefix: HeadBucket has no prefix, and s3:ListBucket is the action that allows it.
          Sid    = "ReadBucketConfiguration"
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
          Sid      = "InstallLifecycleRules"
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
  for_each = var.create_policies ? local.reader_policies : {}

  name        = "${local.policy_name}-${each.key}-reader"
  path        = var.iam_path
  description = "Reads the dicts of environment ${each.key} under s3://${var.bucket}/${var.prefix}"
  policy      = each.value
  tags        = var.tags
}

resource "aws_iam_policy" "writer" {
  for_each = var.create_policies ? local.writer_policies : {}

  name        = "${local.policy_name}-${each.key}-writer"
  path        = var.iam_path
  description = "Creates, reads, writes and deletes the dicts of environment ${each.key} under s3://${var.bucket}/${var.prefix}"
  policy      = each.value
  tags        = var.tags

  lifecycle {
    precondition {
      condition     = length(each.value) <= local.max_policy_size
      error_message = "The policy for environment ${each.key} exceeds the ${local.max_policy_size} characters that IAM allows: shorten the prefix or the environment's name."
    }
  }
}

resource "aws_iam_policy" "admin" {
  count = var.create_policies ? 1 : 0

  name        = "${local.policy_name}-admin"
  path        = var.iam_path
  description = "Everything under s3://${var.bucket}/${var.prefix}, and the bucket's lifecycle rules"
  policy      = local.admin_policy
  tags        = var.tags
}
