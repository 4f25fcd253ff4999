locals {
  tags = { Project = "radloop", Environment = "staging", ManagedBy = "terraform" }
}

provider "aws" {
  region                      = var.region
  allowed_account_ids         = [var.account_id] # an apply with credentials of another account ends here
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  s3_use_path_style           = var.emulated
  max_retries                 = var.emulated ? 2 : 25

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias                       = "us_east_1"
  region                      = "us-east-1"
  allowed_account_ids         = [var.account_id]
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  s3_use_path_style           = var.emulated
  max_retries                 = var.emulated ? 2 : 25

  default_tags {
    tags = local.tags
  }
}

provider "aws" {
  alias                       = "replica"
  region                      = coalesce(var.replica_region, var.region)
  allowed_account_ids         = [var.account_id]
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  s3_use_path_style           = var.emulated
  max_retries                 = var.emulated ? 2 : 25

  default_tags {
    tags = local.tags
  }
}
