module "storage" {
  source = "../modules/storage"

  project        = var.project
  environment    = var.environment
  account_id     = var.account_id
  key_arns       = module.keys.arns
  s3_endpoint_id = module.network.s3_endpoint_id
  audit_lock     = var.audit_lock
  archive_lock   = var.archive_lock
}

module "replica" {
  source    = "../modules/replica"
  count     = var.replica_region == null ? 0 : 1
  providers = { aws = aws, aws.replica = aws.replica }

  name           = local.name
  project        = var.project
  environment    = var.environment
  account_id     = var.account_id
  region         = var.region
  administrators = local.administrators
  sources        = { for name in ["archive", "audit"] : name => { bucket = module.storage.names[name], arn = module.storage.arns[name] } }
  key_arns       = [module.keys.arns["imaging"], module.keys.arns["audit"]]
}
