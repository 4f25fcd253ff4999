module "identity" {
  source = "../modules/identity"

  name           = local.name
  region         = var.region
  account_id     = var.account_id
  roles          = jsondecode(file("${local.contracts}/roles.json")).roles
  callback_urls  = var.callback_urls
  saml_providers = var.saml_providers
}
