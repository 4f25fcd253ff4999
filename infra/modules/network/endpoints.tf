# The doors of AWS inside the network. Each lets through what radloop does there, for roles of this account.

locals {
  healthimaging = [
    "medical-imaging:CopyImageSet",
    "medical-imaging:DeleteImageSet",
    "medical-imaging:GetDICOMImportJob",
    "medical-imaging:GetDatastore",
    "medical-imaging:GetImageFrame",
    "medical-imaging:GetImageSet",
    "medical-imaging:GetImageSetMetadata",
    "medical-imaging:ListDICOMImportJobs",
    "medical-imaging:ListDatastores",
    "medical-imaging:ListImageSetVersions",
    "medical-imaging:ListTagsForResource",
    "medical-imaging:SearchImageSets",
    "medical-imaging:StartDICOMImportJob",
    "medical-imaging:TagResource",
    "medical-imaging:UntagResource",
    "medical-imaging:UpdateImageSetMetadata",
  ]

  pulling = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer"]

  interfaces = {
    "medical-imaging"         = local.healthimaging
    "runtime-medical-imaging" = local.healthimaging
    "sagemaker.api" = [
      "sagemaker:AddTags",
      "sagemaker:CreateEndpoint",
      "sagemaker:CreateEndpointConfig",
      "sagemaker:CreateModel",
      "sagemaker:CreateModelPackage",
      "sagemaker:CreateProcessingJob",
      "sagemaker:CreateTrainingJob",
      "sagemaker:CreateTransformJob",
      "sagemaker:DeleteEndpoint",
      "sagemaker:DeleteEndpointConfig",
      "sagemaker:DeleteModel",
      "sagemaker:DescribeEndpoint",
      "sagemaker:DescribeEndpointConfig",
      "sagemaker:DescribeModel",
      "sagemaker:DescribeModelPackage",
      "sagemaker:DescribeModelPackageGroup",
      "sagemaker:DescribePipeline",
      "sagemaker:DescribePipelineExecution",
      "sagemaker:DescribeProcessingJob",
      "sagemaker:DescribeTrainingJob",
      "sagemaker:DescribeTransformJob",
      "sagemaker:ListModelPackages",
      "sagemaker:ListPipelineExecutionSteps",
      "sagemaker:ListPipelineExecutions",
      "sagemaker:ListPipelineParametersForExecution",
      "sagemaker:ListTags",
      "sagemaker:StartPipelineExecution",
      "sagemaker:StopPipelineExecution",
      "sagemaker:UpdateEndpoint",
      "sagemaker:UpdateEndpointWeightsAndCapacities",
      "sagemaker:UpdateModelPackage",
      "sagemaker:UpdatePipeline",
    ]
    "sagemaker.runtime" = ["sagemaker:InvokeEndpoint"]
    "events"            = ["events:PutEvents"]
    "sqs" = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:GetQueueUrl",
      "sqs:ReceiveMessage",
      "sqs:SendMessage",
    ]
    "sns" = ["sns:Publish"]
    "kms" = [
      "kms:CreateGrant",
      "kms:Decrypt",
      "kms:DescribeKey",
      "kms:Encrypt",
      "kms:GenerateDataKey",
      "kms:GenerateDataKeyWithoutPlaintext",
      "kms:ReEncryptFrom",
      "kms:ReEncryptTo",
    ]
    "secretsmanager" = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
    "logs"           = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    "monitoring"     = ["cloudwatch:GetMetricData", "cloudwatch:PutMetricData"]
    "ecr.api"        = local.pulling
    "ecr.dkr"        = local.pulling
    "sts"            = ["sts:AssumeRole", "sts:GetCallerIdentity"]
  }

  gateways = {
    s3 = [
      "s3:AbortMultipartUpload",
      "s3:DeleteObject",
      "s3:GetBucketLocation",
      "s3:GetObject",
      "s3:GetObjectAttributes",
      "s3:GetObjectRetention",
      "s3:GetObjectTagging",
      "s3:GetObjectVersion",
      "s3:ListBucket",
      "s3:ListBucketVersions",
      "s3:ListMultipartUploadParts",
      "s3:PutObject",
      "s3:PutObjectRetention",
      "s3:PutObjectTagging",
    ]
    dynamodb = [
      "dynamodb:BatchGetItem",
      "dynamodb:BatchWriteItem",
      "dynamodb:ConditionCheckItem",
      "dynamodb:DeleteItem",
      "dynamodb:DescribeTable",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:Scan",
      "dynamodb:UpdateItem",
    ]
  }

  # Where a resource has an account of its own, it must be ours: nothing is copied into a stranger's bucket or queue.
  own = { "aws:PrincipalAccount" = var.account_id }
  conditions = {
    for service in concat(keys(local.interfaces), keys(local.gateways)) : service => {
      StringEquals = merge(local.own, contains(["s3", "dynamodb", "kms", "sqs", "sns"], service) ? { "aws:ResourceAccount" = var.account_id } : {})
    }
  }

  # The layers of container images come out of a bucket of AWS, by addresses that ECR has signed.
  layers = {
    Sid       = "ContainerLayers"
    Effect    = "Allow"
    Principal = "*"
    Action    = ["s3:GetObject"]
    Resource  = ["arn:aws:s3:::prod-${var.region}-starport-layer-bucket/*"]
  }

  policies = {
    for service, actions in merge(local.interfaces, local.gateways) : service => jsonencode({
      Version = "2012-10-17"
      Statement = concat(
        [{ Sid = "Radloop", Effect = "Allow", Principal = "*", Action = actions, Resource = "*", Condition = local.conditions[service] }],
        [for layers in [local.layers] : layers if service == "s3"],
      )
    })
  }
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = local.gateways

  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for table in aws_route_table.private : table.id]
  policy            = local.policies[each.key]

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = local.interfaces

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for zone in slice(local.zones, 0, var.endpoint_zones) : aws_subnet.private[zone].id]
  security_group_ids  = [aws_security_group.endpoints.id]
  policy              = local.policies[each.key]

  tags = { Name = "${var.name}-${each.key}" }
}
