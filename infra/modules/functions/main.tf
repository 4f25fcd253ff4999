# The functions of contracts/functions.json: for each its code, its role, its log, and what wakes it.
#
# A role is made of what the contract says the function does and of nothing else. The contract names resources by what
# they are (`bucket:training-data/upload/*`, `key:models`); here they get their ARNs.

locals {
  contract  = jsondecode(file("${var.contracts}/functions.json"))
  functions = { for each in local.contract.functions : each.name => each }
  arns      = { for name, each in local.functions : name => "arn:aws:lambda:${var.region}:${var.account_id}:function:${var.name}-${name}" }

  sagemaker = "arn:aws:sagemaker:${var.region}:${var.account_id}"

  # Private functions run in our subnets and reach what these have an endpoint for. One that must reach what has none
  # says `"network": "aws"` and runs in Lambda's own network, by the same rights and the same TLS.
  is_private = { for name, each in local.functions : name => try(each.network, "private") == "private" }

  # What the names of the contract mean, buckets aside.
  meant = merge(
    { for domain, arn in var.key_arns : "key:${domain}" => [arn] },
    { for domain, arn in var.key_arns : "grants:${domain}" => [arn] }, # that a service of AWS may use it for what we started
    { for name, role in var.passed_roles : "role:${name}" => [role.arn] },
    { for name, arns in var.secret_arns : "secret:${name}" => arns },
    {
      table         = [var.table.arn, "${var.table.arn}/index/*"]
      datastore     = [var.datastore.arn, "${var.datastore.arn}/imageset/*"]
      pipeline      = [var.pipeline.arn, "${var.pipeline.arn}/execution/*"]
      package-group = ["${local.sagemaker}:model-package-group/${var.package_group}", "${local.sagemaker}:model-package/${var.package_group}/*"]
      endpoint = [
        "${local.sagemaker}:endpoint/${var.endpoint}", "${local.sagemaker}:endpoint-config/${var.endpoint}-*",
        "${local.sagemaker}:model/${var.endpoint}-*",
      ]
      user-pool = [var.user_pool_arn]
      account   = ["*"] # for the few actions that AWS narrows to no resource
    },
    { for name in var.absent : name => [] },
  )

  grants  = concat(local.contract.common.actions, flatten([for each in local.functions : each.actions]))
  symbols = distinct(flatten([for grant in local.grants : grant.on]))
  domains = distinct(concat(["secrets"], [for on in local.symbols : trimprefix(on, "key:") if startswith(on, "key:")]))

  # `bucket:<prefix>/<path>` is `<path>` in the bucket of that prefix; a prefix without one lies in training-data.
  located = { for on in local.symbols : on => [
    contains(keys(var.bucket_names), split("/", trimprefix(on, "bucket:"))[0]) ?
    "arn:aws:s3:::${replace(trimprefix(on, "bucket:"), "/^[^/]*/", var.bucket_names[split("/", trimprefix(on, "bucket:"))[0]])}" :
    "arn:aws:s3:::${var.bucket_names["training-data"]}/${trimprefix(on, "bucket:")}"
  ] if startswith(on, "bucket:") }

  resources = merge(local.meant, local.located)

  contracted = { for name, each in local.functions : name => [
    for grant in concat(local.contract.common.actions, each.actions) : merge(
      {
        Effect   = "Allow"
        Action   = grant.actions
        Resource = flatten([for on in flatten([grant.on]) : local.resources[on]])
      },
      contains(grant.actions, "iam:PassRole") ? {
        Condition = { StringEquals = { "iam:PassedToService" = [for on in flatten([grant.on]) : var.passed_roles[trimprefix(on, "role:")].service] } }
      } : {},
      contains(grant.actions, "kms:CreateGrant") ? { Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } } } : {},
    ) if length(flatten([for on in flatten([grant.on]) : local.resources[on]])) > 0
  ] }

  # Records that a function may read and not write: of a table in the order of writing, its rows, and what names them by
  # a column (see radloop/aws/items.py).
  guarded = { for name, each in local.functions : name => flatten([
    for domain, tables in local.contract.guarded : [
      for table in tables : [table, "${table}/*", "${table}.*"]
    ] if !contains(each.changes, domain)
  ]) }

  # What Lambda does in a function's name to put it into our subnets (Lambda Developer Guide, "Required IAM permissions").
  joining = [
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
  ]

  # What any function needs to run at all, and may not use by itself; whom it tells and asks, and what is not its to change.
  own = { for name, each in local.functions : name => concat([
    {
      Sid      = "Log"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/aws/lambda/${var.name}-${name}:*"]
    },
    {
      Sid      = "Trace"
      Effect   = "Allow"
      Action   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      Resource = ["*"]
    },
    {
      Sid      = "GiveUp"
      Effect   = "Allow"
      Action   = ["sqs:SendMessage"]
      Resource = [var.failed_queue_arn]
    },
    {
      Sid      = "OpenItsEnvironment"
      Effect   = "Allow"
      Action   = ["kms:Decrypt"]
      Resource = [var.key_arns["secrets"]]
    },
    ], [for statement in [
      {
        Sid       = "Tell"
        Effect    = "Allow"
        Action    = ["events:PutEvents"]
        Resource  = [var.bus.arn]
        Condition = { StringEquals = { "events:source" = local.functions[name].tells } }
      },
      ] : statement if length(local.functions[name].tells) > 0], [for statement in [
      {
        Sid      = "Ask"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [for lane in local.functions[name].asks : var.queue_arns[lane]]
      },
      ] : statement if length(local.functions[name].asks) > 0], [for statement in [
      {
        Sid       = "NotItsToChange"
        Effect    = "Deny"
        Action    = ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
        Resource  = [var.table.arn]
        Condition = { "ForAnyValue:StringLike" = { "dynamodb:LeadingKeys" = local.guarded[name] } }
      },
      ] : statement if length(local.guarded[name]) > 0], [for statement in [
      {
        Sid      = "JoinTheNetwork"
        Effect   = "Allow"
        Action   = local.joining
        Resource = ["*"]
      },
      {
        Sid       = "LambdaJoinsNotTheCode"
        Effect    = "Deny"
        Action    = local.joining
        Resource  = ["*"]
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = [local.arns[name]] } }
      },
      ] : statement if local.is_private[name]], [for read in local.on_queues : {
      Sid      = "Read${replace(title(read.queue), "-", "")}"
      Effect   = "Allow"
      Action   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      Resource = [read.arn]
  } if read.function == name]) }

  values = merge({
    RADLOOP_BUCKETS          = jsonencode(var.bucket_names)
    RADLOOP_KEYS             = jsonencode(var.key_arns)
    RADLOOP_BUS              = var.bus.name
    RADLOOP_QUEUES           = jsonencode(var.queue_urls)
    RADLOOP_AUDIT_BUCKET     = var.bucket_names["audit"]
    DYNAMODB_TRACKING_TABLE  = var.table.name
    DYNAMODB_METRICS_TABLE   = var.table.name
    S3_INGESTION_BUCKET      = var.bucket_names["training-data"]
    TRAINING_DATA_BUCKET     = var.bucket_names["training-data"]
    TEST_DATA_BUCKET         = var.bucket_names["preprocessed-data"]
    MODEL_ARTIFACTS_BUCKET   = var.bucket_names["model-artifacts"]
    MODEL_PACKAGE_GROUP_NAME = var.package_group
    INFERENCE_ENDPOINT_NAME  = var.endpoint
    ACCURACY_THRESHOLD       = tostring(var.accuracy_threshold)

    HEALTHIMAGING_DATASTORE_ID = var.datastore.id
    RADLOOP_IMPORT_ROLE_ARN    = var.passed_roles["import"].arn
    SAGEMAKER_PIPELINE_NAME    = var.pipeline.name
    SAGEMAKER_PIPELINE_ARN     = var.pipeline.arn
    SAGEMAKER_ROLE_ARN         = var.passed_roles["sagemaker"].arn
    RADLOOP_SUBNETS            = join(",", var.subnet_ids)
    RADLOOP_SECURITY_GROUPS    = join(",", var.security_group_ids)
  }, var.values)

  # Lanes, and the queues that hold events back for a function.
  on_queues = merge(
    { for each in flatten([
      for name, function in local.functions : [
        for trigger in function.triggers : {
          function = name, queue = trigger.queue, arn = var.queue_arns[trigger.queue], batch = trigger.batch, window_s = trigger.window_s
        } if can(trigger.queue)
      ]
    ]) : "${each.function}/${each.queue}" => each },
    { for name, arn in var.delay_queue_arns : "${name}/delay" => { function = name, queue = "delay", arn = arn, batch = 10, window_s = 0 } },
  )

  on_schedule = { for each in flatten([
    for name, function in local.functions : [
      for index, trigger in function.triggers : {
        key = "${name}-${index}", function = name, schedule = trigger.schedule
      } if can(trigger.schedule)
    ]
  ]) : each.key => each }

  environments = { for function, each in local.functions : function => {
    for name in concat(local.contract.common.environment, each.environment) : name => try(local.values[name], null)
    if !contains(var.absent, name)
  } }

  # Of all names and values together Lambda takes 4 KB.
  environment_bytes = { for function, variables in local.environments : function =>
    length(join("", concat(keys(variables), [for value in values(variables) : value if value != null])))
  }

  names_without_value = setsubtract(
    distinct(flatten([local.contract.common.environment, [for each in local.functions : each.environment]])), concat(keys(local.values), tolist(var.absent)),
  )
}

resource "aws_iam_role" "this" {
  for_each = local.functions

  name        = "${var.name}-${each.key}"
  description = each.value.description
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.functions

  name = "what-it-does"
  role = aws_iam_role.this[each.key].name
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.own[each.key], local.contracted[each.key])
  })
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = local.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arns["logs"]
}

resource "aws_lambda_function" "this" {
  for_each = local.functions

  function_name = "${var.name}-${each.key}"
  description   = each.value.description
  role          = "arn:aws:iam::${var.account_id}:role/${aws_iam_role.this[each.key].name}"
  architectures = ["x86_64"]
  memory_size   = each.value.memory_mb
  timeout       = each.value.timeout_s
  kms_key_arn   = var.key_arns["secrets"]

  package_type     = each.value.package == "image" ? "Image" : "Zip"
  filename         = each.value.package == "zip" ? var.package : null
  source_code_hash = each.value.package == "zip" ? filebase64sha256(var.package) : null
  handler          = each.value.package == "zip" ? each.value.entry : null
  runtime          = each.value.package == "zip" ? "python3.12" : null
  image_uri        = each.value.package == "image" ? var.image_uri : null

  reserved_concurrent_executions = try(each.value.concurrency, -1)

  dynamic "image_config" {
    for_each = each.value.package == "image" ? [each.value.entry] : []

    content {
      command = [image_config.value]
    }
  }

  environment {
    variables = local.environments[each.key]
  }

  ephemeral_storage {
    size = try(each.value.tmp_mb, 512)
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.this[each.key].name
  }

  tracing_config {
    mode = "Active"
  }

  dynamic "vpc_config" {
    for_each = local.is_private[each.key] ? [var.subnet_ids] : []

    content {
      subnet_ids         = vpc_config.value
      security_group_ids = var.security_group_ids
    }
  }

  # What was handed over by a rule or a schedule and failed for good waits here as the event it was, to be told again.
  dead_letter_config {
    target_arn = var.failed_queue_arn
  }

  depends_on = [aws_iam_role_policy.this]

  lifecycle {
    precondition {
      condition     = length(local.names_without_value) == 0
      error_message = "No value is known for ${join(", ", local.names_without_value)}."
    }

    precondition {
      condition     = local.environment_bytes[each.key] <= 4096
      error_message = "Lambda takes 4,096 bytes of environment variables, and ${each.key} would have ${local.environment_bytes[each.key]}: shorten `settings`."
    }
  }
}

resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = local.functions

  function_name                = aws_lambda_function.this[each.key].function_name
  maximum_event_age_in_seconds = 21600
  maximum_retry_attempts       = 2
}

resource "aws_lambda_event_source_mapping" "this" {
  for_each = local.on_queues

  function_name                      = aws_lambda_function.this[each.value.function].function_name
  event_source_arn                   = each.value.arn
  batch_size                         = each.value.batch
  maximum_batching_window_in_seconds = each.value.window_s
  function_response_types            = ["ReportBatchItemFailures"]
}

resource "aws_cloudwatch_event_rule" "schedule" {
  for_each = local.on_schedule

  name                = "${var.name}-${each.key}"
  description         = local.functions[each.value.function].description
  schedule_expression = each.value.schedule
}

resource "aws_cloudwatch_event_target" "schedule" {
  for_each = local.on_schedule

  rule      = aws_cloudwatch_event_rule.schedule[each.key].name
  target_id = each.value.function
  arn       = local.arns[each.value.function]

  dead_letter_config {
    arn = var.undelivered_queue_arn
  }

  retry_policy {
    maximum_event_age_in_seconds = 300 # the next one comes soon
    maximum_retry_attempts       = 3
  }
}

resource "aws_lambda_permission" "schedule" {
  for_each = local.on_schedule

  statement_id  = "schedule-${each.key}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this[each.value.function].function_name
  principal     = "events.amazonaws.com"
  source_arn    = "arn:aws:events:${var.region}:${var.account_id}:rule/${aws_cloudwatch_event_rule.schedule[each.key].name}"
}
