# CloudFront before everything a browser asks for: the viewer's files, the packs of pixels, and the API.
#
# A pack is a file that neighbouring slices lie in side by side; it never changes, so it is cached for good, and it is
# given only for a signature that the API made for one series and one principal. The API itself is never cached.

locals {
  origins = { viewer = "viewer", packs = "packs", api = "api" }

  # Identical for every account: AWS's own policies.
  caching_disabled           = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
  caching_optimized          = "658327ea-f89d-4fab-a63d-7e88639e58f6"
  all_viewer_but_host_header = "b689b0a8-53d0-40ab-baf2-68738e2966ac"

  log_group_of_firewall = "aws-waf-logs-${var.name}"

  # Rules of AWS's common group that look into bodies.
  rules_of_bodies = ["CrossSiteScripting_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "SizeRestrictions_BODY"]

  # The function `api` looks for it under the same name (radloop/aws/origin.py).
  origin_header = "x-radloop-origin"
}

resource "aws_cloudfront_origin_access_control" "this" {
  name                              = var.name
  description                       = "CloudFront asks S3 in its own name; nobody else may."
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

# Several keys may stand beside each other: a new one is added, the API signs with it, the old one is taken away.
resource "aws_cloudfront_public_key" "this" {
  for_each = var.signing_public_keys

  name        = "${var.name}-${each.key}-${substr(sha256(each.value), 0, 8)}"
  comment     = "Checks the signatures of packs."
  encoded_key = each.value

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudfront_key_group" "this" {
  name    = var.name
  comment = "Whose signatures are taken for packs."
  items   = [for key in values(aws_cloudfront_public_key.this) : key.id]
}

# Its value is put in by whoever made the pair of keys, so that no state of Terraform ever holds a private key.
resource "aws_secretsmanager_secret" "signing" {
  name                    = "${var.name}/stream-signing"
  description             = "Private key that the API signs addresses of packs with."
  kms_key_id              = var.secrets_kms_key_arn
  recovery_window_in_days = 30
}

# The API's own name is no secret, and no firewall can stand before an HTTP API: it answers only what comes with one of
# these. CloudFront sends the first; all are taken, so that another takes its place without a gap.
resource "aws_secretsmanager_secret" "origin" {
  for_each = toset(var.origin_secrets)

  name                    = "${var.name}/origin-${each.key}"
  description             = "What CloudFront shows the API, so that nobody asks it beside CloudFront."
  kms_key_id              = var.secrets_kms_key_arn
  recovery_window_in_days = 0 # nothing is lost with it: a new one is as good

  lifecycle {
    create_before_destroy = true # who took it stops first
  }
}

# Made once, of 244 random bits. CloudFront's configuration has to hold it, and so the state does too; this resource and no
# terraform_data, for the provider knows that it is sensitive, and no plan shows it.
resource "aws_secretsmanager_secret_version" "origin" {
  for_each = aws_secretsmanager_secret.origin

  secret_id     = each.value.id
  secret_string = replace("${uuid()}${uuid()}", "-", "")

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [secret_string]
  }
}

resource "aws_cloudfront_cache_policy" "packs" {
  name        = "${var.name}-packs"
  comment     = "For good, and by the path alone: a signature is no part of what a pack is."
  min_ttl     = 86400
  default_ttl = 31536000
  max_ttl     = 31536000

  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_brotli = false
    enable_accept_encoding_gzip   = false

    cookies_config {
      cookie_behavior = "none"
    }
    headers_config {
      header_behavior = "none"
    }
    query_strings_config {
      query_string_behavior = "none"
    }
  }
}

# The same as the embedded platform says. What the API says itself goes before it: a report has a stricter policy.
resource "aws_cloudfront_response_headers_policy" "this" {
  name    = var.name
  comment = "TLS for good, no foreign scripts, in nobody's frame."

  security_headers_config {
    strict_transport_security {
      access_control_max_age_sec = 31536000
      include_subdomains         = true
      preload                    = false
      override                   = true
    }
    content_security_policy {
      content_security_policy = join("; ", [
        "default-src 'self'", "script-src 'self' 'wasm-unsafe-eval'", "img-src 'self' blob: data:", "style-src 'self' 'unsafe-inline'",
        "worker-src 'self' blob:", "connect-src 'self'", "frame-ancestors 'none'",
      ])
      override = false
    }
    content_type_options {
      override = true
    }
    frame_options {
      frame_option = "DENY"
      override     = true
    }
    referrer_policy {
      referrer_policy = "no-referrer"
      override        = true
    }
  }

  custom_headers_config {
    items {
      header   = "Cross-Origin-Opener-Policy"
      value    = "same-origin"
      override = true
    }
    items {
      header   = "Cross-Origin-Resource-Policy"
      value    = "same-origin"
      override = false
    }
  }
}

resource "aws_cloudfront_function" "viewer" {
  name    = "${var.name}-viewer"
  comment = "A folder is its index.html."
  runtime = "cloudfront-js-2.0"
  publish = true
  code    = file("${path.module}/viewer.js")
}

resource "aws_cloudfront_function" "cookie" {
  name    = "${var.name}-cookie"
  comment = "The session's cookie is a token to the API."
  runtime = "cloudfront-js-2.0"
  publish = true
  code    = file("${path.module}/cookie.js")
}

resource "aws_cloudfront_distribution" "this" {
  comment         = var.name
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = var.price_class
  aliases         = [var.domain.name]
  web_acl_id      = var.has_firewall ? aws_wafv2_web_acl.this[0].arn : null

  origin {
    origin_id                = local.origins.viewer
    domain_name              = var.web_bucket_domain
    origin_access_control_id = aws_cloudfront_origin_access_control.this.id
  }

  origin {
    origin_id                = local.origins.packs
    domain_name              = var.stream_bucket_domain
    origin_access_control_id = aws_cloudfront_origin_access_control.this.id
  }

  origin {
    origin_id   = local.origins.api
    domain_name = var.api_host

    # Over whatever a viewer sent under this name.
    custom_header {
      name  = local.origin_header
      value = aws_secretsmanager_secret_version.origin[var.origin_secrets[0]].secret_string
    }

    custom_origin_config {
      http_port                = 80
      https_port               = 443
      origin_protocol_policy   = "https-only"
      origin_ssl_protocols     = ["TLSv1.2"]
      origin_read_timeout      = 30
      origin_keepalive_timeout = 60
    }
  }

  default_cache_behavior {
    target_origin_id           = local.origins.api
    allowed_methods            = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    cached_methods             = ["GET", "HEAD"]
    viewer_protocol_policy     = "https-only"
    cache_policy_id            = local.caching_disabled
    origin_request_policy_id   = local.all_viewer_but_host_header
    response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
    compress                   = false

    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.cookie.arn
    }
  }

  ordered_cache_behavior {
    path_pattern               = "/packs/*"
    target_origin_id           = local.origins.packs
    allowed_methods            = ["GET", "HEAD"]
    cached_methods             = ["GET", "HEAD"]
    viewer_protocol_policy     = "https-only"
    cache_policy_id            = aws_cloudfront_cache_policy.packs.id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
    trusted_key_groups         = [aws_cloudfront_key_group.this.id]
    compress                   = false
  }

  dynamic "ordered_cache_behavior" {
    for_each = ["/", "/app", "/app/*"]

    content {
      path_pattern               = ordered_cache_behavior.value
      target_origin_id           = local.origins.viewer
      allowed_methods            = ["GET", "HEAD"]
      cached_methods             = ["GET", "HEAD"]
      viewer_protocol_policy     = "redirect-to-https"
      cache_policy_id            = local.caching_optimized
      response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
      compress                   = true

      function_association {
        event_type   = "viewer-request"
        function_arn = aws_cloudfront_function.viewer.arn
      }
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = length(var.countries) > 0 ? "whitelist" : "none"
      locations        = var.countries
    }
  }

  viewer_certificate {
    acm_certificate_arn      = var.domain.certificate_arn
    minimum_protocol_version = "TLSv1.2_2021"
    ssl_support_method       = "sni-only"
  }

  lifecycle {
    precondition {
      condition     = length(var.signing_public_keys) > 0
      error_message = "Without a public key nobody could be given a pack."
    }
  }
}

# Who asked for what and how fast it came. The query is left out: a signature lies in it, which is as good as a password.
resource "aws_cloudwatch_log_delivery_source" "this" {
  provider = aws.us_east_1

  name         = "${var.name}-cdn"
  log_type     = "ACCESS_LOGS"
  resource_arn = aws_cloudfront_distribution.this.arn
}

resource "aws_cloudwatch_log_delivery_destination" "this" {
  provider = aws.us_east_1

  name          = "${var.name}-cdn"
  output_format = "json"

  delivery_destination_configuration {
    destination_resource_arn = "${var.logs_bucket_arn}/cloudfront"
  }
}

resource "aws_cloudwatch_log_delivery" "this" {
  provider = aws.us_east_1

  delivery_source_name     = aws_cloudwatch_log_delivery_source.this.name
  delivery_destination_arn = aws_cloudwatch_log_delivery_destination.this.arn
  record_fields = [
    "date", "time", "x-edge-location", "x-edge-request-id", "c-ip", "cs-method", "cs(Host)", "cs-uri-stem", "sc-status", "sc-bytes",
    "sc-range-start", "sc-range-end", "time-taken", "time-to-first-byte", "x-edge-result-type", "ssl-protocol", "ssl-cipher", "cs-protocol-version",
  ]
}

resource "aws_wafv2_web_acl" "this" {
  count    = var.has_firewall ? 1 : 0
  provider = aws.us_east_1

  name        = var.name
  description = "Known attacks, and whoever asks too often."
  scope       = "CLOUDFRONT"

  default_action {
    allow {}
  }

  dynamic "rule" {
    for_each = { AWSManagedRulesAmazonIpReputationList = 0, AWSManagedRulesKnownBadInputsRuleSet = 1, AWSManagedRulesCommonRuleSet = 2 }

    content {
      name     = rule.key
      priority = rule.value

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          name        = rule.key
          vendor_name = "AWS"

          # DICOM comes as a body of any length and holds whatever bytes pixels make; the API bounds it and parses it.
          dynamic "rule_action_override" {
            for_each = rule.key == "AWSManagedRulesCommonRuleSet" ? local.rules_of_bodies : []

            content {
              name = rule_action_override.value

              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        metric_name                = rule.key
        cloudwatch_metrics_enabled = true
        sampled_requests_enabled   = false # a sample keeps headers, and tokens with them
      }
    }
  }

  rule {
    name     = "too-often"
    priority = 10

    action {
      block {}
    }

    statement {
      rate_based_statement {
        limit                 = var.requests_in_5_minutes
        aggregate_key_type    = "IP"
        evaluation_window_sec = 300
      }
    }

    visibility_config {
      metric_name                = "too-often"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }

  visibility_config {
    metric_name                = var.name
    cloudwatch_metrics_enabled = true
    sampled_requests_enabled   = false
  }
}

resource "aws_cloudwatch_log_group" "firewall" {
  count    = var.has_firewall ? 1 : 0
  provider = aws.us_east_1

  name              = local.log_group_of_firewall
  retention_in_days = var.log_days
  kms_key_id        = var.region == "us-east-1" ? var.logs_kms_key_arn : null # our key lives in our region alone
}

resource "aws_wafv2_web_acl_logging_configuration" "this" {
  count    = var.has_firewall ? 1 : 0
  provider = aws.us_east_1

  resource_arn            = aws_wafv2_web_acl.this[0].arn
  log_destination_configs = ["arn:aws:logs:us-east-1:${var.account_id}:log-group:${aws_cloudwatch_log_group.firewall[0].name}"]

  dynamic "redacted_fields" {
    for_each = ["authorization", "cookie"]

    content {
      single_header {
        name = redacted_fields.value
      }
    }
  }

  redacted_fields {
    query_string {}
  }

  # Paths name studies, and this log may lie outside our region.
  redacted_fields {
    uri_path {}
  }

  logging_filter {
    default_behavior = "DROP"

    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"

      condition {
        action_condition {
          action = "BLOCK"
        }
      }
      condition {
        action_condition {
          action = "COUNT"
        }
      }
    }
  }
}
