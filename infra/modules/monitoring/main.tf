# The dashboards, the alarms, the topic that tells people of them, and queries for whoever looks for a cause.
#
# What is shown and what is too much stands in contracts/{metrics,dashboards,alarms}.json, which the embedded platform
# reads too. A metric that CloudWatch has by itself says so there; every other is written by our functions into the
# namespace Radloop, under its own name and with its labels as dimensions.

locals {
  # In the contracts ${...} stands for a name of this installation; ${function}, ${dead_queue} and ${bucket} for one after
  # the other, ${function_label} for what a function calls itself, ${storage_type} for a class of the bucket's objects.
  names = {
    pipeline             = var.pipeline_name
    endpoint             = var.endpoint_name
    table                = var.table_name
    archive              = var.archive_bucket_name
    storage_budget_bytes = var.storage_budget_bytes
    function             = "$${function}"
    function_label       = "$${function_label}"
    dead_queue           = "$${dead_queue}"
    bucket               = "$${bucket}"
    storage_type         = "$${storage_type}"
  }
  metrics_text = file("${var.contracts}/metrics.json")
  alarms_text  = file("${var.contracts}/alarms.json")

  metrics    = { for metric in jsondecode(templatestring(local.metrics_text, local.names)).metrics : metric.name => metric }
  alarms     = { for alarm in jsondecode(templatestring(local.alarms_text, local.names)).alarms : alarm.id => alarm }
  dashboards = { for each in jsondecode(file("${var.contracts}/dashboards.json")).dashboards : each.id => each }

  topic_arn = "arn:aws:sns:${var.region}:${var.account_id}:${aws_sns_topic.alerts.name}"
}

locals {
  statistics = { mean = "Average", p99 = "p99", increase = "Sum", latest = "Average", maximum = "Maximum" }

  widgets = { for widget in flatten([for dashboard, each in local.dashboards : [for index, widget in each.widgets : {
    key       = "${dashboard}/${format("%02d", index)}"
    dashboard = dashboard
    index     = index
    title     = widget.title
    unit      = widget.unit
    metric    = widget.metric
    statistic = local.statistics[widget.statistic]
    own       = try(local.metrics[widget.metric].aws, [])
    kind      = can(local.metrics[widget.metric].aws) && !can(local.metrics[widget.metric].aws[0].beside) ? "own" : can(widget.by) ? "split" : can(widget.where) ? "summed" : "plain"
    label     = try(widget.by, keys(widget.where)[0], "")
    values    = try(values(widget.where)[0], [])
    per       = try(widget.per, "")
  }]]) : widget.key => widget }

  # The lines of a widget: metrics of CloudWatch's own, one of ours, or a search where a label says which there are. What
  # is computed of searches is shown in their place; `beside` shows CloudWatch's own and ours.
  lines = { for key, widget in local.widgets : key => concat(
    [for own in widget.own : concat(
      [own.namespace, own.metric], flatten([for name, value in own.dimensions : [name, value]]), [{ stat = own.statistic }],
    ) if !can(own.search)],
    [for index, own in widget.own : [
      {
        expression = "SEARCH('${own.search}', '${own.statistic}', ${try(own.period_s, 300)})"
        id         = "found${index}"
        label      = ""
        visible    = !can(own.expression) && !can(own.hidden)
      }
    ] if can(own.search)],
    [for index, own in widget.own : [{ expression = own.expression, id = "shown${index}", label = widget.title }] if can(own.expression)],
    [for metric in [widget.metric] : ["Radloop", metric, { stat = widget.statistic, label = widget.title }] if widget.kind == "plain"],
    [for metric in [widget.metric] : [
      { expression = "SEARCH('{Radloop,${widget.label}} MetricName=\"${metric}\"', '${widget.statistic}', 300)", id = "found", label = "" }
    ] if widget.kind == "split"],
    [for id, metric in { part = widget.metric, whole = widget.per } : [{
      expression = "SUM(SEARCH('{Radloop,${widget.label}} MetricName=\"${metric}\" ${widget.label}=(${join(" OR ", formatlist("\"%s\"", widget.values))})', '${widget.statistic}', 300))"
      id         = id
      label      = widget.title
      visible    = widget.per == ""
    }] if widget.kind == "summed" && metric != ""],
    [for id in ["ratio"] : [{ expression = "part / whole", id = id, label = widget.title }] if widget.kind == "summed" && widget.per != ""],
  ) }
}

resource "aws_cloudwatch_dashboard" "this" {
  for_each = local.dashboards

  dashboard_name = "${var.name}-${each.key}"
  dashboard_body = jsonencode({
    widgets = [for key, widget in local.widgets : {
      type   = "metric"
      x      = widget.index % 3 * 8
      y      = floor(widget.index / 3) * 6
      width  = 8
      height = 6
      properties = {
        title   = widget.title
        region  = var.region
        view    = "timeSeries"
        stacked = false
        period  = 300
        stat    = widget.statistic
        yAxis   = { left = { label = widget.unit, showUnits = false } }
        metrics = local.lines[key]
      }
    } if widget.dashboard == each.key]
  })
}

locals {
  comparisons = { ">" = "GreaterThanThreshold", "<" = "LessThanThreshold", ">=" = "GreaterThanOrEqualToThreshold", "<=" = "LessThanOrEqualToThreshold" }

  # What an alarm may be there once for each of, and what the words of the contract mean then.
  each_of = {
    function   = { for name, function in var.function_names : name => { "$${function}" = function, "$${function_label}" = replace(name, "-", "_") } }
    dead_queue = { for name, queue in var.dead_queue_names : name => { "$${dead_queue}" = queue } }
  }

  # One entry an alarm, or one an alarm and function or queue where the contract says so.
  instances = merge([for id, alarm in local.alarms : {
    for one in can(alarm.aws.each) ? keys(local.each_of[alarm.aws.each]) : [""] :
    trimsuffix("${id}/${one}", "/") => {
      id          = id
      name        = trimsuffix("${var.name}-${alarm.name}-${one}", "-")
      means       = try(local.each_of[alarm.aws.each][one], {})
      is_sum      = can(alarm.aws.sum_over)
      is_computed = can(alarm.aws.expression)
    }
  }]...)

  # What an alarm computes with: the metrics as the contract has them, or each once a bucket and class and their sum.
  parts = { for key, each in local.instances : key => flatten([
    for id, metric in try(local.alarms[each.id].aws.metrics, {}) : [
      for index, counted in each.is_sum ? var.counted_storage : [{ bucket = "", type = "" }] : {
        id        = each.is_sum ? "${id}${index}" : id
        namespace = metric.namespace
        metric    = metric.metric
        statistic = metric.statistic
        dimensions = { for name, value in metric.dimensions :
          name => lookup(merge(each.means, { "$${bucket}" = counted.bucket, "$${storage_type}" = counted.type }), value, value)
        }
      }
    ]
  ]) }

  # What stands between its metrics and what it looks at. A bucket that holds nothing has no size: what is missing must
  # not make the sum missing, hence FILL.
  sums = { for key, each in local.instances : key => merge(try(local.alarms[each.id].aws.terms, {}), {
    for id in keys(try(local.alarms[each.id].aws.metrics, {})) : id => join(" + ", [for index in range(length(var.counted_storage)) : "FILL(${id}${index}, 0)"])
    if each.is_sum
  }) }
}

# An alarm with `datapoints` in the contract goes on by so many of its periods: FILL gives a period whose value has not
# come yet a value too, so that the latest one alone would always look well.
resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.instances

  alarm_name          = each.value.name
  alarm_description   = "${local.alarms[each.value.id].severity}: ${local.alarms[each.value.id].description}"
  comparison_operator = local.comparisons[local.alarms[each.value.id].comparison]
  threshold           = local.alarms[each.value.id].aws.threshold
  evaluation_periods  = try(local.alarms[each.value.id].aws.periods, local.alarms[each.value.id].periods)
  datapoints_to_alarm = try(local.alarms[each.value.id].aws.datapoints, null)
  treat_missing_data  = try(local.alarms[each.value.id].aws.missing, local.alarms[each.value.id].missing)
  alarm_actions       = [local.topic_arn]
  ok_actions          = [local.topic_arn]

  namespace          = each.value.is_computed ? null : local.alarms[each.value.id].aws.namespace
  metric_name        = each.value.is_computed ? null : local.alarms[each.value.id].aws.metric
  dimensions         = each.value.is_computed ? null : { for name, value in local.alarms[each.value.id].aws.dimensions : name => lookup(each.value.means, value, value) }
  period             = each.value.is_computed ? null : local.alarms[each.value.id].aws.period_s
  statistic          = each.value.is_computed || can(regex("^p[0-9]", local.alarms[each.value.id].aws.statistic)) ? null : local.alarms[each.value.id].aws.statistic
  extended_statistic = !each.value.is_computed && can(regex("^p[0-9]", local.alarms[each.value.id].aws.statistic)) ? local.alarms[each.value.id].aws.statistic : null

  dynamic "metric_query" {
    for_each = local.parts[each.key]

    content {
      id          = metric_query.value.id
      return_data = false

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.metric
        stat        = metric_query.value.statistic
        period      = local.alarms[each.value.id].aws.period_s
        dimensions  = metric_query.value.dimensions
      }
    }
  }

  dynamic "metric_query" {
    for_each = local.sums[each.key]

    content {
      id          = metric_query.key
      expression  = metric_query.value
      return_data = false
    }
  }

  dynamic "metric_query" {
    for_each = each.value.is_computed ? [local.alarms[each.value.id].aws.expression] : []

    content {
      id          = "result"
      label       = local.alarms[each.value.id].unit
      expression  = metric_query.value
      return_data = true
    }
  }
}

# Alarms, rules and budgets tell it; it tells people and the tools they are paged by. No message carries a patient.
resource "aws_sns_topic" "alerts" {
  name              = "${var.name}-alerts"
  kms_master_key_id = var.messages_kms_key_arn
  signature_version = 2
}

resource "aws_sns_topic_policy" "alerts" {
  arn = aws_sns_topic.alerts.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for service in ["budgets", "cloudwatch", "events"] : {
        Sid       = "From${title(service)}"
        Effect    = "Allow"
        Principal = { Service = "${service}.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = local.topic_arn
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      }],
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = local.topic_arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
    )
  })
}

resource "aws_sns_topic_subscription" "alerts" {
  for_each = var.subscribers

  topic_arn              = local.topic_arn
  protocol               = each.value.protocol
  endpoint               = each.value.endpoint
  endpoint_auto_confirms = each.value.protocol == "https"

  depends_on = [aws_sns_topic_policy.alerts]
}

# Training runs without a network and can put no metric; it says what an epoch took in its log.
resource "aws_cloudwatch_log_metric_filter" "epoch" {
  for_each = toset(var.training_log_group == null ? [] : [var.training_log_group])

  name           = "${var.name}-epoch-seconds"
  log_group_name = each.key
  pattern        = "{ $.event = \"epoch\" && $.seconds >= 0 }"

  metric_transformation {
    namespace = "Radloop"
    name      = "radloop_training_seconds_per_epoch"
    value     = "$.seconds"
    unit      = "Seconds"
  }
}

# Our lines are JSON with function, request and trace; Lambda's own say what a call took.
resource "aws_cloudwatch_query_definition" "this" {
  for_each = {
    "errors by function"        = "filter level = \"ERROR\" or level = \"CRITICAL\" | stats count(*) as errors by function, bin(1h) | sort errors desc"
    "one trace through all"     = "filter trace = \"<trace>\" | fields @timestamp, function, request, level, message | sort @timestamp asc"
    "slow and short of memory"  = "filter type = \"platform.report\" | stats max(record.metrics.durationMs) as longest_ms, max(record.metrics.maxMemoryUsedMB / record.metrics.memorySizeMB) as memory by @log | sort memory desc"
    "what failed, latest first" = "filter message like /^failed/ | fields @timestamp, function, request, message | sort @timestamp desc | limit 200"
  }

  name            = "${var.name}/${each.key}"
  log_group_names = [for function in keys(var.function_names) : "/aws/lambda/${var.function_names[function]}"]
  query_string    = each.value
}

resource "aws_cloudwatch_query_definition" "events" {
  name            = "${var.name}/events by kind"
  log_group_names = [var.events_log_group]
  query_string    = "stats count(*) as events by `detail-type`, source, bin(1h) | sort events desc"
}
