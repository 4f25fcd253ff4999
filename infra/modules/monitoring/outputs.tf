output "topic_arn" {
  description = "The topic alerts; waits for the topic alone."
  value       = local.topic_arn
}

output "alarm_names" {
  description = "Names of the alarms by their id in the contract, with /<function> or /<queue> behind it where there is one each."
  value       = { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.alarm_name }
}

output "dashboard_names" {
  description = "Names of the dashboards."
  value       = [for dashboard in values(aws_cloudwatch_dashboard.this) : dashboard.dashboard_name]
}
