output "api_id" {
  description = "Id of the API."
  value       = aws_apigatewayv2_api.this.id
}

output "host" {
  description = "Host that CloudFront asks."
  value       = var.domain == null ? "${aws_apigatewayv2_api.this.id}.execute-api.${var.region}.amazonaws.com" : var.domain.name
}

output "endpoint" {
  description = "Address of the API."
  value       = "https://${var.domain == null ? "${aws_apigatewayv2_api.this.id}.execute-api.${var.region}.amazonaws.com" : var.domain.name}"
}

output "domain_target" {
  description = "What the DNS record of the API's domain points to; null without one."
  value       = var.domain == null ? null : aws_apigatewayv2_domain_name.this[0].domain_name_configuration[0].target_domain_name
}

output "log_group_name" {
  description = "Log of requests."
  value       = aws_cloudwatch_log_group.access.name
}
