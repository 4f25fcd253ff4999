output "installation" {
  description = "Names and addresses of what was made."
  value = {
    datastore_id    = module.imaging.datastore_id
    pipeline_arn    = module.training.pipeline_arn
    package_group   = module.registry.group_name
    buckets         = module.storage.names
    copies          = one(module.replica[*].names)
    table           = module.tables.name
    bus             = module.events.bus_name
    queues          = module.events.queue_urls
    functions       = module.functions.function_names
    repository_urls = module.images.repository_urls
    address         = var.site == null ? module.api.endpoint : "https://${var.site.domain}" # what people and programs ask
    api             = module.api.endpoint                                                   # what CloudFront asks, where there is a site
    site            = one(module.cdn[*].packs_url)
    distribution    = one(module.cdn[*].domain_target) # what the DNS record of the site's domain points to
    user_pool_id    = module.identity.pool_id
    client_id       = module.identity.client_id
    issuer          = module.identity.issuer
    sign_in_url     = module.identity.sign_in_url
    alerts_topic    = module.monitoring.topic_arn
    dashboards      = module.monitoring.dashboard_names
    trail           = module.audit.trail_arn
    budget          = module.budget.name
  }
}
