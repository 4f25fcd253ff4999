module "imaging" {
  source = "../modules/imaging"

  name               = local.name
  region             = var.region
  account_id         = var.account_id
  is_protected       = var.environment == "prod"
  kms_key_arn        = module.keys.arns["imaging"]
  bucket_name        = module.storage.names["training-data"]
  bucket_kms_key_arn = module.keys.arns["training"]
}
