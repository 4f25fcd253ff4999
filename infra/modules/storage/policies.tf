# Who may not come in, and which services of AWS may leave something.

locals {
  # These deny: here `s3:*` is the narrow choice, a list would let through what it forgets.
  refusals = {
    for name in keys(local.buckets) : name => concat(
      [
        {
          Sid       = "OnlyTls"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = ["s3:*"]
          Resource  = [local.arns[name], "${local.arns[name]}/*"]
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
        {
          Sid       = "OnlyTls12"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = ["s3:*"]
          Resource  = [local.arns[name], "${local.arns[name]}/*"]
          Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
        },
        {
          # Whoever got hold of a role could else seal what is ours by a key that only they have, and sell it back.
          Sid       = "NoKeyOfTheirOwn"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = ["s3:PutObject"]
          Resource  = ["${local.arns[name]}/*"]
          Condition = { Null = { "s3:x-amz-server-side-encryption-customer-algorithm" = "false" } }
        },
        {
          Sid       = "NoKeyOfAnotherAccount"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = ["s3:PutObject"]
          Resource  = ["${local.arns[name]}/*"]
          Condition = {
            StringLike    = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "arn:*" }
            StringNotLike = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "arn:aws:kms:*:${var.account_id}:*" }
          }
        },
      ],
      [
        for endpoint in compact([var.s3_endpoint_id]) : {
          Sid       = "OnlyFromTheNetwork"
          Effect    = "Deny"
          Principal = { AWS = "*" }
          Action    = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
          Resource  = ["${local.arns[name]}/*"]
          Condition = {
            StringNotEquals = { "aws:SourceVpce" = endpoint }
            Bool            = { "aws:PrincipalIsAWSService" = "false", "aws:ViaAWSService" = "false" }
          }
        } if contains(var.network_only, name)
      ],
    )
  }

  # Services that deliver to us: under their own prefix, for our account only.
  deliveries = {
    access-logs = [{ service = "logging.s3.amazonaws.com", paths = ["*"] }]
    logs        = [{ service = "delivery.logs.amazonaws.com", paths = ["vpc-flow/*", "cloudfront/*"] }]
    audit       = [{ service = "cloudtrail.amazonaws.com", paths = ["cloudtrail/*"] }]
  }

  admissions = {
    for name in keys(local.buckets) : name => flatten([
      for delivery in lookup(local.deliveries, name, []) : [
        {
          Sid       = "Deliver"
          Effect    = "Allow"
          Principal = { Service = delivery.service }
          Action    = ["s3:PutObject"]
          Resource  = [for path in delivery.paths : "${local.arns[name]}/${path}"]
          Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
        },
        {
          Sid       = "LookBeforeDelivery"
          Effect    = "Allow"
          Principal = { Service = delivery.service }
          Action    = ["s3:GetBucketAcl"]
          Resource  = [local.arns[name]]
          Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
        },
      ]
    ])
  }

  # CloudFront reads streaming packs, of which no draft is one, and the viewer, for the distributions of this account.
  given_out = { stream = "packs/*", web = "*" }
  readers = {
    for name in keys(local.buckets) : name => [
      for reader in ["cloudfront.amazonaws.com"] : {
        Sid       = "Stream"
        Effect    = "Allow"
        Principal = { Service = reader }
        Action    = ["s3:GetObject"]
        Resource  = ["${local.arns[name]}/${local.given_out[name]}"]
        Condition = { ArnLike = { "aws:SourceArn" = "arn:aws:cloudfront::${var.account_id}:distribution/*" } }
      } if contains(keys(local.given_out), name)
    ]
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.refusals[each.key], local.admissions[each.key], local.readers[each.key])
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}
