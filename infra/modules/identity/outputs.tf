output "pool_id" {
  description = "Id of the user pool."
  value       = aws_cognito_user_pool.this.id
}

output "pool_arn" {
  description = "ARN of the user pool."
  value       = aws_cognito_user_pool.this.arn
}

output "client_id" {
  description = "Id of the viewer's client: the audience of its tokens."
  value       = aws_cognito_user_pool_client.viewer.id
}

output "native_client_id" {
  description = "Id of the client for programs that a person runs: the audience of their tokens."
  value       = aws_cognito_user_pool_client.native.id
}

output "issuer" {
  description = "Issuer of the tokens."
  value       = "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.this.id}"
}

output "sign_in_url" {
  description = "Where a person signs in."
  value       = "https://${aws_cognito_user_pool_domain.this.domain}.auth.${var.region}.amazoncognito.com"
}
