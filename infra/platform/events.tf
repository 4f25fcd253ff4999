module "events" {
  source = "../modules/events"

  name       = local.name
  region     = var.region
  account_id = var.account_id
  contracts  = local.contracts
  names = {
    training_data     = module.storage.names["training-data"]
    preprocessed_data = module.storage.names["preprocessed-data"]
    model_artifacts   = module.storage.names["model-artifacts"]
    datastore_id      = module.imaging.datastore_id
    pipeline_arn      = module.training.pipeline_arn
    package_group     = module.registry.group_name
  }
  delays_s         = { retrain_delay_s = local.settings.retrain_delay_s }
  function_arns    = module.functions.function_arns
  topic_arns       = { alerts = module.monitoring.topic_arn }
  kms_key_arn      = module.keys.arns["messages"]
  logs_kms_key_arn = module.keys.arns["logs"]
  log_days         = local.log_days
}
