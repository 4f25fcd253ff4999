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

output "signing_secret_arn" {
  description = "Secret whose value is the private key."
  value       = aws_secretsmanager_secret.signing.arn
}
