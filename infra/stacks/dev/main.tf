# For trying things out: small, and it can be taken down again.

module "platform" {
  source    = "../../platform"
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1, aws.replica = aws.replica }

  environment    = "dev"
  audit_lock     = { mode = "GOVERNANCE", days = 1 } # so that it can be taken down
  archive_lock   = { mode = "GOVERNANCE", days = 1 }
  endpoint_zones = 1

  account_id           = var.account_id
  region               = var.region
  replica_region       = var.replica_region
  administrators       = var.administrators
  image_tag            = var.image_tag
  callback_urls        = var.callback_urls
  saml_providers       = var.saml_providers
  account_wide         = var.account_wide
  budget_usd           = var.budget_usd
  budget_emails        = var.budget_emails
  storage_budget_bytes = var.storage_budget_bytes
  subscribers          = var.subscribers
  site                 = var.site
  api_domain           = var.api_domain
  has_endpoint         = var.has_endpoint
  drift                = var.drift
  settings             = var.settings
  enable_nat           = var.enable_nat
  is_spot              = var.is_spot
  training             = var.training
  processing           = var.processing
  transform            = var.transform
  cors_origins         = var.cors_origins
}
