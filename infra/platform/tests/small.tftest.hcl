# The smallest installation: no site, no replica, no endpoint.

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
  environment          = "dev"
  account_id           = "123456789012"
  region               = "us-east-1"
  administrators       = ["radloop-deployer", "radloop-break-glass"]
  image_tag            = "0.1.0"
  callback_urls        = ["https://radloop.example.org/app/"]
  budget_usd           = 100
  storage_budget_bytes = 100000000000
  lambda_package       = "tests/fixtures/lambda.zip"
  audit_lock           = { mode = "GOVERNANCE", days = 1 }
  account_wide         = false
}

run "the_small_platform_plans" {
  command = plan

  assert {
    condition     = output.installation.site == null && output.installation.copies == null
    error_message = "Without site and replica there is neither."
  }
}

run "a_region_without_healthimaging_is_refused" {
  command = plan

  variables {
    region = "eu-central-1"
  }

  expect_failures = [var.region]
}

run "a_replica_in_the_same_region_is_refused" {
  command = plan

  variables {
    replica_region = "us-east-1"
  }

  expect_failures = [var.replica_region]
}

run "a_setting_that_terraform_needs_too_is_the_same_everywhere" {
  command = plan

  variables {
    settings = { accuracy_threshold = 0.91, retrain_delay_s = 600, quiet_s = 60 }
  }

  assert {
    condition = alltrue([
      for told in values(module.functions.settings) : jsondecode(told) == { accuracy_threshold = 0.91, retrain_delay_s = 600, quiet_s = 60 }
    ])
    error_message = "Every function decides by the same settings."
  }

  assert {
    condition     = module.events.delays_s["pipeline-trigger"] == 600
    error_message = "The queue that waits follows the settings."
  }
}

run "outside_dev_a_gate_that_guessing_passes_is_refused" {
  command = plan

  variables {
    environment = "staging"
    settings    = { accuracy_threshold = 0.5 }
  }

  expect_failures = [var.settings]
}

run "a_delay_that_no_queue_can_hold_is_refused" {
  command = plan

  variables {
    settings = { retrain_delay_s = 901 }
  }

  expect_failures = [var.settings]
}

run "prod_with_a_lock_that_can_be_lifted_is_refused" {
  command = plan

  variables {
    environment = "prod"
  }

  expect_failures = [var.audit_lock]
}
