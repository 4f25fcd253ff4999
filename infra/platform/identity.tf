module "identity" {
  source = "../modules/identity"

  name           = local.name
  region         = var.region
  account_id     = var.account_id
  roles          = jsondecode(file("${local.contracts}/roles.json")).roles
  callback_urls  = distinct(concat(var.callback_urls, var.site == null ? [] : ["https://${var.site.domain}/app/"]))
  saml_providers = var.saml_providers

  native_app = jsondecode(file("${local.contracts}/sign-in.json"))
}
