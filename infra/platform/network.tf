module "network" {
  source = "../modules/network"

  name                = local.name
  region              = var.region
  account_id          = var.account_id
  endpoint_zones      = var.endpoint_zones
  enable_nat          = var.enable_nat
  flow_log_bucket_arn = module.storage.arns["logs"]
}
