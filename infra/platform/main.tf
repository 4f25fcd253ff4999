# radloop on AWS: every module once. A stack of infra/stacks gives it an account, a region and its sizes.
# One file a part; what the code reads too stands in contracts/.

locals {
  name      = "${var.project}-${var.environment}"
  contracts = abspath("${path.module}/../../contracts")

  # Roles by name, so that an administrator of another account cannot be given.
  administrators = [for role in var.administrators : "arn:aws:iam::${var.account_id}:role/${role}"]
}
