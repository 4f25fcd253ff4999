module "images" {
  source = "../modules/images"

  name       = local.name
  account_id = var.account_id
  key_arn    = module.keys.arns["models"]
}
