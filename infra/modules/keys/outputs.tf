# Whoever reads an ARN waits for the key's policy: CloudWatch refuses a log group under a key that does not name it.

output "arns" {
  description = "Domain -> ARN of its key."
  value       = { for domain, key in aws_kms_key.this : domain => key.arn }
  depends_on  = [aws_kms_key_policy.this]
}
