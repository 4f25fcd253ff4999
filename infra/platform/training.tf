module "training" {
  source = "../modules/training"

  name                  = local.name
  region                = var.region
  account_id            = var.account_id
  definitions           = abspath("${path.module}/${var.pipeline_definitions}")
  bucket_names          = module.storage.names
  key_arns              = module.keys.arns
  package_group         = local.name
  image_uris            = { for image in ["pipeline", "inference"] : image => "${module.images.repository_urls[image]}:${var.image_tag}" }
  repository_arns       = [for image in ["pipeline", "inference"] : module.images.repository_arns[image]]
  is_spot               = var.is_spot
  processing            = var.processing
  training              = var.training
  transform             = var.transform
  accuracy_threshold    = local.settings.accuracy_threshold
  drift                 = var.has_endpoint ? var.drift : null
  endpoint_name         = local.name
  undelivered_queue_arn = module.events.undelivered_queue_arn
  subnet_ids            = module.network.subnet_ids
  security_group_ids    = [module.network.compute_security_group_id, module.network.training_security_group_id]
  log_days              = local.log_days
  owns_account_logs     = var.account_wide
}
