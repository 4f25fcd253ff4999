mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name             = "radloop-test"
  region           = "us-east-1"
  account_id       = "123456789012"
  bucket_name      = "radloop-audit-test-123456789012"
  key_arn          = "arn:aws:kms:us-east-1:123456789012:key/audit"
  log_key_arn      = "arn:aws:kms:us-east-1:123456789012:key/logs"
  bucket_arns      = ["arn:aws:s3:::radloop-training-data-test-123456789012"]
  alerts_topic_arn = "arn:aws:sns:us-east-1:123456789012:radloop-test-alerts"
}

run "the_trail_is_whole_sealed_and_provable" {
  command = plan

  assert {
    condition = (
      aws_cloudtrail.this.enable_log_file_validation && aws_cloudtrail.this.is_multi_region_trail
      && aws_cloudtrail.this.include_global_service_events && aws_cloudtrail.this.kms_key_id == var.key_arn
    )
    error_message = "Every region, under our key, with digests."
  }

  assert {
    condition = toset(flatten([
      for selector in aws_cloudtrail.this.advanced_event_selector : [
        for field in selector.field_selector : field.equals if field.field == "resources.type"
      ]
    ])) == toset(["AWS::S3::Object", "AWS::Lambda::Function", "AWS::MedicalImaging::Datastore"])
    error_message = "Objects, functions and image sets are watched; records are not, for their keys hold names of patients."
  }

  assert {
    condition = toset([for i in aws_cloudtrail.this.insight_selector : i.insight_type]) == toset([
      "ApiCallRateInsight", "ApiErrorRateInsight",
    ])
    error_message = "Both kinds of insight."
  }
}

run "what_aws_notices_is_told" {
  command = plan

  assert {
    condition     = aws_guardduty_detector.this[0].enable && aws_accessanalyzer_analyzer.this[0].type == "ACCOUNT"
    error_message = "GuardDuty and Access Analyzer are on."
  }

  assert {
    condition = (
      toset(keys(aws_cloudwatch_event_target.finding)) == toset(["threats", "openings", "trail", "root"])
      && alltrue([for target in aws_cloudwatch_event_target.finding : target.arn == var.alerts_topic_arn])
    )
    error_message = "Every finding goes to the alerts."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.finding["threats"].event_pattern).detail.severity == [{ numeric = [">=", 4] }]
    error_message = "From medium severity on."
  }

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.finding : !strcontains(one(target.input_transformer).input_template, "detail")])
    error_message = "No detail of a finding leaves in a message."
  }
}

run "a_second_environment_of_an_account_leaves_its_watchers_alone" {
  command = plan

  variables {
    account_wide = false
  }

  assert {
    condition     = length(aws_guardduty_detector.this) + length(aws_accessanalyzer_analyzer.this) + length(aws_cloudwatch_event_rule.finding) == 0
    error_message = "An account has one detector."
  }
}
