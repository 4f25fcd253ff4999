# Whoever reads a name waits for the policy and the versioning: nothing is written to a bucket that is half made.

output "names" {
  description = "Short name -> name of the bucket."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.bucket }
  depends_on  = [aws_s3_bucket_policy.this, aws_s3_bucket_versioning.this, aws_s3_bucket_server_side_encryption_configuration.sealed]
}

output "arns" {
  description = "Short name -> ARN of the bucket."
  value       = local.arns
  depends_on  = [aws_s3_bucket_policy.this, aws_s3_bucket_versioning.this, aws_s3_bucket_server_side_encryption_configuration.sealed]
}

output "regional_domain_names" {
  description = "Short name -> domain name of the bucket within its region, for CloudFront."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.bucket_regional_domain_name }
}
