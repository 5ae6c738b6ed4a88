# Which principal may open a session. A session covers the whole bucket: a policy can separate reading from writing, but neither
# environments nor prefixes.

locals {
  # Without a mode in the request, S3 opens the session with the most that is allowed: reading alone.
  reader_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ReadEverything"
      Effect    = "Allow"
      Action    = ["s3express:CreateSession"]
      Resource  = [local.bucket_arn]
      Condition = { StringEquals = { "s3express:SessionMode" = "ReadOnly" } }
    }]
  })

  writer_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "ReadAndWriteEverything"
      Effect   = "Allow"
      Action   = ["s3express:CreateSession"]
      Resource = [local.bucket_arn]
    }]
  })

  # For operators and `s3dict init`, `doctor` and `gc`.
  admin_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadAndWriteEverything"
        Effect   = "Allow"
        Action   = ["s3express:CreateSession"]
        Resource = [local.bucket_arn]
      },
      {
        Sid    = "ReadBucketConfiguration"
        Effect = "Allow"
        Action = [
          "s3express:GetBucketPolicy",
          "s3express:GetEncryptionConfiguration",
          "s3express:GetLifecycleConfiguration",
        ]
        Resource = [local.bucket_arn]
      },
      {
        Sid      = "InstallLifecycleRules"
        Effect   = "Allow"
        Action   = ["s3express:PutLifecycleConfiguration"]
        Resource = [local.bucket_arn]
      },
    ]
  })

  policies    = { reader = local.reader_policy, writer = local.writer_policy, admin = local.admin_policy }
  policy_name = coalesce(var.name, var.bucket)
}

resource "aws_iam_policy" "this" {
  for_each = var.create_policies ? local.policies : {}

  name        = "${local.policy_name}-${each.key}"
  path        = var.iam_path
  description = "The ${each.key} of the dicts in s3://${var.bucket}"
  policy      = each.value
  tags        = var.tags
}
