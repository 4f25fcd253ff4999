# What a month may cost, and who hears of it before it is spent.

locals {
  # Percent of the limit -> spent already, or about to be spent.
  warnings = {
    half     = { percent = 50, type = "ACTUAL" }
    most     = { percent = 80, type = "ACTUAL" }
    all      = { percent = 100, type = "ACTUAL" }
    forecast = { percent = 100, type = "FORECASTED" }
  }
}

resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.limit_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  # Counted by tag, so that environments that share an account have a budget each.
  cost_filter {
    name   = "TagKeyValue"
    values = ["${format("user:Environment$%s", var.environment)}"]
  }

  dynamic "notification" {
    for_each = local.warnings

    content {
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value.percent
      threshold_type             = "PERCENTAGE"
      notification_type          = notification.value.type
      subscriber_sns_topic_arns  = [var.alerts_topic_arn]
      subscriber_email_addresses = var.emails
    }
  }
}
