mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name       = "radloop-test"
  region     = "us-east-1"
  account_id = "123456789012"
  contracts  = "../../../contracts"
  package    = "main.tf"
  image_uri  = "123456789012.dkr.ecr.us-east-1.amazonaws.com/radloop-test-lambda:1.0.0"
  bucket_names = { for prefix in ["training-data", "preprocessed-data", "model-artifacts", "logs", "audit", "archive", "stream"] :
    prefix => "radloop-${prefix}-test-123456789012"
  }
  key_arns = { for domain in ["training", "models", "logs", "tables", "imaging", "messages", "secrets", "audit"] :
    domain => "arn:aws:kms:us-east-1:123456789012:key/${domain}"
  }
  table                 = { name = "radloop-test", arn = "arn:aws:dynamodb:us-east-1:123456789012:table/radloop-test" }
  bus                   = { name = "radloop-test", arn = "arn:aws:events:us-east-1:123456789012:event-bus/radloop-test" }
  queue_arns            = { for lane in ["uploads", "land", "assembly", "predict", "pipeline", "mirror", "stream"] : lane => "arn:aws:sqs:us-east-1:123456789012:radloop-test-${lane}" }
  queue_urls            = { for lane in ["uploads", "land", "assembly", "predict", "pipeline", "mirror", "stream"] : lane => "https://sqs.us-east-1.amazonaws.com/123456789012/radloop-test-${lane}" }
  delay_queue_arns      = { pipeline-trigger = "arn:aws:sqs:us-east-1:123456789012:radloop-test-delay-pipeline-trigger" }
  failed_queue_arn      = "arn:aws:sqs:us-east-1:123456789012:radloop-test-failed-dead"
  undelivered_queue_arn = "arn:aws:sqs:us-east-1:123456789012:radloop-test-undelivered-dead"
  datastore = {
    id  = "00000000000000000000000000000001"
    arn = "arn:aws:medical-imaging:us-east-1:123456789012:datastore/00000000000000000000000000000001"
  }
  pipeline      = { name = "radloop-test", arn = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/radloop-test" }
  package_group = "radloop-test"
  endpoint      = "radloop-test"
  passed_roles = {
    import    = { arn = "arn:aws:iam::123456789012:role/radloop-test-import", service = "medical-imaging.amazonaws.com" }
    sagemaker = { arn = "arn:aws:iam::123456789012:role/radloop-test-sagemaker", service = "sagemaker.amazonaws.com" }
  }
  secret_arns = {
    stream-signing = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:radloop-test/stream-signing-abcdef"]
    origin = [
      "arn:aws:secretsmanager:us-east-1:123456789012:secret:radloop-test/origin-first-abcdef",
      "arn:aws:secretsmanager:us-east-1:123456789012:secret:radloop-test/origin-second-abcdef",
    ]
  }
  values = {
    RADLOOP_ISSUER           = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_abcdefghi"
    RADLOOP_CLIENT_ID        = "0123456789abcdefghijklmnop"
    RADLOOP_NATIVE_CLIENT_ID = "nopqrstuvwxyz0123456789abc"
    RADLOOP_INFERENCE_IMAGE  = "123456789012.dkr.ecr.us-east-1.amazonaws.com/radloop-test-inference:1.0.0"
    RADLOOP_SETTINGS         = "{}"
    RADLOOP_SITE_URL         = "https://radloop.example.org"
    RADLOOP_SIGN_IN_URL      = "https://radloop-test-123456789012.auth.us-east-1.amazoncognito.com"
    RADLOOP_STREAM_URL       = "https://radloop.example.org/packs"
    RADLOOP_STREAM_KEY_ID    = "K2EXAMPLEKEY01"
    RADLOOP_STREAM_SECRET    = "arn:aws:secretsmanager:us-east-1:123456789012:secret:radloop-test/stream-signing-abcdef"
    RADLOOP_ORIGIN_SECRETS   = "[\"radloop-test/origin-first\", \"radloop-test/origin-second\"]"
  }
  user_pool_arn      = "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_abcdefghi"
  subnet_ids         = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  security_group_ids = ["sg-0123456789abcdef0"]
  log_days           = 7
}

run "the_five_functions_of_the_brief_have_its_time_memory_and_environment" {
  command = plan

  assert {
    condition = alltrue([
      for name, wanted in {
        image-ingestion  = [300, 512, ["HEALTHIMAGING_DATASTORE_ID", "DYNAMODB_TRACKING_TABLE", "S3_INGESTION_BUCKET"]]
        pipeline-trigger = [60, 256, ["SAGEMAKER_PIPELINE_NAME", "SAGEMAKER_PIPELINE_ARN", "TRAINING_DATA_BUCKET"]]
        model-evaluation = [900, 1024, ["MODEL_ARTIFACTS_BUCKET", "TEST_DATA_BUCKET", "DYNAMODB_METRICS_TABLE", "ACCURACY_THRESHOLD"]]
        model-registry   = [300, 512, ["SAGEMAKER_ROLE_ARN", "MODEL_PACKAGE_GROUP_NAME", "INFERENCE_ENDPOINT_NAME", "MODEL_ARTIFACTS_BUCKET"]]
        error-logging    = [60, 256, []]
        } : (
        aws_lambda_function.this[name].timeout == wanted[0] && aws_lambda_function.this[name].memory_size == wanted[1] &&
        length(setsubtract(wanted[2], keys(aws_lambda_function.this[name].environment[0].variables))) == 0
      )
    ])
    error_message = "A function has not the timeout, memory or environment variables that the brief gives it."
  }

  assert {
    condition     = alltrue(flatten([for function in values(aws_lambda_function.this) : [for value in values(function.environment[0].variables) : value != null && value != ""]]))
    error_message = "An environment variable is empty."
  }

  assert {
    condition     = jsondecode(aws_lambda_function.this["outbox"].environment[0].variables.RADLOOP_KEYS).audit == "arn:aws:kms:us-east-1:123456789012:key/audit"
    error_message = "RADLOOP_KEYS is the key of each domain, as JSON."
  }
}

run "code_comes_as_zip_or_as_image_and_never_as_both" {
  command = plan

  assert {
    condition = alltrue([
      for function in values(aws_lambda_function.this) :
      function.package_type == "Zip" ?
      function.handler != null && function.runtime == "python3.12" && function.source_code_hash == filebase64sha256("main.tf") && function.image_uri == null :
      function.filename == null && function.handler == null && function.image_uri == var.image_uri && length(function.image_config[0].command) == 1
    ])
    error_message = "A zip needs a handler and its hash; an image needs a command and none of these."
  }

  assert {
    condition     = aws_lambda_function.this["prediction"].package_type == "Image" && aws_lambda_function.this["image-ingestion"].handler == "radloop.lambdas.image_ingestion"
    error_message = "Prediction needs torch and fits no zip; the others start at their entry."
  }
}

run "nothing_runs_outside_the_network_unsealed_untraced_or_lost" {
  command = plan

  assert {
    condition = alltrue([
      for function in values(aws_lambda_function.this) : (
        function.kms_key_arn == var.key_arns["secrets"] &&
        function.tracing_config[0].mode == "Active" && function.dead_letter_config[0].target_arn == var.failed_queue_arn
      )
    ])
    error_message = "A function runs without a key of ours, without a trace, or loses what it gives up on."
  }

  assert {
    condition = alltrue([
      for function in jsondecode(file("${var.contracts}/functions.json")).functions :
      toset(flatten([for network in aws_lambda_function.this[function.name].vpc_config : tolist(network.subnet_ids)])) == toset(var.subnet_ids)
      if try(function.network, "private") == "private"
    ])
    error_message = "A function that is to be private runs outside the private subnets."
  }

  assert {
    condition     = length([for name in ["image-ingestion", "pipeline-trigger", "model-evaluation", "model-registry", "error-logging"] : name if length(aws_lambda_function.this[name].vpc_config) == 1]) == 5
    error_message = "The brief has its functions in private subnets."
  }

  assert {
    condition = alltrue([
      for name, group in aws_cloudwatch_log_group.this :
      group.name == "/aws/lambda/radloop-test-${name}" && group.retention_in_days == 7 && group.kms_key_id == var.key_arns["logs"] &&
      aws_lambda_function.this[name].logging_config[0].log_group == group.name && aws_lambda_function.this[name].logging_config[0].log_format == "JSON"
    ])
    error_message = "The log of a function has another name, term, key or form."
  }
}

run "a_role_may_what_its_function_does_and_nothing_else" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
      ]
    ]))
    error_message = "A role has an action with a wildcard."
  }

  assert {
    condition = toset(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement : statement.Action
        if statement.Effect == "Allow" && contains(statement.Resource, "*")
      ]
      ])) == toset([
      "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface",
      "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
      "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "An action that AWS can narrow to a resource is allowed on all."
  }

  assert {
    condition = alltrue(flatten([
      for name, policy in aws_iam_role_policy.this : [
        for statement in jsondecode(policy.policy).Statement : [
          for resource in statement.Resource : !strcontains(resource, "quarantine") || contains(["api", "bulk-ingestion", "image-ingestion"], name)
        ]
      ]
    ]))
    error_message = "What was quarantined is for the ingestion and for the people who look at it."
  }

  assert {
    condition = toset(flatten([
      for name, policy in aws_iam_role_policy.this : [
        for statement in jsondecode(policy.policy).Statement : [
          for resource in statement.Resource : "${name} ${split("/radloop/", resource)[1]}" if strcontains(resource, "/radloop/") && contains(statement.Action, "s3:PutObject")
        ]
      ]
    ])) == toset(["api secret", "api signatures/*"])
    error_message = "Whoever writes the plan, its signers, the gate's policy or the list of people decides what is released."
  }

  assert {
    condition = alltrue(flatten([
      for name, policy in aws_iam_role_policy.this : [
        for statement in jsondecode(policy.policy).Statement : [
          for resource in statement.Resource : !strcontains(resource, "arn:aws:s3:::radloop-stream-") || contains(["api", "stream-layers", "study-assembly"], name)
        ]
      ]
    ]))
    error_message = "Static packs are for who writes and deletes them and for the API; readers get them from CloudFront."
  }

  assert {
    condition = toset(flatten([
      for name, policy in aws_iam_role_policy.this : [
        for statement in jsondecode(policy.policy).Statement : [
          for resource in statement.Resource : name if strcontains(resource, "arn:aws:s3:::radloop-archive-") && contains(statement.Action, "s3:DeleteObject")
        ]
      ]
    ])) == toset(["study-assembly"])
    error_message = "Originals are deleted by the job that deletes image sets, and hidden only: no function may remove a locked version."
  }

  assert {
    condition = [
      for name, policy in aws_iam_role_policy.this : name
      if anytrue([for statement in jsondecode(policy.policy).Statement : contains(statement.Action, "secretsmanager:GetSecretValue")])
    ] == ["api"]
    error_message = "Whoever reads the signing key can open every pack."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.this["api"].policy).Statement : statement.Resource
      if contains(statement.Action, "secretsmanager:GetSecretValue")
    ])) == toset(flatten(values(var.secret_arns)))
    error_message = "The API cannot read every secret that CloudFront may show, or reads others."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.this["image-ingestion"].policy).Statement : statement.Resource
      if contains(statement.Action, "s3:GetObject") && contains(statement.Action, "s3:DeleteObject")
    ] == [["arn:aws:s3:::radloop-training-data-test-123456789012/upload/*"]]
    error_message = "The symbol bucket:training-data/upload/* is the folder upload of the bucket."
  }

  assert {
    condition     = !anytrue([for statement in jsondecode(aws_iam_role_policy.this["model-evaluation"].policy).Statement : anytrue([for action in statement.Action : startswith(action, "sagemaker:Create")])])
    error_message = "Whoever judges models makes none."
  }
}

run "who_takes_files_in_can_change_no_opinion_no_person_and_no_release" {
  command = plan

  assert {
    condition = alltrue([
      for name in ["image-ingestion", "bulk-ingestion", "stream-layers", "prediction"] : anytrue([
        for statement in jsondecode(aws_iam_role_policy.this[name].policy).Statement :
        statement.Effect == "Deny" && toset(statement.Action) == toset(["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]) && statement.Resource == [var.table.arn] && length(setsubtract(
          flatten([for table in ["reads", "labels", "users", "credentials", "sessions", "model_ledger"] : [table, "${table}/*", "${table}.*"]]),
          try(statement.Condition["ForAnyValue:StringLike"]["dynamodb:LeadingKeys"], [])
        )) == 0
      ])
    ])
    error_message = "A function that takes files in may write what readers said, who people are, or which model is in use."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_role_policy.this["api"].policy).Statement : try(statement.Sid, "") != "NotItsToChange"])
    error_message = "Nobody could write what readers say: the API is where they say it."
  }
}

run "a_function_tells_and_asks_in_its_own_name_only" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement :
        length(setsubtract(try(statement.Condition.StringEquals["events:source"], ["*"]), ["radloop.imaging", "imaging.mlops", "radloop.monitoring"])) == 0
        if contains(statement.Action, "events:PutEvents")
      ]
    ]))
    error_message = "A function may tell events of any source."
  }

  assert {
    condition = {
      for name in ["image-ingestion", "error-logging", "stream-layers"] : name => flatten([
        for statement in jsondecode(aws_iam_role_policy.this[name].policy).Statement : try(statement.Condition.StringEquals["events:source"], []) if contains(statement.Action, "events:PutEvents")
      ])
    } == { image-ingestion = ["radloop.imaging", "radloop.monitoring"], error-logging = [], stream-layers = ["radloop.monitoring"] }
    error_message = "Who takes files in may tell of models."
  }

  assert {
    condition = {
      for name in ["stream-layers", "gauges", "pipeline-trigger"] : name => flatten([
        for statement in jsondecode(aws_iam_role_policy.this[name].policy).Statement : statement.Resource if contains(statement.Action, "sqs:SendMessage")
      ])
      } == {
      stream-layers    = [var.failed_queue_arn, var.queue_arns["stream"]]
      gauges           = [var.failed_queue_arn]
      pipeline-trigger = [var.failed_queue_arn, var.queue_arns["pipeline"]]
    }
    error_message = "A function may fill queues that are none of its work."
  }

  assert {
    condition     = alltrue([for policy in values(aws_iam_role_policy.this) : length(policy.policy) < 10240])
    error_message = "IAM takes 10,240 characters of policies within a role."
  }
}

run "a_role_is_handed_to_the_one_service_it_is_for" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.this) : [
        for statement in jsondecode(policy.policy).Statement :
        try(length(statement.Condition.StringEquals["iam:PassedToService"]), 0) == 1
        if contains(statement.Action, "iam:PassRole")
      ]
    ]))
    error_message = "A role could be handed to any service."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.this["study-assembly"].policy).Statement :
      [statement.Resource, statement.Condition.StringEquals["iam:PassedToService"]] if contains(statement.Action, "iam:PassRole")
    ] == [[["arn:aws:iam::123456789012:role/radloop-test-import"], ["medical-imaging.amazonaws.com"]]]
    error_message = "Study assembly hands the import role to HealthImaging and to nobody else."
  }

  assert {
    condition = alltrue([
      for name, policy in aws_iam_role_policy.this : length(aws_lambda_function.this[name].vpc_config) == 0 || anytrue([
        for statement in jsondecode(policy.policy).Statement :
        statement.Effect == "Deny" && contains(statement.Action, "ec2:CreateNetworkInterface") &&
        try(statement.Condition.ArnEquals["lambda:SourceFunctionArn"], []) == ["arn:aws:lambda:us-east-1:123456789012:function:radloop-test-${name}"]
      ])
    ])
    error_message = "The code of a function could make network interfaces of its own."
  }
}

run "who_starts_an_endpoint_may_let_it_use_the_key_and_nobody_else_may" {
  command = plan

  assert {
    condition = { for name, policy in aws_iam_role_policy.this : name => [
      for statement in jsondecode(policy.policy).Statement : [statement.Resource, statement.Condition] if contains(statement.Action, "kms:CreateGrant")
      ] if strcontains(policy.policy, "kms:CreateGrant") } == {
      pipeline-run = [[[var.key_arns["models"]], { Bool = { "kms:GrantIsForAWSResource" = "true" } }]]
    }
    error_message = "SageMaker asks for a grant on the key in the name of whoever makes the endpoint."
  }
}

run "one_bad_message_of_a_batch_is_tried_again_alone" {
  command = plan

  assert {
    condition     = alltrue([for mapping in values(aws_lambda_event_source_mapping.this) : mapping.function_response_types == toset(["ReportBatchItemFailures"])])
    error_message = "One bad message brings the whole batch back."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this["image-ingestion/uploads"].batch_size == 10 && aws_lambda_event_source_mapping.this["image-ingestion/uploads"].maximum_batching_window_in_seconds == 20
    error_message = "Uploads come in batches of ten or after twenty seconds."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.this["pipeline-trigger/delay"].event_source_arn == var.delay_queue_arns["pipeline-trigger"]
    error_message = "Verifications wait in a queue that nobody reads."
  }

  assert {
    condition = alltrue([
      for key, mapping in aws_lambda_event_source_mapping.this : anytrue([
        for statement in jsondecode(aws_iam_role_policy.this[split("/", key)[0]].policy).Statement :
        contains(statement.Action, "sqs:ReceiveMessage") && statement.Resource == [mapping.event_source_arn]
      ])
    ])
    error_message = "A function may not read the queue that wakes it."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.schedule["outbox-0"].schedule_expression == "rate(1 minute)" && endswith(aws_lambda_permission.schedule["outbox-0"].source_arn, ":rule/radloop-test-outbox-0")
    error_message = "The outbox is looked at every minute."
  }
}

run "an_image_whose_name_can_move_is_refused" {
  command = plan

  variables {
    image_uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/radloop-test-lambda:latest"
  }

  expect_failures = [var.image_uri]
}

run "more_settings_than_lambda_takes_are_refused" {
  command = plan

  variables {
    values = {
      RADLOOP_ISSUER           = "https://x"
      RADLOOP_CLIENT_ID        = "x"
      RADLOOP_NATIVE_CLIENT_ID = "x"
      RADLOOP_INFERENCE_IMAGE  = "x:1"
      RADLOOP_SITE_URL         = "https://x"
      RADLOOP_SIGN_IN_URL      = "https://x"
      RADLOOP_STREAM_URL       = "https://x"
      RADLOOP_STREAM_KEY_ID    = "x"
      RADLOOP_STREAM_SECRET    = "x"
      RADLOOP_ORIGIN_SECRETS   = "x"
      RADLOOP_SETTINGS         = jsonencode({ notify = [for number in range(200) : "jsons://hooks.example.org/${number}"] })
    }
  }

  expect_failures = [aws_lambda_function.this]
}

run "a_variable_nobody_gives_a_value_is_refused" {
  command = plan

  variables {
    contracts = "./tests/unknown"
  }

  expect_failures = [aws_lambda_function.this]
}

run "what_an_installation_does_without_is_left_out" {
  command = plan

  variables {
    absent      = ["INFERENCE_ENDPOINT_NAME", "RADLOOP_SITE_URL", "RADLOOP_SIGN_IN_URL", "RADLOOP_STREAM_URL", "RADLOOP_STREAM_KEY_ID", "RADLOOP_STREAM_SECRET", "RADLOOP_ORIGIN_SECRETS", "secret:stream-signing", "secret:origin", "endpoint", "role:sagemaker", "grants:models"]
    secret_arns = {}
    values      = { RADLOOP_ISSUER = "https://x", RADLOOP_CLIENT_ID = "x", RADLOOP_NATIVE_CLIENT_ID = "x", RADLOOP_INFERENCE_IMAGE = "x:1", RADLOOP_SETTINGS = "{}" }
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.this["api"].environment[0].variables), "RADLOOP_STREAM_URL")
    error_message = "The API is told of a CloudFront that there is not."
  }

  assert {
    condition     = !strcontains(jsonencode([for policy in values(aws_iam_role_policy.this) : policy.policy]), "role/radloop-test-sagemaker") && !contains(keys(aws_lambda_function.this["model-registry"].environment[0].variables), "INFERENCE_ENDPOINT_NAME")
    error_message = "Without an endpoint nobody hands on the role of one."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_role_policy.this["api"].policy).Statement : length(statement.Resource) > 0])
    error_message = "A statement about no resource at all: IAM refuses the policy."
  }
}
