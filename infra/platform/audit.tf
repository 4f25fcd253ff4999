module "audit" {
  source = "../modules/audit"

  name             = local.name
  region           = var.region
  account_id       = var.account_id
  bucket_name      = module.storage.names["audit"]
  key_arn          = module.keys.arns["audit"]
  log_key_arn      = module.keys.arns["logs"]
  bucket_arns      = [for name, arn in module.storage.arns : arn if !contains(["logs", "access-logs", "audit"], name)]
  alerts_topic_arn = module.monitoring.topic_arn
  account_wide     = var.account_wide
}
