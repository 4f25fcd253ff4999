output "trail_arn" {
  description = "ARN of the trail."
  value       = aws_cloudtrail.this.arn
}

output "trail_log_group_name" {
  description = "Log group in which the trail's last days can be queried."
  value       = aws_cloudwatch_log_group.trail.name
}

output "detector_id" {
  description = "Id of the GuardDuty detector, null where another environment of the account has it."
  value       = one(aws_guardduty_detector.this[*].id)
}
