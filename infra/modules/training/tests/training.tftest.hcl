mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name        = "radloop-test"
  region      = "us-east-1"
  account_id  = "123456789012"
  definitions = "../../../build" # what `python -m radloop.pipeline build` wrote
  bucket_names = { for prefix in ["training-data", "preprocessed-data", "model-artifacts", "logs"] :
    prefix => "radloop-${prefix}-test-123456789012"
  }
  key_arns = { for domain in ["training", "models", "messages", "logs"] :
    domain => "arn:aws:kms:us-east-1:123456789012:key/${domain}"
  }
  package_group         = "radloop-test"
  image_uris            = { pipeline = "123456789012.dkr.ecr.us-east-1.amazonaws.com/radloop-test-pipeline:1", inference = "123456789012.dkr.ecr.us-east-1.amazonaws.com/radloop-test-inference:1" }
  repository_arns       = ["arn:aws:ecr:us-east-1:123456789012:repository/radloop-test-pipeline"]
  endpoint_name         = "radloop-test"
  undelivered_queue_arn = "arn:aws:sqs:us-east-1:123456789012:radloop-test-undelivered-dead"
  subnet_ids            = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  security_group_ids    = ["sg-0123456789abcdef0"]
  log_days              = 7
}

run "the_definition_has_the_names_of_this_account" {
  command = plan

  assert {
    condition = {
      for parameter in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Parameters : parameter.Name => parameter.DefaultValue
      if contains(["RoleArn", "KmsKeyId", "ArtifactBucket", "TrainingInstanceType"], parameter.Name)
      } == {
      RoleArn              = "arn:aws:iam::123456789012:role/radloop-test-sagemaker"
      KmsKeyId             = "arn:aws:kms:us-east-1:123456789012:key/models"
      ArtifactBucket       = "radloop-model-artifacts-test-123456789012"
      TrainingInstanceType = "ml.g5.xlarge"
    }
    error_message = "A parameter has not the name that this account gives it."
  }

  assert {
    condition = alltrue([
      for parameter in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Parameters :
      !can(parameter.DefaultValue) if contains(["ExecutionId", "DatasetUri"], parameter.Name)
    ])
    error_message = "What every execution must say got a default."
  }

  assert {
    condition     = [for step in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Steps : step.Name] == ["Preprocess", "Train", "Evaluate", "Gate"]
    error_message = "Steps were lost or changed places."
  }
}

run "a_machine_with_disks_of_its_own_is_given_no_key_for_a_volume" {
  command = plan

  assert {
    condition = {
      for step in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Steps : step.Name => strcontains(jsonencode(step.Arguments), "VolumeKmsKeyId") if step.Type != "Condition"
    } == { Preprocess = true, Train = false, Evaluate = true }
    error_message = "SageMaker refuses a training on ml.g5 that names a key for its volume."
  }
}

run "a_machine_without_disks_of_its_own_is_given_our_key" {
  command = plan

  variables {
    training   = { instance_type = "ml.c5.4xlarge", instance_count = 1 }
    processing = { instance_type = "ml.m5d.xlarge", instance_count = 1 }
  }

  assert {
    condition = {
      for step in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Steps : step.Name => strcontains(jsonencode(step.Arguments), "VolumeKmsKeyId") if step.Type != "Condition"
    } == { Preprocess = false, Train = true, Evaluate = false }
    error_message = "The volume of a training is not sealed by our key."
  }
}

run "every_job_runs_in_the_private_subnets_without_a_network_of_its_own" {
  command = plan

  assert {
    condition = alltrue([
      for step in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Steps :
      step.Arguments.NetworkConfig.VpcConfig == { SecurityGroupIds = ["sg-0123456789abcdef0"], Subnets = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"] } &&
      step.Arguments.NetworkConfig.EnableNetworkIsolation
      if step.Type == "Processing"
    ])
    error_message = "Preprocessing or evaluation runs outside our network."
  }

  assert {
    condition = alltrue([
      for step in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Steps :
      step.Arguments.VpcConfig.Subnets == ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"] && step.Arguments.EnableNetworkIsolation
      if step.Type == "Training"
    ])
    error_message = "Training runs outside our network."
  }
}

run "spot_is_a_setting" {
  command = plan

  variables {
    is_spot = false
  }

  assert {
    condition = [
      for step in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Steps : [try(step.Arguments.EnableManagedSpotTraining, false), can(step.Arguments.StoppingCondition.MaxWaitTimeInSeconds)]
      if step.Type == "Training"
    ] == [[false, false]]
    error_message = "Training takes spot instances although it was told not to."
  }
}

run "training_takes_spot_instances_unless_told_otherwise" {
  command = plan

  assert {
    condition = [
      for step in jsondecode(aws_sagemaker_pipeline.this.pipeline_definition).Steps : [try(step.Arguments.EnableManagedSpotTraining, false), can(step.Arguments.StoppingCondition.MaxWaitTimeInSeconds)]
      if step.Type == "Training"
    ] == [[true, true]]
    error_message = "Training pays the full price by default."
  }
}

run "jobs_read_what_was_verified_and_never_the_rest" {
  command = plan

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : [
        for resource in statement.Resource : resource if startswith(resource, "arn:aws:s3:::radloop-training-data-test-123456789012/")
      ] if statement.Effect == "Allow"
      ])) == toset([for path in ["verified/*", "snapshots/*", "contexts/*"] :
      "arn:aws:s3:::radloop-training-data-test-123456789012/${path}"
    ])
    error_message = "Jobs may read something else of the bucket training-data than what was verified."
  }

  assert {
    condition = alltrue([
      for path in ["radloop-training-data-test-123456789012/upload/*", "radloop-training-data-test-123456789012/quarantine/*", "radloop-logs-test-123456789012/*"] : anytrue([
        for statement in jsondecode(aws_iam_role_policy.job.policy).Statement :
        statement.Effect == "Deny" && contains(statement.Action, "s3:GetObject") && contains(statement.Resource, "arn:aws:s3:::${path}")
      ])
    ])
    error_message = "Uploads, quarantine or logs are not forbidden to jobs."
  }

  assert {
    condition     = !anytrue(flatten([for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : [for action in statement.Action : startswith(action, "sagemaker:") || strcontains(action, "*")]]))
    error_message = "A job may start jobs, or has an action with a wildcard."
  }
}

run "what_starts_jobs_sees_no_image" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : [
        for resource in statement.Resource : !strcontains(resource, "training-data") && !strcontains(resource, "preprocessed-data") && !strcontains(resource, "/training")
      ]
    ]))
    error_message = "The role of the pipeline reads images or opens the key that seals them."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement : [statement.Resource, statement.Condition.StringEquals["iam:PassedToService"]]
      if contains(statement.Action, "iam:PassRole")
    ] == [[["arn:aws:iam::123456789012:role/radloop-test-sagemaker"], ["sagemaker.amazonaws.com"]]]
    error_message = "It hands on another role than that of its jobs, or to another service."
  }
}

run "without_an_endpoint_there_is_no_drift_job" {
  command = plan

  assert {
    condition     = length(aws_sagemaker_pipeline.drift) == 0 && length(aws_scheduler_schedule.drift) == 0 && output.schedule_role_arn == null
    error_message = "A drift job is started for an endpoint that does not exist."
  }
}

run "the_drift_job_of_an_endpoint_is_started_on_time" {
  command = plan

  variables {
    drift = { schedule = "rate(1 day)", instance_type = "ml.m5.large" }
  }

  assert {
    condition     = aws_scheduler_schedule.drift[0].schedule_expression == "rate(1 day)" && endswith(aws_scheduler_schedule.drift[0].target[0].dead_letter_config[0].arn, ":radloop-test-undelivered-dead")
    error_message = "The drift job is started at another time, or lost where it cannot be started."
  }

  assert {
    condition     = flatten([for statement in jsondecode(aws_iam_role_policy.schedule[0].policy).Statement : statement.Resource if contains(statement.Action, "sagemaker:StartPipelineExecution")]) == ["arn:aws:sagemaker:us-east-1:123456789012:pipeline/radloop-test-drift"]
    error_message = "The schedule may start another pipeline."
  }

  assert {
    condition     = [for step in jsondecode(aws_sagemaker_pipeline.drift[0].pipeline_definition).Steps : step.Arguments.NetworkConfig.VpcConfig.Subnets if step.Type == "Processing"] == [["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]]
    error_message = "The drift job runs outside our network."
  }
}

run "the_drift_job_reads_what_the_endpoint_answered" {
  command = plan

  variables {
    drift = { schedule = "rate(1 day)", instance_type = "ml.m5.large" }
  }

  assert {
    condition = {
      for parameter in flatten([for each in aws_scheduler_schedule.drift[0].target[0].sagemaker_pipeline_parameters : tolist(each.pipeline_parameter)]) : parameter.name => parameter.value
      } == {
      ModelUri    = "s3://radloop-model-artifacts-test-123456789012/serving"
      CapturedUri = "s3://radloop-model-artifacts-test-123456789012/captured/radloop-test/champion"
    }
    error_message = "The drift job is told of another model or of other answers."
  }
}

run "logs_of_jobs_are_sealed_and_end" {
  command = plan

  assert {
    condition = (
      toset([for group in values(aws_cloudwatch_log_group.this) : group.name]) == toset(["/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs", "/aws/sagemaker/TransformJobs"]) &&
      alltrue([for group in values(aws_cloudwatch_log_group.this) : group.retention_in_days == 7 && group.kms_key_id == var.key_arns["logs"]])
    )
    error_message = "Logs of jobs have other groups, another term or another key."
  }
}

run "an_endpoint_is_logged_as_well" {
  command = plan

  variables {
    drift             = { schedule = "rate(1 day)", instance_type = "ml.m5.large" }
    owns_account_logs = false
  }

  assert {
    condition     = [for group in values(aws_cloudwatch_log_group.this) : group.name] == ["/aws/sagemaker/Endpoints/radloop-test"]
    error_message = "No group takes what the endpoint says, and no job may make one."
  }
}

run "batch_transform_has_the_names_of_this_account_and_runs_in_the_private_subnets" {
  command = plan

  assert {
    condition = {
      for parameter in jsondecode(aws_sagemaker_pipeline.transform.pipeline_definition).Parameters : parameter.Name => try(parameter.DefaultValue, null)
      } == {
      StudiesUri             = null
      ModelUri               = null
      ModelVersion           = null
      ContentType            = "application/x-npy"
      ArtifactBucket         = "radloop-model-artifacts-test-123456789012"
      RoleArn                = "arn:aws:iam::123456789012:role/radloop-test-sagemaker"
      KmsKeyId               = "arn:aws:kms:us-east-1:123456789012:key/models"
      InferenceImageUri      = "123456789012.dkr.ecr.us-east-1.amazonaws.com/radloop-test-inference:1"
      TransformInstanceType  = "ml.m5.xlarge"
      TransformInstanceCount = 1
    }
    error_message = "A parameter has not the name that this account gives it, or a default that it should not have."
  }

  assert {
    condition = [
      for step in jsondecode(aws_sagemaker_pipeline.transform.pipeline_definition).Steps : step.Arguments.VpcConfig if step.Type == "Model"
    ] == [{ SecurityGroupIds = ["sg-0123456789abcdef0"], Subnets = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"] }]
    error_message = "Batch transform runs outside our network."
  }
}

run "batch_transform_seals_its_volumes_where_its_machines_take_a_key" {
  command = plan

  assert {
    condition     = [for step in jsondecode(aws_sagemaker_pipeline.transform.pipeline_definition).Steps : can(step.Arguments.TransformResources.VolumeKmsKeyId) if step.Type == "Transform"] == [true]
    error_message = "A volume is not sealed by our key."
  }
}

run "batch_transform_names_no_key_for_disks_that_seal_themselves" {
  command = plan

  variables {
    transform = { instance_type = "ml.g4dn.xlarge", instance_count = 1 }
  }

  assert {
    condition = [
      for step in jsondecode(aws_sagemaker_pipeline.transform.pipeline_definition).Steps : [for name in keys(step.Arguments.TransformResources) : name] if step.Type == "Transform"
    ] == [["InstanceCount", "InstanceType"]]
    error_message = "SageMaker refuses a key for the volume of such a machine."
  }
}

run "what_starts_jobs_may_start_batch_transform_and_follow_it" {
  command = plan

  assert {
    condition = alltrue([
      for action, kind in {
        "sagemaker:CreateModel"          = "model"
        "sagemaker:DescribeModel"        = "model"
        "sagemaker:CreateTransformJob"   = "transform-job"
        "sagemaker:DescribeTransformJob" = "transform-job"
        "sagemaker:StopTransformJob"     = "transform-job"
        } : anytrue([
          for statement in jsondecode(aws_iam_role_policy.pipeline.policy).Statement :
          contains(statement.Action, action) && contains(statement.Resource, "arn:aws:sagemaker:us-east-1:123456789012:${kind}/pipelines-*")
      ])
    ])
    error_message = "The role of the pipelines lacks a right that its steps need."
  }

  assert {
    condition = anytrue([
      for statement in jsondecode(aws_iam_role_policy.job.policy).Statement :
      contains(statement.Action, "kms:CreateGrant") && try(statement.Condition.Bool["kms:GrantIsForAWSResource"], "") == "true" && contains(statement.Resource, "arn:aws:kms:us-east-1:123456789012:key/models")
    ])
    error_message = "Volumes cannot be sealed: the role of the jobs may grant the key to nobody."
  }

  assert {
    condition = length(setsubtract([
      "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
      "ec2:DeleteNetworkInterfacePermission", "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
    ], flatten([for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : statement.Action]))) == 0
    error_message = "SageMaker cannot put jobs and models into our subnets."
  }
}

run "machines_that_aws_no_longer_offers_are_refused" {
  command = plan

  variables {
    training = { instance_type = "ml.p3.2xlarge", instance_count = 1 }
  }

  expect_failures = [var.training]
}

run "a_threshold_that_is_no_share_is_refused" {
  command = plan

  variables {
    accuracy_threshold = 1.5
  }

  expect_failures = [var.accuracy_threshold]
}

run "a_renamed_parameter_is_noticed" {
  command = plan

  variables {
    definitions = "./tests/renamed"
  }

  expect_failures = [aws_sagemaker_pipeline.this, aws_sagemaker_pipeline.transform]
}
