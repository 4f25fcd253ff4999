# How the API knows CloudFront, and how another secret takes the place of one. Values are made when it is applied, so
# these runs go on from each other; a run that only plans knows a value because it stays.

mock_provider "aws" {
  source = "../../mocks"
}

mock_provider "aws" {
  alias  = "us_east_1"
  source = "../../mocks"
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

run "the_api_is_shown_what_nobody_else_knows_and_s3_is_not" {
  assert {
    condition = [
      for origin in aws_cloudfront_distribution.this.origin : [for header in origin.custom_header : "${header.name}=${header.value}"]
      if origin.origin_id == "api"
    ] == [["x-radloop-origin=${aws_secretsmanager_secret_version.origin["first"].secret_string}"]]
    error_message = "The API cannot tell CloudFront from anybody else."
  }

  assert {
    condition     = alltrue([for origin in aws_cloudfront_distribution.this.origin : length(origin.custom_header) == 0 if origin.origin_id != "api"])
    error_message = "S3 is told what only the API is to know."
  }

  assert {
    condition     = can(regex("^[0-9a-f]{64}$", aws_secretsmanager_secret_version.origin["first"].secret_string))
    error_message = "The secret can be guessed, or no header can carry it."
  }

  assert {
    condition     = issensitive(aws_secretsmanager_secret_version.origin["first"].secret_string)
    error_message = "Plans show the secret."
  }

  assert {
    condition     = aws_secretsmanager_secret.origin["first"].kms_key_id == var.secrets_kms_key_arn && output.origin_secrets == { "radloop-test/origin-first" = aws_secretsmanager_secret.origin["first"].arn }
    error_message = "The secret is not sealed by our key, or not the one that is named."
  }
}

run "another_is_taken_before_it_is_sent" {
  variables {
    origin_secrets = ["first", "second"]
  }

  assert {
    condition     = aws_secretsmanager_secret_version.origin["first"].secret_string != aws_secretsmanager_secret_version.origin["second"].secret_string
    error_message = "The other secret is the same."
  }

  assert {
    condition = flatten([
      for origin in aws_cloudfront_distribution.this.origin : [for header in origin.custom_header : header.value]
    ]) == [aws_secretsmanager_secret_version.origin["first"].secret_string]
    error_message = "CloudFront sends what the API may not know yet."
  }

  assert {
    condition     = keys(output.origin_secrets) == ["radloop-test/origin-first", "radloop-test/origin-second"]
    error_message = "The API does not learn of the other secret."
  }
}

run "then_it_is_sent_and_neither_has_changed" {
  command = plan

  variables {
    origin_secrets = ["second", "first"]
  }

  assert {
    condition     = length(aws_secretsmanager_secret_version.origin["first"].secret_string) == 64 # known, so it stays
    error_message = "A secret changes though nobody asked for it, and what is on its way is refused."
  }

  assert {
    condition = flatten([
      for origin in aws_cloudfront_distribution.this.origin : [for header in origin.custom_header : header.value]
    ]) == [aws_secretsmanager_secret_version.origin["second"].secret_string]
    error_message = "CloudFront goes on sending the one that is to go."
  }
}

run "then_the_one_before_is_taken_no_more" {
  command = plan

  variables {
    origin_secrets = ["second"]
  }

  assert {
    condition     = keys(aws_secretsmanager_secret.origin) == ["second"] && keys(output.origin_secrets) == ["radloop-test/origin-second"]
    error_message = "The secret that got out still opens the API."
  }
}
