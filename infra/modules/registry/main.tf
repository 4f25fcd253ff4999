# The model package group, and who may approve in it.
#
# There is no endpoint here: radloop makes one for the version that is in use and moves it when another is approved,
# where the installation is to have one (`has_endpoint` of the platform).

locals {
  sagemaker = "arn:aws:sagemaker:${var.region}:${var.account_id}"
  packages  = ["${local.sagemaker}:model-package/${var.name}/*"]
  group     = "${local.sagemaker}:model-package-group/${var.name}"
}

resource "aws_sagemaker_model_package_group" "this" {
  model_package_group_name        = var.name
  model_package_group_description = "Versions of the model, each with the evaluation that let it through."
}

# Whoever trains a model cannot approve it: that is for the registry's function, the API behind its own checks, and those
# who may break the glass.
resource "aws_sagemaker_model_package_group_policy" "this" {
  model_package_group_name = aws_sagemaker_model_package_group.this.model_package_group_name
  resource_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "ApprovedByFewOnly"
        Effect    = "Deny"
        Principal = { AWS = "arn:aws:iam::${var.account_id}:root" }
        Action    = ["sagemaker:DeleteModelPackage", "sagemaker:UpdateModelPackage"]
        Resource  = local.packages
        Condition = { ArnNotLike = { "aws:PrincipalArn" = var.approver_arns } }
      },
      {
        Sid       = "ThisAccountOnly"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${var.account_id}:root" }
        Action    = ["sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup"]
        Resource  = concat([local.group], local.packages)
      },
    ]
  })
}
