mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name             = "radloop-test"
  region           = "us-east-1"
  account_id       = "123456789012"
  function_arn     = "arn:aws:lambda:us-east-1:123456789012:function:radloop-test-api"
  issuer           = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_abcdefghi"
  audiences        = ["0123456789abcdefghijklmnop"]
  logs_kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000001"
  log_days         = 30
}

run "every_route_but_the_questions_of_health_and_of_how_one_signs_in_wants_a_token" {
  command = plan

  assert {
    condition     = keys(aws_apigatewayv2_route.open) == ["GET /api/v1/sign-in", "GET /healthz"]
    error_message = "A route is open that tells more than whether the API answers and where one signs in."
  }

  assert {
    condition     = aws_apigatewayv2_route.closed["$default"].authorization_type == "JWT" && aws_apigatewayv2_route.closed["$default"].authorizer_id == aws_apigatewayv2_authorizer.this.id
    error_message = "The API can be called without a token."
  }

  assert {
    condition     = aws_apigatewayv2_authorizer.this.jwt_configuration[0].issuer == var.issuer && aws_apigatewayv2_authorizer.this.jwt_configuration[0].audience == toset(var.audiences)
    error_message = "Tokens of another pool, or for another client, are taken."
  }
}

run "whoever_signs_in_has_no_token_yet_and_everything_else_wants_one" {
  command = plan

  variables {
    has_sign_in = true
  }

  assert {
    condition     = keys(aws_apigatewayv2_route.open) == ["GET /api/v1/sign-in", "GET /healthz", "POST /api/v1/session", "POST /api/v1/session/renewal"]
    error_message = "A route is open that is no part of signing in, or one is closed that is."
  }

  assert {
    condition = (
      toset([for route in aws_apigatewayv2_stage.this.route_settings : route.route_key]) == toset(["GET /api/v1/sign-in", "POST /api/v1/session", "POST /api/v1/session/renewal"])
      && alltrue([for route in aws_apigatewayv2_stage.this.route_settings : route.throttling_rate_limit <= 10])
    )
    error_message = "Anyone may try to sign in as often as they like."
  }

  assert {
    condition     = keys(aws_apigatewayv2_route.closed) == ["$default"] && aws_apigatewayv2_route.closed["$default"].authorization_type == "JWT"
    error_message = "The API can be called without a token."
  }
}

run "calls_are_throttled_and_logged_without_what_they_asked_for" {
  command = plan

  assert {
    condition     = aws_apigatewayv2_stage.this.default_route_settings[0].throttling_rate_limit == 200 && aws_apigatewayv2_stage.this.default_route_settings[0].throttling_burst_limit == 400
    error_message = "Calls are not throttled."
  }

  assert {
    condition     = length(regexall("(?i)path|query|header", aws_apigatewayv2_stage.this.access_log_settings[0].format)) == 0 && strcontains(aws_apigatewayv2_stage.this.access_log_settings[0].format, "$context.authorizer.claims.sub")
    error_message = "The log of requests names what was asked for, or does not name who asked."
  }

  assert {
    condition     = aws_cloudwatch_log_group.access.kms_key_id == var.logs_kms_key_arn && aws_cloudwatch_log_group.access.retention_in_days == 30
    error_message = "The log of requests is not sealed, or keeps for another time."
  }
}

run "pages_of_other_sites_get_in_by_name_only" {
  command = plan

  variables {
    cors_origins = ["https://viewer.example.org"]
  }

  assert {
    condition     = aws_apigatewayv2_api.this.cors_configuration[0].allow_origins == toset(["https://viewer.example.org"]) && !aws_apigatewayv2_api.this.cors_configuration[0].allow_credentials
    error_message = "Another origin gets in, or cookies do."
  }

  assert {
    condition     = contains(keys(aws_apigatewayv2_route.open), "OPTIONS /{proxy+}")
    error_message = "A browser that asks before it calls is asked for a token, which it cannot send then."
  }
}

run "no_page_of_another_site_gets_in_by_default" {
  command = plan

  assert {
    condition     = length(aws_apigatewayv2_api.this.cors_configuration) == 0
    error_message = "Origins are allowed that nobody named."
  }
}

run "any_origin_is_refused" {
  command = plan

  variables {
    cors_origins = ["*"]
  }

  expect_failures = [var.cors_origins]
}

run "a_domain_of_its_own_takes_the_place_of_the_name_aws_gives" {
  command = plan

  variables {
    domain = { name = "api.example.org", certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-4000-8000-000000000001" }
  }

  assert {
    condition     = aws_apigatewayv2_api.this.disable_execute_api_endpoint && aws_apigatewayv2_domain_name.this[0].domain_name_configuration[0].security_policy == "TLS_1_2"
    error_message = "The API can be called around its domain, or by TLS older than 1.2."
  }

  assert {
    condition     = output.endpoint == "https://api.example.org"
    error_message = "The address is not that of the domain."
  }
}

run "only_this_api_wakes_the_function" {
  command = plan

  assert {
    condition     = endswith(aws_lambda_permission.this.source_arn, ":${aws_apigatewayv2_api.this.id}/$default/*") && aws_lambda_permission.this.principal == "apigateway.amazonaws.com"
    error_message = "Another API may wake the function."
  }
}

run "without_an_audience_it_is_refused" {
  command = plan

  variables {
    audiences = []
  }

  expect_failures = [var.audiences]
}
