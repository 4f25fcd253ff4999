# The SageMaker pipeline, the role that runs it, the role its jobs have, batch transform, and the drift job of an endpoint.
#
# `python -m radloop.pipeline` writes the definitions; here their parameters get the names of this account, and every
# job is put into the private subnets. Two roles, because what starts jobs need not see an image, and what sees images
# need not start jobs.

locals {
  definitions = merge(
    { pipeline = jsondecode(file("${var.definitions}/pipeline${var.is_spot ? "-spot" : ""}.json")) },
    { transform = jsondecode(file("${var.definitions}/transform.json")) },
    { for which in var.drift == null ? [] : ["drift"] : which => jsondecode(file("${var.definitions}/drift.json")) },
  )

  # What the parameters of a definition are in this account. A parameter that only one of them has is of no harm.
  defaults = {
    pipeline = {
      RoleArn                 = local.job_role_arn
      KmsKeyId                = var.key_arns["models"]
      PreprocessedBucket      = var.bucket_names["preprocessed-data"]
      ArtifactBucket          = var.bucket_names["model-artifacts"]
      ModelPackageGroup       = var.package_group
      ProcessingImageUri      = var.image_uris.pipeline
      TrainingImageUri        = var.image_uris.pipeline
      InferenceImageUri       = var.image_uris.inference
      ProcessingInstanceType  = var.processing.instance_type
      ProcessingInstanceCount = var.processing.instance_count
      TrainingInstanceType    = var.training.instance_type
      TrainingInstanceCount   = var.training.instance_count
      TrainingMaxWaitSeconds  = var.training.max_wait_s
      AccuracyThreshold       = var.accuracy_threshold
      WeightsUri              = "s3://${var.bucket_names["model-artifacts"]}/weights/"
    }
    transform = {
      RoleArn                = local.job_role_arn
      KmsKeyId               = var.key_arns["models"]
      ArtifactBucket         = var.bucket_names["model-artifacts"]
      InferenceImageUri      = var.image_uris.inference
      TransformInstanceType  = var.transform.instance_type
      TransformInstanceCount = var.transform.instance_count
    }
    drift = {
      RoleArn                = local.job_role_arn
      KmsKeyId               = var.key_arns["models"]
      ArtifactBucket         = var.bucket_names["model-artifacts"]
      ProcessingImageUri     = var.image_uris.inference
      ProcessingInstanceType = try(var.drift.instance_type, "")
      ModelUri               = local.served.ModelUri
      CapturedUri            = local.served.CapturedUri
    }
  }

  # Where radloop keeps the package of the version in use, and what its endpoint answered.
  served = {
    ModelUri    = "s3://${var.bucket_names["model-artifacts"]}/serving"
    CapturedUri = "s3://${var.bucket_names["model-artifacts"]}/captured/${var.endpoint_name}/champion"
  }

  # Machines with disks of their own seal these by themselves, and SageMaker refuses a key for their volume
  # (radloop/aws/sagemaker.py has the same).
  own_disks = "^ml\\.(g4dn|g5|g6e?|gr6|p3dn|p4de?|p[56][\\w-]*|trn\\d\\w*|[cmr]\\d+[agi]?d[ne]?|i\\d\\w*)\\."
  keyless   = { for which, defaults in local.defaults : which => { for kind in ["Processing", "Training", "Transform"] : kind => can(regex(local.own_disks, try(defaults["${kind}InstanceType"], ""))) } }

  vpc = { Subnets = var.subnet_ids, SecurityGroupIds = var.security_group_ids }

  built = { for which, definition in local.definitions : which => merge(definition, {
    Parameters = [
      for parameter in definition.Parameters : merge(concat([parameter], [
        for name, value in local.defaults[which] : { DefaultValue = value } if name == parameter.Name
      ])...)
    ]
    Steps = [
      for step in definition.Steps : merge(concat(
        [step],
        [for each in [step] : {
          Arguments = merge(each.Arguments, {
            VpcConfig      = local.vpc
            ResourceConfig = { for name, value in each.Arguments.ResourceConfig : name => value if !(name == "VolumeKmsKeyId" && local.keyless[which].Training) }
          })
        } if each.Type == "Training"],
        [for each in [step] : {
          Arguments = merge(each.Arguments, {
            NetworkConfig = merge(each.Arguments.NetworkConfig, { VpcConfig = local.vpc })
            ProcessingResources = {
              ClusterConfig = { for name, value in each.Arguments.ProcessingResources.ClusterConfig : name => value if !(name == "VolumeKmsKeyId" && local.keyless[which].Processing) }
            }
          })
        } if each.Type == "Processing"],
        [for each in [step] : { Arguments = merge(each.Arguments, { VpcConfig = local.vpc }) } if each.Type == "Model"],
        [for each in [step] : {
          Arguments = merge(each.Arguments, {
            TransformResources = { for name, value in each.Arguments.TransformResources : name => value if !(name == "VolumeKmsKeyId" && local.keyless[which].Transform) }
          })
        } if each.Type == "Transform"],
      )...)
    ]
  }) }

  # Names of parameters that should be filled, and which no definition has: they were renamed over there. WeightsUri is
  # there only where training starts from weights.
  strange = setsubtract(
    [for name in keys(local.defaults.pipeline) : name if name != "WeightsUri" && (var.is_spot || name != "TrainingMaxWaitSeconds")],
    [for parameter in local.definitions.pipeline.Parameters : parameter.Name],
  )

  pipeline_role_arn = "arn:aws:iam::${var.account_id}:role/${aws_iam_role.pipeline.name}"
  job_role_arn      = "arn:aws:iam::${var.account_id}:role/${aws_iam_role.job.name}"
  sagemaker         = "arn:aws:sagemaker:${var.region}:${var.account_id}"

  buckets   = { for prefix, name in var.bucket_names : prefix => "arn:aws:s3:::${name}" }
  readable  = ["verified/*", "snapshots/*", "contexts/*"]
  forbidden = ["upload/*", "uploaded/*", "quarantine/*", "import/*", "imported/*"]

  by_sagemaker = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "sagemaker.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_sagemaker_pipeline" "this" {
  pipeline_name         = var.name
  pipeline_display_name = var.name
  pipeline_description  = "From verified image sets to a model version that waits for its approval."
  pipeline_definition   = jsonencode(local.built.pipeline)
  role_arn              = local.pipeline_role_arn

  parallelism_configuration {
    max_parallel_execution_steps = 2
  }

  lifecycle {
    precondition {
      condition     = length(local.strange) == 0
      error_message = "The definition has no parameter ${join(", ", local.strange)}."
    }
  }
}

resource "aws_iam_role" "pipeline" {
  name               = "${var.name}-pipeline"
  description        = "Starts the jobs of the pipeline and registers what passes; reads no image."
  assume_role_policy = local.by_sagemaker
}

resource "aws_iam_role_policy" "pipeline" {
  name = "start-jobs-and-register"
  role = aws_iam_role.pipeline.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Jobs"
        Effect = "Allow"
        Action = [
          "sagemaker:AddTags", "sagemaker:CreateProcessingJob", "sagemaker:CreateTrainingJob", "sagemaker:DescribeProcessingJob",
          "sagemaker:DescribeTrainingJob", "sagemaker:StopProcessingJob", "sagemaker:StopTrainingJob",
        ]
        Resource = ["${local.sagemaker}:processing-job/pipelines-*", "${local.sagemaker}:training-job/pipelines-*"]
      },
      {
        Sid    = "BatchTransform"
        Effect = "Allow"
        Action = [
          "sagemaker:AddTags", "sagemaker:CreateModel", "sagemaker:CreateTransformJob", "sagemaker:DescribeModel",
          "sagemaker:DescribeTransformJob", "sagemaker:StopTransformJob",
        ]
        Resource = ["${local.sagemaker}:model/pipelines-*", "${local.sagemaker}:transform-job/pipelines-*"]
      },
      {
        Sid      = "HandOn"
        Effect   = "Allow"
        Action   = ["iam:PassRole"]
        Resource = [local.job_role_arn]
        Condition = {
          StringEquals = { "iam:PassedToService" = ["sagemaker.amazonaws.com"] }
        }
      },
      {
        Sid      = "Register"
        Effect   = "Allow"
        Action   = ["sagemaker:AddTags", "sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage", "sagemaker:DescribeModelPackageGroup"]
        Resource = ["${local.sagemaker}:model-package-group/${var.package_group}", "${local.sagemaker}:model-package/${var.package_group}/*"]
      },
      {
        Sid      = "ReadTheEvaluation"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.buckets["model-artifacts"]}/drift/*", "${local.buckets["model-artifacts"]}/models/*"]
      },
      {
        Sid      = "Open"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
        Resource = [var.key_arns["models"]]
      },
    ]
  })
}

resource "aws_iam_role" "job" {
  name               = "${var.name}-sagemaker"
  description        = "What preprocessing, training, evaluation and inference may touch."
  assume_role_policy = local.by_sagemaker
}

resource "aws_iam_role_policy" "job" {
  name = "read-verified-write-artifacts"
  role = aws_iam_role.job.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "ListWhatItReads"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.buckets["training-data"]]
        Condition = { StringLike = { "s3:prefix" = local.readable } }
      },
      {
        Sid      = "List"
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [local.buckets["preprocessed-data"], local.buckets["model-artifacts"]]
      },
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = [for path in local.readable : "${local.buckets["training-data"]}/${path}"]
      },
      {
        Sid      = "ReadAndWrite"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        Resource = ["${local.buckets["preprocessed-data"]}/*", "${local.buckets["model-artifacts"]}/*"]
      },
      {
        Sid      = "ClearCheckpoints"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject"]
        Resource = ["${local.buckets["model-artifacts"]}/checkpoints/*"]
      },
      {
        # Nothing unverified and nothing rejected comes into a model, whatever else this role may be given one day.
        Sid      = "NeverTheUnverified"
        Effect   = "Deny"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = concat([for path in local.forbidden : "${local.buckets["training-data"]}/${path}"], ["${local.buckets["logs"]}/*"])
      },
      {
        Sid      = "Open"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
        Resource = [var.key_arns["training"], var.key_arns["models"]]
      },
      {
        Sid       = "SealVolumes"
        Effect    = "Allow"
        Action    = ["kms:CreateGrant"]
        Resource  = [var.key_arns["models"]]
        Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = var.repository_arns
      },
      {
        Sid      = "SignInToTheRegistry"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"]
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/sagemaker/*"]
      },
      {
        Sid      = "Count"
        Effect   = "Allow"
        Action   = ["cloudwatch:PutMetricData"]
        Resource = ["*"]
        Condition = {
          StringEquals = { "cloudwatch:namespace" = ["/aws/sagemaker/Endpoints", "/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs", "AWS/SageMaker", "Radloop"] }
        }
      },
      {
        Sid    = "JoinTheNetwork"
        Effect = "Allow"
        Action = [
          "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
          "ec2:DeleteNetworkInterfacePermission", "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
        ]
        Resource = ["*"]
      },
    ]
  })
}

# SageMaker writes all jobs of an account into groups of fixed names, and each endpoint into one of its own; whoever
# makes them says for how long they keep. No job may make a group, so what has none is not logged.
resource "aws_cloudwatch_log_group" "this" {
  for_each = toset(concat(
    var.owns_account_logs ? ["ProcessingJobs", "TrainingJobs", "TransformJobs"] : [],
    var.drift == null ? [] : ["Endpoints/${var.endpoint_name}"],
  ))

  name              = "/aws/sagemaker/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arns["logs"]
}

resource "aws_sagemaker_pipeline" "transform" {
  pipeline_name         = "${var.name}-transform"
  pipeline_display_name = "${var.name}-transform"
  pipeline_description  = "A version looks at every study below an address; nobody is told what it says."
  pipeline_definition   = jsonencode(local.built.transform)
  role_arn              = local.pipeline_role_arn

  lifecycle {
    precondition {
      condition     = length(setsubtract(keys(local.defaults.transform), [for parameter in local.definitions.transform.Parameters : parameter.Name])) == 0
      error_message = "The definition of batch transform lacks a parameter that is filled here."
    }
  }
}

resource "aws_sagemaker_pipeline" "drift" {
  count = var.drift == null ? 0 : 1

  pipeline_name         = "${var.name}-drift"
  pipeline_display_name = "${var.name}-drift"
  pipeline_description  = "What the endpoint answered lately against what its model knows."
  pipeline_definition   = jsonencode(local.built.drift)
  role_arn              = local.pipeline_role_arn
}

resource "aws_iam_role" "schedule" {
  count = var.drift == null ? 0 : 1

  name        = "${var.name}-drift-schedule"
  description = "Starts the drift job on time."
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  count = var.drift == null ? 0 : 1

  name = "start-the-drift-job"
  role = aws_iam_role.schedule[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Start"
        Effect   = "Allow"
        Action   = ["sagemaker:StartPipelineExecution"]
        Resource = ["${local.sagemaker}:pipeline/${var.name}-drift"]
      },
      {
        Sid      = "GiveUp"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [var.undelivered_queue_arn]
      },
      {
        Sid      = "Seal"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [var.key_arns["messages"]]
      },
    ]
  })
}

resource "aws_scheduler_schedule" "drift" {
  count = var.drift == null ? 0 : 1

  name                = "${var.name}-drift"
  description         = "Starts the drift job of the endpoint."
  schedule_expression = var.drift.schedule
  kms_key_arn         = var.key_arns["messages"]

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 15
  }

  target {
    arn      = aws_sagemaker_pipeline.drift[0].arn
    role_arn = "arn:aws:iam::${var.account_id}:role/${aws_iam_role.schedule[0].name}"

    dead_letter_config {
      arn = var.undelivered_queue_arn
    }

    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 5
    }

    sagemaker_pipeline_parameters {
      dynamic "pipeline_parameter" {
        for_each = local.served

        content {
          name  = pipeline_parameter.key
          value = pipeline_parameter.value
        }
      }
    }
  }
}
