module "tables" {
  source = "../modules/tables"

  name    = local.name
  key_arn = module.keys.arns["tables"]
  schema  = jsondecode(file("${local.contracts}/table.json"))
}
