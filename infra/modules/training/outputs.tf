output "pipeline_name" {
  description = "Name of the pipeline."
  value       = aws_sagemaker_pipeline.this.pipeline_name
}

output "pipeline_arn" {
  description = "ARN of the pipeline; SageMaker writes it in small letters, as the name is."
  value       = "${local.sagemaker}:pipeline/${aws_sagemaker_pipeline.this.pipeline_name}"
}

output "pipeline_role_arn" {
  description = "ARN of the role that starts the jobs; waits for no key."
  value       = local.pipeline_role_arn
}

output "role_arn" {
  description = "ARN of the role that jobs and endpoints have; waits for no key."
  value       = local.job_role_arn
}

output "schedule_role_arn" {
  description = "ARN of the role that starts the drift job; null without one."
  value       = var.drift == null ? null : "arn:aws:iam::${var.account_id}:role/${aws_iam_role.schedule[0].name}"
}

output "log_group_name" {
  description = "Log group of training jobs; null where another installation of the account makes it."
  value       = var.owns_account_logs ? aws_cloudwatch_log_group.this["TrainingJobs"].name : null
}
