locals {
  # An alarm takes ten metrics. Those left out hold little: segments of the audit and quarantined files that grew cold,
  # and packs that grew cold and were asked for again.
  counted_storage = concat(
    [for bucket in ["archive", "audit", "model-artifacts", "preprocessed-data", "stream", "training-data"] : [bucket, "StandardStorage"]],
    [for type in ["IntelligentTieringFAStorage", "IntelligentTieringIAStorage", "GlacierInstantRetrievalStorage"] : ["archive", type]],
    [["stream", "IntelligentTieringIAStorage"]],
  )
}

module "monitoring" {
  source = "../modules/monitoring"

  name                 = local.name
  region               = var.region
  account_id           = var.account_id
  contracts            = local.contracts
  function_names       = module.functions.function_names
  dead_queue_names     = module.events.dead_queue_names
  table_name           = module.tables.name
  pipeline_name        = module.training.pipeline_name
  endpoint_name        = local.name
  archive_bucket_name  = module.storage.names["archive"]
  counted_storage      = [for each in local.counted_storage : { bucket = module.storage.names[each[0]], type = each[1] }]
  storage_budget_bytes = var.storage_budget_bytes
  messages_kms_key_arn = module.keys.arns["messages"]
  subscribers          = var.subscribers
  training_log_group   = module.training.log_group_name
  events_log_group     = module.events.log_group_name
}
