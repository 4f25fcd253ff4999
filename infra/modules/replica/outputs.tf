# Waits for the role and nothing else, so that the keys of the sources can name it.

output "role_arn" {
  description = "ARN of the role that copies."
  value       = "arn:aws:iam::${var.account_id}:role/${aws_iam_role.replication.name}"
}

output "names" {
  description = "Short name -> name of the copy."
  value       = { for name, bucket in aws_s3_bucket.copy : name => bucket.bucket }
}
