# What the mocked provider answers where it, or a service behind it, looks at the format of a value.

mock_resource "aws_kms_key" {
  defaults = {
    arn    = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000001"
    key_id = "00000000-0000-4000-8000-000000000001"
  }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
}

mock_resource "aws_iam_policy" {
  defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mock" }
}

mock_resource "aws_dynamodb_table" {
  defaults = { arn = "arn:aws:dynamodb:us-east-1:123456789012:table/mock" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:mock" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:us-east-1:123456789012:mock" }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:us-east-1:123456789012:mock"
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/mock"
  }
}

mock_resource "aws_lambda_function" {
  defaults = {
    arn           = "arn:aws:lambda:us-east-1:123456789012:function:mock"
    qualified_arn = "arn:aws:lambda:us-east-1:123456789012:function:mock:1"
    invoke_arn    = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:mock/invocations"
  }
}

mock_resource "aws_cognito_user_pool" {
  defaults = {
    id       = "us-east-1_abcdefghi"
    arn      = "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_abcdefghi"
    endpoint = "cognito-idp.us-east-1.amazonaws.com/us-east-1_abcdefghi"
  }
}

mock_resource "aws_vpc_endpoint" {
  defaults = { prefix_list_id = "pl-0123456789abcdef0" }
}

mock_resource "aws_eip" {
  defaults = { allocation_id = "eipalloc-0123456789abcdef0" }
}

mock_resource "aws_cloudtrail" {
  defaults = { arn = "arn:aws:cloudtrail:us-east-1:123456789012:trail/mock" }
}

mock_resource "aws_sagemaker_pipeline" {
  defaults = { arn = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/mock" }
}

mock_resource "aws_sagemaker_model_package_group" {
  defaults = { arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/mock" }
}

mock_resource "aws_cloudwatch_event_bus" {
  defaults = { arn = "arn:aws:events:us-east-1:123456789012:event-bus/mock" }
}

mock_resource "aws_apigatewayv2_api" {
  defaults = {
    id = "a1b2c3d4e5"
  }
}

mock_resource "aws_apigatewayv2_authorizer" {
  defaults = {
    id = "auth01"
  }
}

mock_resource "aws_apigatewayv2_integration" {
  defaults = {
    id = "intg01"
  }
}

mock_resource "aws_apigatewayv2_stage" {
  defaults = {
    id = "$default"
  }
}

mock_resource "aws_apigatewayv2_domain_name" {
  defaults = {
    id = "api.example.org"
  }
}

mock_resource "aws_cloudfront_distribution" {
  defaults = {
    id             = "E2EXAMPLE00001"
    arn            = "arn:aws:cloudfront::123456789012:distribution/E2EXAMPLE00001"
    domain_name    = "d111111abcdef8.cloudfront.net"
    hosted_zone_id = "Z2FDTNDATAQYW2"
  }
}

mock_resource "aws_cloudfront_origin_access_control" {
  defaults = {
    id = "E2EXAMPLEOAC01"
  }
}

mock_resource "aws_cloudfront_key_group" {
  defaults = {
    id = "00000000-0000-4000-8000-0000000000aa"
  }
}

mock_resource "aws_cloudfront_public_key" {
  defaults = {
    id = "K2EXAMPLEKEY01"
  }
}

mock_resource "aws_cloudfront_cache_policy" {
  defaults = {
    id = "00000000-0000-4000-8000-0000000000cc"
  }
}

mock_resource "aws_cloudfront_response_headers_policy" {
  defaults = {
    id = "00000000-0000-4000-8000-0000000000dd"
  }
}

mock_resource "aws_cloudfront_function" {
  defaults = {
    arn = "arn:aws:cloudfront::123456789012:function/mock"
  }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = {
    id  = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mock-abcdef"
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mock-abcdef"
  }
}

mock_resource "aws_wafv2_web_acl" {
  defaults = {
    arn = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/mock/00000000-0000-4000-8000-0000000000ee"
  }
}

mock_resource "aws_cloudwatch_log_delivery_destination" {
  defaults = {
    arn = "arn:aws:logs:us-east-1:123456789012:delivery-destination:mock"
  }
}

mock_resource "aws_cloudwatch_metric_alarm" {
  defaults = {
    arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:mock"
  }
}

mock_resource "aws_cloudcontrolapi_resource" {
  defaults = {
    id = "00000000000000000000000000000001"
  }
}

mock_resource "aws_cloudwatch_event_archive" {
  defaults = {
    arn = "arn:aws:events:us-east-1:123456789012:archive/mock"
  }
}

mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:us-east-1:123456789012:repository/mock"
    repository_url = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mock"
  }
}
