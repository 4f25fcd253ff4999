module "budget" {
  source = "../modules/budget"

  name             = local.name
  environment      = var.environment
  limit_usd        = var.budget_usd
  alerts_topic_arn = module.monitoring.topic_arn
  emails           = var.budget_emails
}
