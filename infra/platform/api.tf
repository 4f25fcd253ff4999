module "api" {
  source = "../modules/api"

  name             = local.name
  region           = var.region
  account_id       = var.account_id
  function_arn     = module.functions.function_arns["api"]
  issuer           = module.identity.issuer
  audiences        = [module.identity.client_id, module.identity.native_client_id]
  cors_origins     = var.cors_origins
  has_sign_in      = var.site != null
  domain           = var.api_domain
  logs_kms_key_arn = module.keys.arns["logs"]
  log_days         = local.log_days
}
