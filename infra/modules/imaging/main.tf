# The HealthImaging data store and the role that its import jobs read the bucket with.
#
# The provider has no resource of its own for it, so Cloud Control makes it. The schema stands beside this file: without
# it the provider asks CloudFormation for it at every plan. What the API can do beyond CloudFormation (the lossless
# format HTJ2K is its default; an OIDC authorizer for DICOMweb is not) is not set here.

locals {
  state = jsonencode({ DatastoreName = var.name, KmsKeyArn = var.kms_key_arn })

  datastore = var.is_protected ? aws_cloudcontrolapi_resource.protected[0] : aws_cloudcontrolapi_resource.unprotected[0]
  id        = local.datastore.id # Cloud Control's primary identifier, which is the DatastoreId
}

# Terraform takes nothing but a literal for prevent_destroy. So there are two blocks, and is_protected says which one
# makes the data store. Turning the protection off moves it between them, which is refused for as long as the state has
# it here: `terraform state mv` it first. HealthImaging itself refuses to delete a data store that holds image sets.
resource "aws_cloudcontrolapi_resource" "protected" {
  count = var.is_protected ? 1 : 0

  type_name     = "AWS::HealthImaging::Datastore"
  schema        = file("${path.module}/datastore.schema.json")
  desired_state = local.state

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_cloudcontrolapi_resource" "unprotected" {
  count = var.is_protected ? 0 : 1

  type_name     = "AWS::HealthImaging::Datastore"
  schema        = file("${path.module}/datastore.schema.json")
  desired_state = local.state
}

resource "aws_iam_role" "import" {
  name        = "${var.name}-import"
  description = "HealthImaging reads the studies that are to be imported, and writes how it went."
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "medical-imaging.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:aws:medical-imaging:${var.region}:${var.account_id}:datastore/*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "import" {
  name = "read-import-write-imported"
  role = aws_iam_role.import.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "List"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = ["arn:aws:s3:::${var.bucket_name}"]
        Condition = { StringLike = { "s3:prefix" = ["import/*", "imported/*"] } }
      },
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["arn:aws:s3:::${var.bucket_name}/import/*"]
      },
      {
        Sid      = "Report"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = ["arn:aws:s3:::${var.bucket_name}/imported/*"]
      },
      {
        Sid       = "Open"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.bucket_kms_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = "s3.${var.region}.amazonaws.com" } }
      },
      {
        Sid      = "Keep"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
        Resource = [var.kms_key_arn]
      },
    ]
  })
}
