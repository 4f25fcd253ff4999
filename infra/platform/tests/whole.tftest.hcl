# Everything that can be switched on, in one plan: what is asserted here holds for all modules together. The IAM
# linters of tools/check_infra.py take their policies from this plan.

mock_provider "aws" {
  source          = "../mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "us_east_1"
  source          = "../mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "replica"
  source          = "../mocks"
  override_during = plan
}

variables {
  environment          = "prod"
  account_id           = "123456789012"
  region               = "eu-west-1"
  replica_region       = "eu-west-2"
  administrators       = ["radloop-deployer", "radloop-break-glass"]
  image_tag            = "0.1.0"
  callback_urls        = ["https://radloop.example.org/app/"]
  budget_usd           = 1500
  storage_budget_bytes = 1000000000000
  subscribers          = { oncall = { protocol = "email", endpoint = "oncall@example.org" } }
  has_endpoint         = true
  lambda_package       = "tests/fixtures/lambda.zip"

  site = {
    domain          = "radloop.example.org"
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-4000-8000-000000000001"
    public_keys     = { "2026" = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n" }
    signing_key     = "2026"
  }
}

run "the_whole_platform_plans" {
  command = plan

  assert {
    condition = toset(keys(output.installation.buckets)) == toset([
      "training-data", "preprocessed-data", "model-artifacts", "logs", "access-logs", "audit", "archive", "stream", "web",
    ])
    error_message = "All buckets."
  }

  assert {
    condition     = output.installation.buckets["training-data"] == "radloop-training-data-prod-123456789012"
    error_message = "project, name, environment, account."
  }

  assert {
    condition     = output.installation.issuer != null && output.installation.datastore_id != null && output.installation.pipeline_arn != null
    error_message = "What whoever deploys needs to know is told."
  }

  assert {
    condition     = output.installation.distribution == module.cdn[0].domain_target && output.installation.distribution != null
    error_message = "Nobody can point the domain at CloudFront."
  }

  assert {
    condition = length(setsubtract(
      [
        for action in flatten([
          for each in concat([jsondecode(file("../../contracts/functions.json")).common], jsondecode(file("../../contracts/functions.json")).functions) :
          [for grant in each.actions : grant.actions]
        ]) : action if !startswith(action, "iam:") && !startswith(action, "cognito-idp:")
      ],
      module.network.reachable_actions,
    )) == 0
    error_message = "A function may do what no endpoint lets through; add the action to modules/network/endpoints.tf."
  }

  assert {
    condition = alltrue([
      for domain, users in module.functions.key_users : alltrue([for arn in users : contains(local.key_users[domain], arn)])
    ])
    error_message = "A function whose role is missing in a key's policy is refused by KMS."
  }

  assert {
    condition     = contains(local.key_users["training"], module.training.role_arn) && contains(local.key_users["audit"], module.replica[0].role_arn)
    error_message = "Jobs and the replica read what they copy."
  }
}
