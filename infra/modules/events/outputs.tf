output "bus_name" {
  description = "Name of the bus."
  value       = aws_cloudwatch_event_bus.this.name
}

output "bus_arn" {
  description = "ARN of the bus."
  value       = "arn:aws:events:${var.region}:${var.account_id}:event-bus/${aws_cloudwatch_event_bus.this.name}"
}

output "queue_arns" {
  description = "ARN of each queue by lane."
  value       = { for name, arn in local.arn_of_queue : name => arn if !contains(keys(local.delayed), name) }
}

output "queue_urls" {
  description = "URL of each queue by lane."
  value = { for name, queue in aws_sqs_queue.this : name =>
    "https://sqs.${var.region}.amazonaws.com/${var.account_id}/${queue.name}" if !contains(keys(local.delayed), name)
  }
}

output "delay_queue_arns" {
  description = "ARN of the queue that holds events back, by the function they are for."
  value       = { for name, queue in local.delayed : queue.function => local.arn_of_queue[name] }
}

output "failed_queue_arn" {
  description = "ARN of the queue that takes what functions gave up on."
  value       = local.arn_of_dead["failed"]
}

output "undelivered_queue_arn" {
  description = "ARN of the queue that takes events that reached no target."
  value       = local.arn_of_dead["undelivered"]
}

output "dead_queue_names" {
  description = "Names of all queues of dead letters: anything in them wants a person."
  value       = { for name, queue in aws_sqs_queue.dead : name => queue.name }
}

output "rule_arns" {
  description = "ARN of each rule by its name in the contract."
  value       = local.arn_of_rule
}

output "log_group_name" {
  description = "Log group that every event is written to."
  value       = aws_cloudwatch_log_group.events.name
}

output "delays_s" {
  description = "Seconds that events are held back, by the function they are for."
  value       = { for name, queue in local.delayed : queue.function => aws_sqs_queue.this[name].delay_seconds }
}
