mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "us_east_1"
  source          = "../../mocks"
  override_during = plan
}

variables {
  name                 = "radloop-test"
  region               = "eu-west-1"
  account_id           = "123456789012"
  domain               = { name = "radloop.example.org", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-4000-8000-000000000001" }
  api_host             = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
  web_bucket_domain    = "radloop-web-test-123456789012.s3.eu-west-1.amazonaws.com"
  stream_bucket_domain = "radloop-stream-test-123456789012.s3.eu-west-1.amazonaws.com"
  logs_bucket_arn      = "arn:aws:s3:::radloop-logs-test-123456789012"
  logs_kms_key_arn     = "arn:aws:kms:eu-west-1:123456789012:key/logs"
  secrets_kms_key_arn  = "arn:aws:kms:eu-west-1:123456789012:key/secrets"
  signing_public_keys  = { first = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n" }
  log_days             = 7
}

run "a_pack_is_given_for_a_signature_only_and_kept_for_good" {
  command = plan

  assert {
    condition = flatten([
      for behavior in aws_cloudfront_distribution.this.ordered_cache_behavior : behavior.trusted_key_groups
      if behavior.target_origin_id == "packs"
    ]) == [aws_cloudfront_key_group.this.id]
    error_message = "Pixels are given to anyone who knows their address."
  }

  assert {
    condition = alltrue([
      for behavior in aws_cloudfront_distribution.this.ordered_cache_behavior : behavior.allowed_methods == toset(["GET", "HEAD"])
    ])
    error_message = "Somebody could write through the cache."
  }

  assert {
    condition = (
      aws_cloudfront_cache_policy.packs.default_ttl == 31536000 &&
      aws_cloudfront_cache_policy.packs.parameters_in_cache_key_and_forwarded_to_origin[0].query_strings_config[0].query_string_behavior == "none"
    )
    error_message = "A pack is fetched again for every signature."
  }

  assert {
    condition     = aws_cloudfront_key_group.this.items == toset(values(output.public_key_ids))
    error_message = "A public key is trusted that nobody gave, or one that was given is not."
  }
}

run "the_api_is_never_cached" {
  command = plan

  assert {
    condition     = aws_cloudfront_distribution.this.default_cache_behavior[0].target_origin_id == "api" && aws_cloudfront_distribution.this.default_cache_behavior[0].cache_policy_id == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    error_message = "Answers of the API would be given to somebody else."
  }

  assert {
    condition     = [for origin in aws_cloudfront_distribution.this.origin : origin.custom_origin_config[0].origin_protocol_policy if origin.origin_id == "api"] == ["https-only"]
    error_message = "CloudFront asks the API without TLS."
  }
}

run "without_a_secret_it_is_refused" {
  command = plan

  variables {
    origin_secrets = []
  }

  expect_failures = [var.origin_secrets]
}

run "a_secret_itself_is_no_name" {
  command = plan

  variables {
    origin_secrets = ["Not a name"]
  }

  expect_failures = [var.origin_secrets]
}

run "the_cookie_becomes_a_token_before_the_api_and_nowhere_else" {
  command = plan

  assert {
    condition     = [for function in aws_cloudfront_distribution.this.default_cache_behavior[0].function_association : "${function.event_type} ${function.function_arn}"] == ["viewer-request ${aws_cloudfront_function.cookie.arn}"]
    error_message = "A browser that has signed in is a stranger to the API."
  }

  assert {
    condition     = aws_cloudfront_function.cookie.code == file("cookie.js") && aws_cloudfront_function.cookie.runtime == "cloudfront-js-2.0"
    error_message = "Another function than the one that is tested."
  }
}

run "tls_is_1_2_and_s3_answers_cloudfront_alone" {
  command = plan

  assert {
    condition     = aws_cloudfront_distribution.this.viewer_certificate[0].minimum_protocol_version == "TLSv1.2_2021"
    error_message = "TLS older than 1.2 is spoken."
  }

  assert {
    condition = alltrue([
      for origin in aws_cloudfront_distribution.this.origin : origin.origin_access_control_id == aws_cloudfront_origin_access_control.this.id
      if origin.origin_id != "api"
    ])
    error_message = "S3 is asked without a signature."
  }

  assert {
    condition = alltrue(concat(
      [contains(["https-only", "redirect-to-https"], aws_cloudfront_distribution.this.default_cache_behavior[0].viewer_protocol_policy)],
      [for behavior in aws_cloudfront_distribution.this.ordered_cache_behavior : contains(["https-only", "redirect-to-https"], behavior.viewer_protocol_policy)],
    ))
    error_message = "Something is given without TLS."
  }
}

run "answers_carry_the_headers_that_the_embedded_platform_sends" {
  command = plan

  assert {
    condition     = aws_cloudfront_response_headers_policy.this.security_headers_config[0].strict_transport_security[0].access_control_max_age_sec == 31536000
    error_message = "Browsers are not told to stay with TLS."
  }

  assert {
    condition = alltrue([
      for directive in ["default-src 'self'", "script-src 'self' 'wasm-unsafe-eval'", "frame-ancestors 'none'", "connect-src 'self'"] :
      contains(split("; ", aws_cloudfront_response_headers_policy.this.security_headers_config[0].content_security_policy[0].content_security_policy), directive)
    ])
    error_message = "The content security policy lets more in than the viewer needs, or not what it needs."
  }
}

run "the_log_holds_no_signature" {
  command = plan

  assert {
    condition     = !anytrue([for field in aws_cloudwatch_log_delivery.this.record_fields : strcontains(field, "query") || strcontains(lower(field), "cookie")]) && contains(aws_cloudwatch_log_delivery.this.record_fields, "cs-uri-stem")
    error_message = "The log keeps signatures, or not what was asked for."
  }

  assert {
    condition     = toset([for field in aws_wafv2_web_acl_logging_configuration.this[0].redacted_fields : field.single_header[0].name if length(field.single_header) > 0]) == toset(["authorization", "cookie"])
    error_message = "The firewall's log keeps tokens."
  }

  assert {
    condition     = anytrue([for field in aws_wafv2_web_acl_logging_configuration.this[0].redacted_fields : length(field.uri_path) > 0]) && anytrue([for field in aws_wafv2_web_acl_logging_configuration.this[0].redacted_fields : length(field.query_string) > 0])
    error_message = "The firewall's log, which may lie outside the region, keeps what names a study."
  }
}

run "the_firewall_lets_dicom_and_a_reader_at_work_pass" {
  command = plan

  assert {
    condition = toset(flatten([
      for rule in aws_wafv2_web_acl.this[0].rule : [
        for statement in rule.statement : [
          for group in statement.managed_rule_group_statement : [for override in group.rule_action_override : override.name]
        ]
      ]
    ])) == toset(["CrossSiteScripting_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "SizeRestrictions_BODY"])
    error_message = "The firewall refuses bodies longer than 8 KB, and with them every DICOM file."
  }

  assert {
    condition     = max(flatten([for rule in aws_wafv2_web_acl.this[0].rule : [for statement in rule.statement : [for rate in statement.rate_based_statement : rate.limit]]])...) >= 18000
    error_message = "The firewall stops a reader who scrolls for five minutes."
  }
}

run "there_is_no_firewall_where_none_is_wanted" {
  command = plan

  variables {
    has_firewall = false
  }

  assert {
    condition     = length(aws_wafv2_web_acl.this) == 0 && aws_cloudfront_distribution.this.web_acl_id == null
    error_message = "A firewall is paid for that nobody wanted."
  }
}

run "a_private_key_is_refused" {
  command = plan

  variables {
    signing_public_keys = { first = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n" }
  }

  expect_failures = [var.signing_public_keys]
}

run "without_a_public_key_it_is_refused" {
  command = plan

  variables {
    signing_public_keys = {}
  }

  expect_failures = [aws_cloudfront_distribution.this]
}

run "a_certificate_of_another_region_is_refused" {
  command = plan

  variables {
    domain = { name = "radloop.example.org", certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-4000-8000-000000000001" }
  }

  expect_failures = [var.domain]
}
