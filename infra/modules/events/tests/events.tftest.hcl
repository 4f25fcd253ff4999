mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name       = "radloop-test"
  region     = "us-east-1"
  account_id = "123456789012"
  contracts  = "../../../contracts"
  names = {
    training_data = "radloop-training-data-test-123456789012"
    datastore_id  = "00000000000000000000000000000001"
    pipeline_arn  = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/radloop-test"
    package_group = "radloop-test"
  }
  function_arns = { for function in jsondecode(file("../../../contracts/functions.json")).functions :
    function.name => "arn:aws:lambda:us-east-1:123456789012:function:radloop-test-${function.name}"
  }
  topic_arns       = { alerts = "arn:aws:sns:us-east-1:123456789012:radloop-test-alerts" }
  kms_key_arn      = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000001"
  logs_kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000002"
  log_days         = 7
}

run "rules_of_services_stand_on_the_default_bus_and_ours_on_our_own" {
  command = plan

  assert {
    condition = alltrue([
      for name, rule in aws_cloudwatch_event_rule.this :
      (rule.event_bus_name == "default") == anytrue([for source in jsondecode(rule.event_pattern).source : startswith(source, "aws.")])
    ])
    error_message = "A rule on aws.* never fires on a bus of our own, and one on our sources never on the default bus."
  }

  assert {
    condition = length(setsubtract(
      ["ImageVerified", "TrainingComplete", "EvaluationPassed", "MetricViolation", "PipelineFailure"],
      keys(aws_cloudwatch_event_rule.this),
    )) == 0
    error_message = "One of the five rules of the brief is missing."
  }

  assert {
    condition = alltrue([
      for rule in concat(
        jsondecode(file("${var.contracts}/events/rules.json")).rules,
        jsondecode(file("${var.contracts}/events/aws-rules.json")).rules,
      ) : rule.description == aws_cloudwatch_event_rule.this[rule.name].description
    ])
    error_message = "A rule of the contract has no rule of EventBridge."
  }

  assert {
    condition = alltrue([
      for rule in jsondecode(file("${var.contracts}/events/rules.json")).rules :
      jsonencode(rule.pattern) == aws_cloudwatch_event_rule.this[rule.name].event_pattern
    ])
    error_message = "The pattern of a rule is not the one the embedded bus reads."
  }
}

run "patterns_of_services_name_our_own_resources" {
  command = plan

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this["UploadedToS3"].event_pattern).detail.bucket.name == ["radloop-training-data-test-123456789012"]
    error_message = "Uploads into other buckets of the account would be taken for ours."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this["CloudWatchAlarm"].event_pattern).detail.alarmName[0].prefix == "radloop-test-"
    error_message = "Alarms of others in the account would be taken for ours."
  }

  assert {
    condition = alltrue([
      for name, rule in aws_cloudwatch_event_rule.this :
      !strcontains(rule.event_pattern, "$${")
    ])
    error_message = "A pattern still holds a word that stands for a name."
  }
}

run "an_event_reaches_its_target_as_it_is" {
  command = plan

  assert {
    condition = alltrue([
      for target in values(aws_cloudwatch_event_target.this) :
      target.input == null && target.input_path == null && length(target.input_transformer) == 0
    ])
    error_message = "A constant input takes the place of the event: the function would not learn what happened."
  }

  assert {
    condition     = alltrue([for target in values(aws_cloudwatch_event_target.this) : endswith(target.dead_letter_config[0].arn, ":radloop-test-undelivered-dead")])
    error_message = "An event that reaches no target is lost."
  }

  assert {
    condition     = aws_cloudwatch_event_target.this["EvaluationPassed/model-registry"].arn == var.function_arns["model-registry"]
    error_message = "A model that passed is not registered."
  }

  assert {
    condition     = aws_cloudwatch_event_target.this["SageMakerTrainingFailed/topic:alerts"].arn == var.topic_arns["alerts"]
    error_message = "Nobody is told of a training that failed."
  }

  assert {
    condition = (
      jsondecode(aws_cloudwatch_event_rule.this["DriftJobFailed"].event_pattern).detail.pipelineArn == ["${var.names.pipeline_arn}-drift"] &&
      aws_cloudwatch_event_target.this["DriftJobFailed/topic:alerts"].arn == var.topic_arns["alerts"] &&
      aws_cloudwatch_event_target.this["DriftJobFailed/error-logging"].arn == var.function_arns["error-logging"]
    )
    error_message = "Nobody is told that the drift job found drift."
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_event_target.this), "CloudWatchAlarm/topic:alerts")
    error_message = "People are told twice of an alarm, which tells the topic by itself."
  }
}

run "verifications_are_held_back_before_they_start_a_training" {
  command = plan

  assert {
    condition     = [for key, target in aws_cloudwatch_event_target.this : target.arn if startswith(key, "ImageVerified/")] == ["arn:aws:sqs:us-east-1:123456789012:radloop-test-delay-pipeline-trigger"]
    error_message = "The rule ImageVerified goes to the queue of its function and nowhere else."
  }

  assert {
    condition     = aws_sqs_queue.this["delay-pipeline-trigger"].delay_seconds == 30
    error_message = "The brief's 30 seconds between a verification and the training are gone."
  }
}

run "only_its_own_rules_fill_a_queue_and_only_by_tls" {
  command = plan

  assert {
    condition = [
      for statement in jsondecode(aws_sqs_queue_policy.this["uploads"].policy).Statement : statement.Condition.ArnEquals["aws:SourceArn"]
      if statement.Effect == "Allow"
    ] == ["arn:aws:events:us-east-1:123456789012:rule/radloop-test-UploadedToS3"]
    error_message = "The queue uploads is filled by the rule UploadedToS3 alone."
  }

  assert {
    condition = alltrue([
      for policy in concat(values(aws_sqs_queue_policy.this), values(aws_sqs_queue_policy.dead)) : anytrue([
        for statement in jsondecode(policy.policy).Statement :
        statement.Effect == "Deny" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"
      ])
    ])
    error_message = "A queue takes messages without TLS."
  }

  assert {
    condition     = alltrue([for queue in concat(values(aws_sqs_queue.this), values(aws_sqs_queue.dead)) : queue.kms_master_key_id == var.kms_key_arn])
    error_message = "A queue is not sealed with our key."
  }
}

run "what_no_function_can_work_on_ends_in_its_own_dead_letters" {
  command = plan

  assert {
    condition = alltrue([
      for lane, queue in aws_sqs_queue.this :
      jsondecode(queue.redrive_policy).deadLetterTargetArn == "arn:aws:sqs:us-east-1:123456789012:radloop-test-${lane}-dead"
    ])
    error_message = "A queue has the dead letters of another."
  }

  assert {
    condition     = aws_sqs_queue_redrive_allow_policy.dead["undelivered"].redrive_allow_policy == jsonencode({ redrivePermission = "denyAll" })
    error_message = "A queue may put its dead letters among events that nobody could be given, or the list of those that may is null."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dead["predict"].redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:us-east-1:123456789012:radloop-test-predict"]
    error_message = "Another queue may give its dead letters to this one."
  }

  assert {
    condition = alltrue(flatten([
      for function in jsondecode(file("${var.contracts}/functions.json")).functions : [
        for trigger in function.triggers : aws_sqs_queue.this[trigger.queue].visibility_timeout_seconds >= 6 * function.timeout_s
        if can(trigger.queue)
      ]
    ]))
    error_message = "A message shows itself again while a function may still be at work on it."
  }
}

run "functions_are_woken_by_their_rules_and_by_no_other" {
  command = plan

  assert {
    condition = (
      aws_lambda_permission.this["TrainingComplete/model-evaluation"].source_arn ==
      "arn:aws:events:us-east-1:123456789012:rule/radloop-test/radloop-test-TrainingComplete"
    )
    error_message = "The permission names another rule than the one that wakes the function."
  }

  assert {
    condition     = alltrue([for permission in values(aws_lambda_permission.this) : !endswith(permission.source_arn, "*")])
    error_message = "A permission holds for rules that do not exist yet."
  }

  assert {
    condition = alltrue(flatten([
      for function in jsondecode(file("${var.contracts}/functions.json")).functions : [
        for trigger in function.triggers : contains(keys(aws_cloudwatch_event_target.this), "${trigger.rule}/${function.name}") if can(trigger.rule)
      ]
    ]))
    error_message = "A function says that a rule wakes it, and the rule has another target."
  }
}

run "the_bus_is_sealed_kept_and_closed_to_other_accounts" {
  command = plan

  assert {
    condition     = aws_cloudwatch_event_bus.this.kms_key_identifier == var.kms_key_arn && aws_cloudwatch_event_archive.this.retention_days == 90
    error_message = "The bus is sealed and its events are kept for a replay."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_cloudwatch_event_bus_policy.this.policy).Statement : statement.Condition.StringNotEquals["aws:PrincipalAccount"]
      if statement.Sid == "ThisAccountOnly" && statement.Effect == "Deny"
    ] == ["123456789012"]
    error_message = "Another account may tell events."
  }

  assert {
    condition     = !anytrue([for source in jsondecode(aws_cloudwatch_event_archive.this.event_pattern).source : startswith(source, "aws.")])
    error_message = "Sources aws.* are reserved and come to no bus of ours."
  }

  assert {
    condition     = aws_cloudwatch_log_group.events.name == "/aws/events/radloop-test" && aws_cloudwatch_log_group.events.retention_in_days == 7 && aws_cloudwatch_log_group.events.kms_key_id == var.logs_kms_key_arn
    error_message = "The log of all events has another name, term or key."
  }
}

run "a_name_that_no_bucket_could_have_is_refused" {
  command = plan

  variables {
    name = "Radloop_Test"
  }

  expect_failures = [var.name]
}

run "sqs_delays_for_a_quarter_of_an_hour_at_most" {
  command = plan

  variables {
    delays_s = { retrain_delay_s = 1000 }
  }

  expect_failures = [var.delays_s]
}
