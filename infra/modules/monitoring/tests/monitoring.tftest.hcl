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
  table_name           = "radloop-test"
  pipeline_name        = "radloop-test"
  endpoint_name        = "radloop-test"
  counted_bucket_names = ["radloop-training-data-test", "radloop-archive-test"]
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
}

run "the_eight_alarms_of_the_brief_tell_people" {
  command = plan

  assert {
    condition     = toset([for key in keys(aws_cloudwatch_metric_alarm.this) : split("/", key)[0]]) == toset([for n in range(1, 9) : "A${n}"])
    error_message = "The brief has eight alarms."
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
      query.metric[0].dimensions == tomap({ FunctionName = "radloop-test-api" }) if length(query.metric) > 0
    ])
    error_message = "The alarm of one function looks at another."
  }
}

run "the_budget_counts_every_bucket" {
  command = plan

  assert {
    condition = toset(flatten([
      for query in aws_cloudwatch_metric_alarm.this["A7"].metric_query : [for metric in query.metric : metric.dimensions.BucketName]
    ])) == toset(var.counted_bucket_names)
    error_message = "A bucket is not counted."
  }

  assert {
    condition = toset([for query in aws_cloudwatch_metric_alarm.this["A7"].metric_query : query.expression if query.expression != null]) == toset([
      "stored0 + stored1", "100 * stored / 1000000000000",
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
