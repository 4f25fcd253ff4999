module "registry" {
  source = "../modules/registry"

  name          = local.name
  region        = var.region
  account_id    = var.account_id
  approver_arns = concat(module.functions.approver_arns, local.administrators)
}
