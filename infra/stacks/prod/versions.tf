terraform {
  required_version = ">= 1.11, < 2.0"

  # Where the state is kept: `terraform init -backend-config=backend.hcl`, see backend.hcl.example.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
