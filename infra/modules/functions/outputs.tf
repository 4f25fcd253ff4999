output "role_arns" {
  description = "ARN of the role of each function; waits for the roles and for nothing else, so that key policies can name them."
  value       = { for name, role in aws_iam_role.this : name => "arn:aws:iam::${var.account_id}:role/${role.name}" }
}

output "key_users" {
  description = "By domain the ARNs of the roles that use its key; waits for no key, see role_arns."
  value = { for domain in local.domains : domain => [
    for name, each in local.functions : "arn:aws:iam::${var.account_id}:role/${aws_iam_role.this[name].name}"
    if domain == "secrets" || contains(flatten([for grant in concat(local.contract.common.actions, each.actions) : grant.on]), "key:${domain}")
  ] }
}

output "approver_arns" {
  description = "Roles of the functions that may change the approval of a model version."
  value = [for name, each in local.functions : "arn:aws:iam::${var.account_id}:role/${aws_iam_role.this[name].name}"
    if contains(flatten([for grant in each.actions : grant.actions]), "sagemaker:UpdateModelPackage")
  ]
}

output "function_arns" {
  description = "ARN of each function."
  value       = { for name, each in aws_lambda_function.this : name => "arn:aws:lambda:${var.region}:${var.account_id}:function:${each.function_name}" }
}

output "function_names" {
  description = "Name of each function in the account."
  value       = { for name, each in aws_lambda_function.this : name => each.function_name }
}

output "log_group_names" {
  description = "Log group of each function."
  value       = { for name, group in aws_cloudwatch_log_group.this : name => group.name }
}

output "settings" {
  description = "The settings that each function is told, as JSON."
  value       = { for name, each in aws_lambda_function.this : name => each.environment[0].variables.RADLOOP_SETTINGS }
}
