output "distribution_id" {
  description = "Id of the distribution."
  value       = aws_cloudfront_distribution.this.id
}

output "distribution_arn" {
  description = "ARN of the distribution."
  value       = aws_cloudfront_distribution.this.arn
}

output "domain_target" {
  description = "What the DNS record of the domain points to."
  value       = aws_cloudfront_distribution.this.domain_name
}

output "packs_url" {
  description = "Address that packs lie below."
  value       = "https://${var.domain.name}/packs"
}

output "public_key_ids" {
  description = "Id of each public key by its name: a signature names the key that checks it."
  value       = { for name, key in aws_cloudfront_public_key.this : name => key.id }
}

# Known once CloudFront sends the first everywhere: whoever refuses requests without one does not begin before.
output "origin_secrets" {
  description = "ARN by name of the secrets of which CloudFront shows the API one."
  value       = { for secret in aws_secretsmanager_secret.origin : secret.name => secret.arn }

  depends_on = [aws_cloudfront_distribution.this, aws_secretsmanager_secret_version.origin]
}

output "signing_secret_arn" {
  description = "Secret whose value is the private key."
  value       = aws_secretsmanager_secret.signing.arn
}
