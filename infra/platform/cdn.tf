module "cdn" {
  source    = "../modules/cdn"
  count     = var.site == null ? 0 : 1
  providers = { aws = aws, aws.us_east_1 = aws.us_east_1 }

  name                 = local.name
  region               = var.region
  account_id           = var.account_id
  domain               = { name = var.site.domain, certificate_arn = var.site.certificate_arn }
  api_host             = module.api.host
  web_bucket_domain    = module.storage.regional_domain_names["web"]
  stream_bucket_domain = module.storage.regional_domain_names["stream"]
  logs_bucket_arn      = module.storage.arns["logs"]
  logs_kms_key_arn     = module.keys.arns["logs"]
  secrets_kms_key_arn  = module.keys.arns["secrets"]
  signing_public_keys  = var.site.public_keys
  origin_secrets       = var.site.origin_secrets
  has_firewall         = var.site.has_firewall
  countries            = var.site.countries
  log_days             = local.log_days
}
