mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name             = "radloop-test"
  environment      = "test"
  limit_usd        = 300
  alerts_topic_arn = "arn:aws:sns:us-east-1:123456789012:radloop-test-alerts"
}

run "a_month_has_a_limit_and_warns_before_it" {
  command = plan

  assert {
    condition     = aws_budgets_budget.month.limit_amount == "300" && aws_budgets_budget.month.time_unit == "MONTHLY"
    error_message = "300 dollars a month."
  }

  assert {
    condition = toset([for n in aws_budgets_budget.month.notification : "${n.notification_type} ${n.threshold}"]) == toset([
      "ACTUAL 50", "ACTUAL 80", "ACTUAL 100", "FORECASTED 100",
    ])
    error_message = "At half, at four fifths, at all of it, and when all of it is foreseen."
  }

  assert {
    condition     = alltrue([for n in aws_budgets_budget.month.notification : n.subscriber_sns_topic_arns == toset([var.alerts_topic_arn])])
    error_message = "Every warning reaches the alerts."
  }

  assert {
    condition     = one(one(aws_budgets_budget.month.cost_filter).values) == "user:Environment$test"
    error_message = "Only what carries the tag of this environment counts."
  }
}

run "a_budget_of_nothing_is_refused" {
  command = plan

  variables {
    limit_usd = 0
  }

  expect_failures = [var.limit_usd]
}
