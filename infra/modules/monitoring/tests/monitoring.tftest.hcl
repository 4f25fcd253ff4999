mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name       = "radloop-test"
  region     = "us-east-1"
  account_id = "123456789012"
  contracts  = "../../../contracts"
  function_names = { for function in jsondecode(file("../../../contracts/functions.json")).functions :
    function.name => "radloop-test-${function.name}"
  }
  dead_queue_names = { for lane in concat(jsondecode(file("../../../contracts/functions.json")).lanes[*].name, ["undelivered", "failed"]) :
    lane => "radloop-test-${lane}-dead"
  }
  table_name          = "radloop-test"
  pipeline_name       = "radloop-test"
  endpoint_name       = "radloop-test"
  archive_bucket_name = "radloop-archive-test"
  counted_storage = [
    { bucket = "radloop-training-data-test", type = "StandardStorage" },
    { bucket = "radloop-archive-test", type = "StandardStorage" },
    { bucket = "radloop-archive-test", type = "GlacierInstantRetrievalStorage" },
  ]
  storage_budget_bytes = 1000000000000
  messages_kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000001"
  training_log_group   = "/aws/sagemaker/TrainingJobs"
  events_log_group     = "/aws/events/radloop-test"
}

run "the_three_dashboards_show_all_21_metrics_of_the_brief" {
  command = plan

  assert {
    condition     = length(aws_cloudwatch_dashboard.this) == 3
    error_message = "The brief has three dashboards."
  }

  assert {
    condition = length(setsubtract(
      concat([for n in range(1, 8) : "M1.${n}"], [for n in range(1, 9) : "M2.${n}"], [for n in range(1, 8) : "M3.${n}"]),
      flatten([for dashboard in jsondecode(file("${var.contracts}/dashboards.json")).dashboards : [for widget in dashboard.widgets : widget.id]]),
    )) == 0
    error_message = "A metric of the brief is on no dashboard."
  }

  assert {
    condition = alltrue([
      for dashboard in jsondecode(file("${var.contracts}/dashboards.json")).dashboards :
      [for widget in jsondecode(aws_cloudwatch_dashboard.this[dashboard.id].dashboard_body).widgets : widget.properties.title] == [for widget in dashboard.widgets : widget.title]
    ])
    error_message = "A dashboard lacks a widget of the contract, or shows it elsewhere."
  }

  assert {
    condition = alltrue(flatten([
      for dashboard in values(aws_cloudwatch_dashboard.this) : [
        for widget in jsondecode(dashboard.dashboard_body).widgets : length(widget.properties.metrics) > 0
      ]
    ]))
    error_message = "A widget draws nothing."
  }

  assert {
    condition     = alltrue([for dashboard in values(aws_cloudwatch_dashboard.this) : !strcontains(dashboard.dashboard_body, "$${")])
    error_message = "A dashboard still holds a word that stands for a name."
  }
}

run "a_widget_draws_what_cloudwatch_has_and_else_what_we_write" {
  command = plan

  assert {
    condition = [
      for widget in jsondecode(aws_cloudwatch_dashboard.this["healthimaging"].dashboard_body).widgets : widget.properties.metrics[0]
      if widget.properties.title == "Image retrieval latency, 99th percentile"
    ] == [["Radloop", "radloop_frame_retrieval_seconds", { stat = "p99", label = "Image retrieval latency, 99th percentile" }]]
    error_message = "The latency of the 99th percentile is not our own metric."
  }

  assert {
    condition = [
      for widget in jsondecode(aws_cloudwatch_dashboard.this["pipeline"].dashboard_body).widgets : slice(widget.properties.metrics[0], 0, 4)
      if widget.properties.title == "Average execution time"
    ] == [["AWS/Sagemaker/ModelBuildingPipeline", "ExecutionDuration", "PipelineName", "radloop-test"]]
    error_message = "The time of executions is not SageMaker's own metric of our pipeline."
  }

  assert {
    condition = [
      for widget in jsondecode(aws_cloudwatch_dashboard.this["healthimaging"].dashboard_body).widgets : [for line in widget.properties.metrics : line[0].id]
      if widget.properties.title == "Bytes per image retrieved"
    ] == [["part", "whole", "ratio"]]
    error_message = "Bytes per image are bytes by calls."
  }

  # HealthImaging holds the pixels, and our records know no bytes.
  assert {
    condition = [
      for widget in jsondecode(aws_cloudwatch_dashboard.this["healthimaging"].dashboard_body).widgets :
      [for line in widget.properties.metrics : [line[0].id, try(line[0].visible, true), strcontains(line[0].expression, "\"radloop-archive-test\"")]]
      if widget.properties.title == "HTJ2K compression ratio"
    ] == [[["found0", false, false], ["found1", false, true], ["shown1", true, false]]]
    error_message = "The ratio is not what HealthImaging holds by what the archive holds."
  }

  assert {
    condition = [
      for widget in jsondecode(aws_cloudwatch_dashboard.this["mlops"].dashboard_body).widgets : widget.properties.metrics
      if widget.properties.title == "Predictions by model version"
      ][0][0][5] == "champion" && strcontains(jsonencode([
        for widget in jsondecode(aws_cloudwatch_dashboard.this["mlops"].dashboard_body).widgets : widget.properties.metrics
        if widget.properties.title == "Predictions by model version"
    ]), "radloop_model_predictions")
    error_message = "Predictions without an endpoint are not shown, or those of another variant."
  }
}

run "the_eight_alarms_of_the_brief_and_ours_tell_people" {
  command = plan

  assert {
    condition     = toset([for key in keys(aws_cloudwatch_metric_alarm.this) : split("/", key)[0]]) == toset(concat([for n in range(1, 9) : "A${n}"], ["O1"]))
    error_message = "The brief has eight alarms, and we one for dead letters."
  }

  assert {
    condition = alltrue([
      for alarm in values(aws_cloudwatch_metric_alarm.this) :
      alarm.alarm_actions == toset(["arn:aws:sns:us-east-1:123456789012:radloop-test-alerts"]) && alarm.ok_actions == alarm.alarm_actions
    ])
    error_message = "An alarm tells nobody that it went on, or off."
  }

  assert {
    condition = alltrue([
      for key, alarm in aws_cloudwatch_metric_alarm.this : alarm.threshold == [
        for each in jsondecode(file("${var.contracts}/alarms.json")).alarms : each.aws.threshold if each.id == split("/", key)[0]
      ][0]
    ])
    error_message = "A threshold is not that of the contract."
  }
}

run "a_slow_frame_alarms_within_a_minute" {
  command = plan

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["A1"].extended_statistic == "p99" && aws_cloudwatch_metric_alarm.this["A1"].statistic == null &&
      aws_cloudwatch_metric_alarm.this["A1"].period == 60 && aws_cloudwatch_metric_alarm.this["A1"].comparison_operator == "GreaterThanThreshold"
    )
    error_message = "The alarm of a slow frame looks at another figure or for longer."
  }
}

run "a_function_that_fails_alarms_by_its_own_name" {
  command = plan

  assert {
    condition     = toset([for key in keys(aws_cloudwatch_metric_alarm.this) : split("/", key)[1] if startswith(key, "A5/")]) == toset(keys(var.function_names))
    error_message = "A function fails unseen."
  }

  assert {
    condition = alltrue([
      for query in aws_cloudwatch_metric_alarm.this["A5/api"].metric_query :
      query.metric[0].dimensions == tomap({ FunctionName = "radloop-test-api" }) if try(query.metric[0].namespace, "") == "AWS/Lambda"
    ])
    error_message = "The alarm of one function looks at another."
  }

  # Lambda counts no error where a message of a batch failed; the function itself does.
  assert {
    condition = [
      for query in aws_cloudwatch_metric_alarm.this["A5/image-ingestion"].metric_query :
      query.metric[0].dimensions if try(query.metric[0].namespace, "") == "Radloop"
    ] == [tomap({ function = "image_ingestion", outcome = "ok" }), tomap({ function = "image_ingestion", outcome = "failed" })]
    error_message = "What a function says of its own failed runs is not looked at."
  }
}

run "a_dead_letter_alarms_in_whichever_queue_it_lies" {
  command = plan

  assert {
    condition = { for key, alarm in aws_cloudwatch_metric_alarm.this : split("/", key)[1] => alarm.dimensions if startswith(key, "O1/") } == {
      for name, queue in var.dead_queue_names : name => tomap({ QueueName = queue })
    }
    error_message = "A queue of dead letters fills without a word, or an alarm looks at another queue."
  }

  assert {
    condition = alltrue([
      for key, alarm in aws_cloudwatch_metric_alarm.this :
      alarm.namespace == "AWS/SQS" && alarm.metric_name == "ApproximateNumberOfMessagesVisible" && alarm.statistic == "Maximum" &&
      alarm.threshold == 0 && alarm.comparison_operator == "GreaterThanThreshold" if startswith(key, "O1/")
    ])
    error_message = "One dead letter is no alarm, or SQS tells of it in another figure."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["O1/uploads"].alarm_name == "radloop-test-dead-letters-uploads"
    error_message = "The name does not tell whose dead letters they are."
  }
}

run "what_is_missing_makes_no_sum_missing" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for key, alarm in aws_cloudwatch_metric_alarm.this : [
        for sum in [for query in alarm.metric_query : query.expression if strcontains(coalesce(query.expression, "-"), " + ")] : [
          for part in split(" + ", sum) : startswith(part, "FILL(") && endswith(part, ", 0)")
        ]
      ] if contains(["A6", "A7"], key)
    ]))
    error_message = "A sum is missing when one of its parts is."
  }

  assert {
    condition = alltrue([
      for key, alarm in aws_cloudwatch_metric_alarm.this : alarm.datapoints_to_alarm == 1 && alarm.evaluation_periods > 1
      if anytrue([for query in alarm.metric_query : strcontains(coalesce(query.expression, "-"), "FILL(")])
    ])
    error_message = "A value that comes late is hidden by the zero in its place."
  }

  assert {
    condition = alltrue([
      for key, alarm in aws_cloudwatch_metric_alarm.this :
      alarm.evaluation_periods * one(distinct(concat(flatten([for query in alarm.metric_query : query.metric[*].period]), alarm.period[*]))) <= 604800
    ])
    error_message = "CloudWatch looks back seven days at most."
  }
}

run "an_audit_of_which_nobody_tells_is_an_alarm" {
  command = plan

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["A8"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.this["A8"].evaluation_periods == 3
    error_message = "Where no function tells of the audit, nobody would hear that nothing is sealed."
  }

  assert {
    condition     = toset([for key, alarm in aws_cloudwatch_metric_alarm.this : split("/", key)[0] if alarm.treat_missing_data != "notBreaching"]) == toset(["A3", "A8"])
    error_message = "Another alarm goes on by silence."
  }
}

run "the_budget_counts_every_bucket" {
  command = plan

  assert {
    condition = toset(flatten([
      for query in aws_cloudwatch_metric_alarm.this["A7"].metric_query : [for metric in query.metric : { bucket = metric.dimensions.BucketName, type = metric.dimensions.StorageType }]
    ])) == toset(var.counted_storage)
    error_message = "A bucket, or a class of its objects, is not counted."
  }

  assert {
    condition = toset([for query in aws_cloudwatch_metric_alarm.this["A7"].metric_query : query.expression if query.expression != null]) == toset([
      "FILL(stored0, 0) + FILL(stored1, 0) + FILL(stored2, 0)", "100 * stored / 1000000000000",
    ])
    error_message = "Buckets are not summed, or held against another budget."
  }

  assert {
    condition     = [for query in aws_cloudwatch_metric_alarm.this["A7"].metric_query : query.id if query.return_data] == ["result"]
    error_message = "The alarm looks at a part and not at the result."
  }
}

run "the_topic_is_sealed_and_told_by_this_account_only" {
  command = plan

  assert {
    condition     = aws_sns_topic.alerts.kms_master_key_id == var.messages_kms_key_arn
    error_message = "Alerts are not sealed with our key."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_sns_topic_policy.alerts.policy).Statement :
      try(statement.Condition.StringEquals["aws:SourceAccount"], "") == "123456789012" if statement.Effect == "Allow"
    ])
    error_message = "Another account may tell alerts."
  }
}

run "the_stored_queries_read_the_logs_that_there_are" {
  command = plan

  assert {
    condition = alltrue([
      for query in aws_cloudwatch_query_definition.this :
      toset(query.log_group_names) == toset([for name in values(var.function_names) : "/aws/lambda/${name}"])
    ])
    error_message = "A stored query leaves out a function's log."
  }

  assert {
    condition     = aws_cloudwatch_query_definition.events.log_group_names == tolist([var.events_log_group])
    error_message = "Events are not looked for in their own log."
  }
}

run "people_are_told_by_mail_or_https" {
  command = plan

  variables {
    subscribers = { on-call = { protocol = "sms", endpoint = "+15550100" } }
  }

  expect_failures = [var.subscribers]
}
