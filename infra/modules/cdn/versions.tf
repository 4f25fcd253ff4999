terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
      # CloudFront's firewall and its log delivery exist in us-east-1 alone, wherever the platform runs.
      configuration_aliases = [aws.us_east_1]
    }
  }
}
