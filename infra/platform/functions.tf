locals {
  log_days = var.environment == "prod" ? 30 : 7

  # Two settings that Terraform needs as well; said once, so that functions, queue and pipeline hold the same.
  settings = merge({ accuracy_threshold = 0.85, retrain_delay_s = 30 }, var.settings)

  # Variables and symbols of the contract that go with what an installation may do without.
  without = jsondecode(file("${local.contracts}/functions.json")).without

  # What blob prefixes may lie in; the viewer's files and the logs of access are none of the functions' business.
  bucket_names = { for name, bucket in module.storage.names : name => bucket if !contains(["access-logs", "web"], name) }
}

module "functions" {
  source = "../modules/functions"

  name                  = local.name
  region                = var.region
  account_id            = var.account_id
  contracts             = local.contracts
  package               = abspath("${path.module}/${var.lambda_package}")
  image_uri             = "${module.images.repository_urls["lambda"]}:${var.image_tag}"
  bucket_names          = local.bucket_names
  key_arns              = module.keys.arns
  table                 = { name = module.tables.name, arn = module.tables.arn }
  bus                   = { name = module.events.bus_name, arn = module.events.bus_arn }
  queue_arns            = module.events.queue_arns
  queue_urls            = module.events.queue_urls
  delay_queue_arns      = module.events.delay_queue_arns
  failed_queue_arn      = module.events.failed_queue_arn
  undelivered_queue_arn = module.events.undelivered_queue_arn
  datastore             = { id = module.imaging.datastore_id, arn = module.imaging.datastore_arn }
  pipeline              = { name = module.training.pipeline_name, arn = module.training.pipeline_arn }
  package_group         = local.name
  endpoint              = local.name
  passed_roles = {
    import    = { arn = module.imaging.role_arn, service = "medical-imaging.amazonaws.com" }
    sagemaker = { arn = module.training.role_arn, service = "sagemaker.amazonaws.com" }
  }
  secret_arns   = merge([for cdn in module.cdn : { stream-signing = [cdn.signing_secret_arn], origin = values(cdn.origin_secrets) }]...)
  user_pool_arn = module.identity.pool_arn
  values = merge(concat(
    [{
      RADLOOP_ISSUER           = module.identity.issuer
      RADLOOP_CLIENT_ID        = module.identity.client_id
      RADLOOP_NATIVE_CLIENT_ID = module.identity.native_client_id
      RADLOOP_SIGN_IN_URL      = module.identity.sign_in_url
      RADLOOP_INFERENCE_IMAGE  = "${module.images.repository_urls["inference"]}:${var.image_tag}"
      RADLOOP_SETTINGS         = jsonencode(local.settings)
    }],
    [for cdn in module.cdn : {
      RADLOOP_STREAM_URL    = cdn.packs_url
      RADLOOP_STREAM_KEY_ID = cdn.public_key_ids[var.site.signing_key]
      RADLOOP_STREAM_SECRET = cdn.signing_secret_arn
      RADLOOP_SITE_URL      = "https://${var.site.domain}"

      RADLOOP_ORIGIN_SECRETS = jsonencode(keys(cdn.origin_secrets)) # which of them CloudFront sends is nothing to the function
    }],
  )...)
  absent = concat(
    [for name in local.without.site : name if var.site == null],
    [for name in local.without.endpoint : name if !var.has_endpoint],
  )
  accuracy_threshold = local.settings.accuracy_threshold
  subnet_ids         = module.network.subnet_ids
  security_group_ids = [module.network.compute_security_group_id]
  log_days           = local.log_days
}
