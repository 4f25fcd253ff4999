mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name       = "radloop-test"
  account_id = "123456789012"
  key_arn    = "arn:aws:kms:us-east-1:123456789012:key/models"
}

run "an_image_is_sealed_scanned_and_never_changed" {
  command = plan

  assert {
    condition     = toset([for r in aws_ecr_repository.this : r.name]) == toset(["radloop-test/pipeline", "radloop-test/inference", "radloop-test/lambda"])
    error_message = "One repository for each image."
  }

  assert {
    condition = alltrue([
      for r in aws_ecr_repository.this : r.image_tag_mutability == "IMMUTABLE" && one(r.image_scanning_configuration).scan_on_push
      && one(r.encryption_configuration).kms_key == var.key_arn && !coalesce(r.force_delete, false)
    ])
    error_message = "A tag means one image for ever; it is scanned, and sealed by our key."
  }
}

run "lambda_pulls_its_own_image_only" {
  command = plan

  assert {
    condition     = keys(aws_ecr_repository_policy.this) == ["lambda"]
    error_message = "No other repository opens to a service."
  }

  assert {
    condition     = jsondecode(aws_ecr_repository_policy.this["lambda"].policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    error_message = "For functions of our account."
  }
}

run "too_few_images_are_refused" {
  command = plan

  variables {
    kept_images = 2
  }

  expect_failures = [var.kept_images]
}
