# The bus, its rules out of contracts/events, the queues, and what becomes of what cannot be delivered.
#
# Services of AWS tell on the default bus only, so the rules of aws-rules.json stand there and those of rules.json on
# our own. No target has a constant input: that would put it in the place of the event.

locals {
  contract  = jsondecode(file("${var.contracts}/functions.json"))
  functions = { for each in local.contract.functions : each.name => each }
  own_rules = jsondecode(file("${var.contracts}/events/rules.json")).rules
  aws_text  = file("${var.contracts}/events/aws-rules.json")
  aws_rules = jsondecode(local.aws_text).rules

  # Patterns alone hold names that may be known only after apply; which rules there are never waits for them.
  named = { for rule in jsondecode(templatestring(local.aws_text, merge(var.names, { name = var.name }))).rules : rule.name => jsonencode(rule.pattern) }

  rules = merge(
    { for rule in local.own_rules : rule.name => {
      is_ours     = true
      description = rule.description
      pattern     = jsonencode(rule.pattern)
      targets     = flatten([try(rule.targets, rule.target)])
      delay       = try(rule.delay, null)
    } },
    { for rule in local.aws_rules : rule.name => {
      is_ours     = false
      description = rule.description
      pattern     = local.named[rule.name]
      targets     = flatten([try(rule.targets, rule.target)])
      delay       = null
    } },
  )

  # One entry a rule and target. A target is `queue:<lane>`, `topic:<name>`, `notification` (people are told), or a
  # function; a function whose events are to wait is reached through a queue that holds them back.
  aims = { for aim in flatten([
    for name, rule in local.rules : [
      for target in rule.targets : {
        key  = "${name}/${replace(target, "_", "-")}"
        rule = name
        kind = (
          target == "notification" ? "topic" :
          strcontains(target, ":") ? split(":", target)[0] :
          rule.delay != null ? "queue" : "function"
        )
        name = (
          target == "notification" ? "alerts" :
          strcontains(target, ":") ? split(":", target)[1] :
          rule.delay != null ? "delay-${replace(target, "_", "-")}" : replace(target, "_", "-")
        )
      }
    ]
  ]) : aim.key => aim }

  delayed = { for name, rule in local.rules : "delay-${replace(rule.targets[0], "_", "-")}" => {
    function = replace(rule.targets[0], "_", "-")
    delay_s  = var.delays_s[rule.delay]
  } if rule.delay != null }

  queues = merge(
    { for lane in local.contract.lanes : lane.name => {
      visibility_s = lane.visibility_s
      delay_s      = lane.delay_s
      max_receives = lane.max_receives
    } },
    { for name, queue in local.delayed : name => {
      visibility_s = 6 * local.functions[queue.function].timeout_s # AWS's own advice
      delay_s      = queue.delay_s
      max_receives = 5
    } },
  )

  filled_by = { for queue in keys(local.queues) : queue =>
    distinct([for aim in local.aims : aim.rule if aim.kind == "queue" && aim.name == queue])
  }

  # Names of arguments and not ARNs of resources, so that each is told from the other before anything exists.
  arn_of_queue = { for name, queue in aws_sqs_queue.this : name => "arn:aws:sqs:${var.region}:${var.account_id}:${queue.name}" }
  arn_of_dead  = { for name, queue in aws_sqs_queue.dead : name => "arn:aws:sqs:${var.region}:${var.account_id}:${queue.name}" }
  arn_of_rule = { for name, rule in local.rules : name => (
    "arn:aws:events:${var.region}:${var.account_id}:rule/${rule.is_ours ? "${var.name}/" : ""}${aws_cloudwatch_event_rule.this[name].name}"
  ) }

  sources = distinct(flatten([for rule in local.own_rules : rule.pattern.source]))

  tls_only = {
    Sid       = "TlsOnly"
    Effect    = "Deny"
    Principal = "*"
    Action    = "sqs:*"
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  }
}

resource "aws_cloudwatch_event_bus" "this" {
  name               = var.name
  description        = "What happens to image sets, models and alarms."
  kms_key_identifier = var.kms_key_arn

  dead_letter_config {
    arn = local.arn_of_dead["undelivered"]
  }
}

# Only this account may tell, and only what comes from us: a rule can then trust what it sees.
resource "aws_cloudwatch_event_bus_policy" "this" {
  event_bus_name = aws_cloudwatch_event_bus.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "ThisAccountOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "events:PutEvents"
        Resource  = "arn:aws:events:${var.region}:${var.account_id}:event-bus/${aws_cloudwatch_event_bus.this.name}"
        Condition = { StringNotEquals = { "aws:PrincipalAccount" = var.account_id } }
      },
      {
        Sid       = "OurSourcesOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "events:PutEvents"
        Resource  = "arn:aws:events:${var.region}:${var.account_id}:event-bus/${aws_cloudwatch_event_bus.this.name}"
        Condition = { StringNotEquals = { "events:source" = local.sources } }
      },
    ]
  })
}

# What was told can be told again after a fault; a repeat changes nothing, because every handler stands one.
# The archive takes no key of ours in this provider version: AWS seals it with its own. Events carry ids, never a patient.
resource "aws_cloudwatch_event_archive" "this" {
  name             = var.name
  description      = "Every event of the bus, for a replay."
  event_source_arn = aws_cloudwatch_event_bus.this.arn
  event_pattern    = jsonencode({ source = local.sources })
  retention_days   = var.archive_days
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.rules

  name           = "${var.name}-${each.key}"
  description    = each.value.description
  event_bus_name = each.value.is_ours ? aws_cloudwatch_event_bus.this.name : "default"
  event_pattern  = each.value.pattern
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.aims

  rule           = aws_cloudwatch_event_rule.this[each.value.rule].name
  event_bus_name = aws_cloudwatch_event_rule.this[each.value.rule].event_bus_name
  target_id      = "${each.value.kind}-${each.value.name}"
  arn = (
    each.value.kind == "function" ? var.function_arns[each.value.name] :
    each.value.kind == "queue" ? local.arn_of_queue[each.value.name] : var.topic_arns[each.value.name]
  )

  dead_letter_config {
    arn = local.arn_of_dead["undelivered"]
  }

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}

resource "aws_lambda_permission" "this" {
  for_each = { for key, aim in local.aims : key => aim if aim.kind == "function" }

  statement_id  = "rule-${each.value.rule}"
  action        = "lambda:InvokeFunction"
  function_name = var.function_arns[each.value.name]
  principal     = "events.amazonaws.com"
  source_arn    = local.arn_of_rule[each.value.rule]
}

# Every event once in a log, with the rules' own faults beside it in the queue of the undelivered.
resource "aws_cloudwatch_log_group" "events" {
  name              = "/aws/events/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.logs_kms_key_arn
}

resource "aws_cloudwatch_log_resource_policy" "events" {
  policy_name = "${var.name}-events"
  policy_document = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EventBridgeWrites"
      Effect    = "Allow"
      Principal = { Service = ["events.amazonaws.com", "delivery.logs.amazonaws.com"] }
      Action    = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource  = "arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/events/*${var.name}:*"
    }]
  })
}

# What HealthImaging tells of imports and image sets. EventBridge writes to no group outside /aws/events/.
resource "aws_cloudwatch_log_group" "imaging" {
  name              = "/aws/events/healthimaging/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.logs_kms_key_arn
}

resource "aws_cloudwatch_event_rule" "imaging" {
  name          = "${var.name}-imaging-log"
  description   = "What HealthImaging tells of our data store is logged."
  event_pattern = jsonencode({ source = ["aws.medical-imaging"], detail = { datastoreId = [var.names["datastore_id"]] } })
}

resource "aws_cloudwatch_event_target" "imaging" {
  rule      = aws_cloudwatch_event_rule.imaging.name
  target_id = "log"
  arn       = "arn:aws:logs:${var.region}:${var.account_id}:log-group:${aws_cloudwatch_log_group.imaging.name}"
}

resource "aws_cloudwatch_event_rule" "log" {
  name           = "${var.name}-log"
  description    = "Every event is logged."
  event_bus_name = aws_cloudwatch_event_bus.this.name
  event_pattern  = jsonencode({ source = local.sources })
}

resource "aws_cloudwatch_event_target" "log" {
  rule           = aws_cloudwatch_event_rule.log.name
  event_bus_name = aws_cloudwatch_event_bus.this.name
  target_id      = "log"
  arn            = "arn:aws:logs:${var.region}:${var.account_id}:log-group:${aws_cloudwatch_log_group.events.name}"
}

resource "aws_sqs_queue" "this" {
  for_each = local.queues

  name                              = "${var.name}-${each.key}"
  delay_seconds                     = each.value.delay_s
  visibility_timeout_seconds        = each.value.visibility_s
  message_retention_seconds         = 345600
  receive_wait_time_seconds         = 20
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = 300
  redrive_policy = jsonencode({
    deadLetterTargetArn = local.arn_of_dead[each.key]
    maxReceiveCount     = each.value.max_receives
  })
}

# The dead letters of each queue, and besides: events that reached no target, and what functions gave up on.
resource "aws_sqs_queue" "dead" {
  for_each = toset(concat(keys(local.queues), ["undelivered", "failed"]))

  name                              = "${var.name}-${each.key}-dead"
  message_retention_seconds         = 1209600
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = 300
}

resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  for_each = aws_sqs_queue.dead

  queue_url = each.value.id
  redrive_allow_policy = (
    contains(keys(local.queues), each.key) ?
    jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [local.arn_of_queue[each.key]] }) :
    jsonencode({ redrivePermission = "denyAll" })
  )
}

resource "aws_sqs_queue_policy" "this" {
  for_each = local.queues

  queue_url = aws_sqs_queue.this[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [merge(local.tls_only, { Resource = local.arn_of_queue[each.key] })],
      [for rule in local.filled_by[each.key] : {
        Sid       = "Rule${rule}"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = local.arn_of_queue[each.key]
        Condition = { ArnEquals = { "aws:SourceArn" = local.arn_of_rule[rule] } }
      }],
    )
  })
}

resource "aws_sqs_queue_policy" "dead" {
  for_each = aws_sqs_queue.dead

  queue_url = each.value.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [merge(local.tls_only, { Resource = local.arn_of_dead[each.key] })],
      each.key == "undelivered" ? [{
        Sid       = "EventBridgeGivesUp"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = local.arn_of_dead[each.key]
        Condition = {
          ArnLike = { "aws:SourceArn" = [
            "arn:aws:events:${var.region}:${var.account_id}:rule/${var.name}*",
            "arn:aws:events:${var.region}:${var.account_id}:event-bus/${var.name}",
          ] }
        }
      }] : [],
    )
  })
}
