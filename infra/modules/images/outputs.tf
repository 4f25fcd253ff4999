output "repository_urls" {
  description = "Image -> address to push it to."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "repository_arns" {
  description = "Image -> ARN of its repository."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}
