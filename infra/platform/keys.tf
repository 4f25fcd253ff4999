locals {
  # By index and not by splat: that would wait for the whole replica, which waits for the keys.
  replication = var.replica_region == null ? [] : [module.replica[0].role_arn]

  # Roles that no function has: jobs of SageMaker, imports into HealthImaging, the replica.
  job_users = {
    training = [module.training.role_arn, module.imaging.role_arn]
    models   = [module.training.role_arn, module.training.pipeline_role_arn]
    messages = compact([module.training.schedule_role_arn])
    imaging  = concat([module.imaging.role_arn], local.replication)
    audit    = local.replication
  }

  key_users = {
    for domain in distinct(concat(keys(module.functions.key_users), keys(local.job_users))) : domain =>
    distinct(concat(lookup(module.functions.key_users, domain, []), lookup(local.job_users, domain, [])))
  }
}

module "keys" {
  source = "../modules/keys"

  name           = local.name
  region         = var.region
  account_id     = var.account_id
  administrators = local.administrators
  users          = local.key_users
}
