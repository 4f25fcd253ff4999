# What was done, by whom: every call of the account and every touch of data, in a bucket that nobody can empty;
# and what AWS notices by itself, told to the alerts.

locals {
  # Not the table: an event of DynamoDB tells the keys of the item, and ours hold what one searches by, names of patients
  # among them. Who touched which patient stands in radloop's own audit.
  data_events = {
    objects    = { type = "AWS::S3::Object", arns = [for arn in var.bucket_arns : "${arn}/"] }
    functions  = { type = "AWS::Lambda::Function", arns = ["arn:aws:lambda:${var.region}:${var.account_id}:function:${var.name}-"] }
    image_sets = { type = "AWS::MedicalImaging::Datastore", arns = ["arn:aws:medical-imaging:${var.region}:${var.account_id}:datastore/"] }
  }
}

resource "aws_cloudtrail" "this" {
  name                          = var.name
  s3_bucket_name                = var.bucket_name
  s3_key_prefix                 = "cloudtrail"
  kms_key_id                    = var.key_arn
  is_multi_region_trail         = true
  include_global_service_events = true
  enable_log_file_validation    = true
  cloud_watch_logs_group_arn    = "${aws_cloudwatch_log_group.trail.arn}:*"
  cloud_watch_logs_role_arn     = aws_iam_role.trail.arn

  advanced_event_selector {
    name = "Every call that manages something"

    field_selector {
      field  = "eventCategory"
      equals = ["Management"]
    }
  }

  dynamic "advanced_event_selector" {
    for_each = local.data_events

    content {
      name = "Every touch of ${replace(advanced_event_selector.key, "_", " ")}"

      field_selector {
        field  = "eventCategory"
        equals = ["Data"]
      }

      field_selector {
        field  = "resources.type"
        equals = [advanced_event_selector.value.type]
      }

      field_selector {
        field       = "resources.ARN"
        starts_with = advanced_event_selector.value.arns
      }
    }
  }

  insight_selector {
    insight_type = "ApiCallRateInsight"
  }

  insight_selector {
    insight_type = "ApiErrorRateInsight"
  }

  depends_on = [aws_iam_role_policy.trail]
}

# The trail's last days, where alarms and queries reach them. The bucket keeps them for seven years.
resource "aws_cloudwatch_log_group" "trail" {
  name              = "/aws/cloudtrail/${var.name}"
  kms_key_id        = var.log_key_arn
  retention_in_days = var.log_group_days
}

resource "aws_iam_role" "trail" {
  name = "${var.name}-cloudtrail"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "cloudtrail.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceArn" = "arn:aws:cloudtrail:${var.region}:${var.account_id}:trail/${var.name}" } }
    }]
  })
}

resource "aws_iam_role_policy" "trail" {
  name = "write"
  role = aws_iam_role.trail.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WriteTrail"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["${aws_cloudwatch_log_group.trail.arn}:log-stream:${var.account_id}_CloudTrail_${var.region}*"]
    }]
  })
}

resource "aws_guardduty_detector" "this" {
  count = var.account_wide ? 1 : 0

  enable                       = true
  finding_publishing_frequency = "FIFTEEN_MINUTES"
}

resource "aws_guardduty_detector_feature" "this" {
  for_each = var.account_wide ? toset(["S3_DATA_EVENTS", "LAMBDA_NETWORK_LOGS"]) : []

  detector_id = aws_guardduty_detector.this[0].id
  name        = each.key
  status      = "ENABLED"
}

resource "aws_accessanalyzer_analyzer" "this" {
  count = var.account_wide ? 1 : 0

  analyzer_name = var.name
  type          = "ACCOUNT"
}

locals {
  # Service events arrive on the default bus only.
  findings = {
    threats = {
      text = "GuardDuty sees something of medium severity or worse."
      pattern = {
        source      = ["aws.guardduty"]
        detail-type = ["GuardDuty Finding"]
        detail      = { severity = [{ numeric = [">=", 4] }] }
      }
    }
    openings = {
      text = "Access Analyzer sees that something can be reached from outside the account."
      pattern = {
        source      = ["aws.access-analyzer"]
        detail-type = ["Access Analyzer Finding"]
        detail      = { status = ["ACTIVE"] }
      }
    }
    trail = {
      text = "Somebody stops or changes the audit trail."
      pattern = {
        source      = ["aws.cloudtrail"]
        detail-type = ["AWS API Call via CloudTrail"]
        detail = {
          eventSource = ["cloudtrail.amazonaws.com"]
          eventName   = ["DeleteTrail", "PutEventSelectors", "PutInsightSelectors", "StopLogging", "UpdateTrail"]
        }
      }
    }
    root = {
      text = "The root user signs in." # told in the region of the sign-in, us-east-1 as a rule
      pattern = {
        detail-type = ["AWS Console Sign In via CloudTrail"]
        detail      = { userIdentity = { type = ["Root"] } }
      }
    }
  }
}

resource "aws_cloudwatch_event_rule" "finding" {
  for_each = { for what, finding in local.findings : what => finding if var.account_wide }

  name          = "${var.name}-finding-${each.key}"
  description   = each.value.text
  event_pattern = jsonencode(each.value.pattern)
}

# Only what kind of thing and when: a finding can name objects, and the name of an object is nobody's business.
resource "aws_cloudwatch_event_target" "finding" {
  for_each = { for what, finding in local.findings : what => finding if var.account_wide }

  rule = aws_cloudwatch_event_rule.finding[each.key].name
  arn  = var.alerts_topic_arn

  input_transformer {
    input_paths = {
      account = "$.account"
      at      = "$.time"
      id      = "$.id"
    }
    input_template = "\"${var.name}: ${each.value.text} Account <account>, <at>, event <id>.\""
  }
}
