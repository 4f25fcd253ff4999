terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"

      # CloudFront and its firewall live in us-east-1; a replica, where there is one, in its own region.
      configuration_aliases = [aws.us_east_1, aws.replica]
    }
  }
}
