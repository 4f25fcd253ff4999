module "monitoring" {
  source = "../modules/monitoring"

  name                 = local.name
  region               = var.region
  account_id           = var.account_id
  contracts            = local.contracts
  function_names       = module.functions.function_names
  table_name           = module.tables.name
  pipeline_name        = module.training.pipeline_name
  endpoint_name        = local.name
  counted_bucket_names = [for name in ["archive", "audit", "model-artifacts", "preprocessed-data", "stream", "training-data"] : module.storage.names[name]]
  storage_budget_bytes = var.storage_budget_bytes
  messages_kms_key_arn = module.keys.arns["messages"]
  subscribers          = var.subscribers
  training_log_group   = module.training.log_group_name
  events_log_group     = module.events.log_group_name
}
