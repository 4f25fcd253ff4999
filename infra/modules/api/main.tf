# The HTTP API: one function behind it, a token of the user pool before it.
#
# The gateway checks that a token is genuine and for us; what its bearer may do is decided by the function, which knows
# the roles. Long uploads come in pieces, because the function is handed 6 MB at most.

locals {
  # What somebody asks who has no token yet, or whose token is over: how one signs in, which programs ask too, and what a
  # browser asks after that; the function knows browsers by cookies it sealed.
  sign_in_routes = concat(["GET /api/v1/sign-in"], var.has_sign_in ? ["POST /api/v1/session", "POST /api/v1/session/renewal"] : [])

  # Open to anyone: whether the API answers, the question of a browser that asks before it calls, and the sign-in.
  open_routes = toset(concat(["GET /healthz"], length(var.cors_origins) > 0 ? ["OPTIONS /{proxy+}"] : [], local.sign_in_routes))
  own_routes  = ["$default"]
}

resource "aws_apigatewayv2_api" "this" {
  name                         = var.name
  description                  = "The API of the platform, DICOMweb and streams among it."
  protocol_type                = "HTTP"
  disable_execute_api_endpoint = var.domain != null

  dynamic "cors_configuration" {
    for_each = length(var.cors_origins) > 0 ? [var.cors_origins] : []

    content {
      allow_origins     = cors_configuration.value
      allow_methods     = ["GET", "HEAD", "OPTIONS", "POST"]
      allow_headers     = ["accept", "authorization", "content-type", "if-none-match", "if-range", "range"]
      expose_headers    = ["accept-ranges", "content-location", "content-range", "etag", "location", "retry-after", "warning", "x-radloop-quality", "x-radloop-version", "x-total-count"]
      allow_credentials = false
      max_age           = 600
    }
  }
}

resource "aws_apigatewayv2_authorizer" "this" {
  api_id           = aws_apigatewayv2_api.this.id
  name             = "${var.name}-tokens"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.issuer
    audience = var.audiences
  }
}

resource "aws_apigatewayv2_integration" "this" {
  api_id                 = aws_apigatewayv2_api.this.id
  integration_type       = "AWS_PROXY"
  integration_uri        = var.function_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 29000
}

resource "aws_apigatewayv2_route" "closed" {
  for_each = toset(local.own_routes)

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this.id}"
  authorization_type = "JWT"
  authorizer_id      = aws_apigatewayv2_authorizer.this.id
}

resource "aws_apigatewayv2_route" "open" {
  for_each = local.open_routes

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.this.id}"
  authorization_type = "NONE"
}

# Who asked, by which route and how it ended. Paths and queries stay out: they can name a patient's study, and the audit
# has them sealed.
resource "aws_cloudwatch_log_group" "access" {
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = var.logs_kms_key_arn
}

resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    detailed_metrics_enabled = true
    throttling_rate_limit    = var.throttle.rate
    throttling_burst_limit   = var.throttle.burst
  }

  dynamic "route_settings" {
    for_each = toset(local.sign_in_routes)

    content {
      route_key                = aws_apigatewayv2_route.open[route_settings.value].route_key # which must be there first
      detailed_metrics_enabled = true
      throttling_rate_limit    = var.sign_in_throttle.rate
      throttling_burst_limit   = var.sign_in_throttle.burst
    }
  }

  access_log_settings {
    destination_arn = "arn:aws:logs:${var.region}:${var.account_id}:log-group:${aws_cloudwatch_log_group.access.name}"
    format = jsonencode({
      time              = "$context.requestTime"
      request           = "$context.requestId"
      trace             = "$context.integration.requestId"
      address           = "$context.identity.sourceIp"
      principal         = "$context.authorizer.claims.sub"
      method            = "$context.httpMethod"
      route             = "$context.routeKey"
      status            = "$context.status"
      bytes             = "$context.responseLength"
      latency_ms        = "$context.responseLatency"
      integration_error = "$context.integrationErrorMessage"
      authorizer_error  = "$context.authorizer.error"
    })
  }
}

resource "aws_lambda_permission" "this" {
  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = var.function_arn
  principal     = "apigateway.amazonaws.com"
  source_arn    = "arn:aws:execute-api:${var.region}:${var.account_id}:${aws_apigatewayv2_api.this.id}/${aws_apigatewayv2_stage.this.name}/*"
}

resource "aws_apigatewayv2_domain_name" "this" {
  count = var.domain == null ? 0 : 1

  domain_name = var.domain.name

  domain_name_configuration {
    certificate_arn = var.domain.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "this" {
  count = var.domain == null ? 0 : 1

  api_id      = aws_apigatewayv2_api.this.id
  domain_name = aws_apigatewayv2_domain_name.this[0].id
  stage       = aws_apigatewayv2_stage.this.id
}
