output "datastore_id" {
  description = "Id of the data store."
  value       = local.id
}

output "datastore_arn" {
  description = "ARN of the data store."
  value       = "arn:aws:medical-imaging:${var.region}:${var.account_id}:datastore/${local.id}"
}

output "role_arn" {
  description = "ARN of the role that import jobs are started with; waits for no key."
  value       = "arn:aws:iam::${var.account_id}:role/${aws_iam_role.import.name}"
}
