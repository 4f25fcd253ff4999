mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

mock_provider "aws" {
  alias           = "replica"
  source          = "../../mocks"
  override_during = plan
}

variables {
  name           = "radloop-test"
  project        = "radloop"
  environment    = "test"
  account_id     = "123456789012"
  region         = "eu-west-1"
  administrators = ["arn:aws:iam::123456789012:role/deployer", "arn:aws:iam::123456789012:role/break-glass"]
  sources = {
    archive = { bucket = "radloop-archive-test-123456789012", arn = "arn:aws:s3:::radloop-archive-test-123456789012" }
  }
  key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/imaging"]
}

run "a_copy_is_sealed_and_keeps_what_was_deleted" {
  command = plan

  assert {
    condition = (
      aws_s3_bucket.copy["archive"].object_lock_enabled
      && one(aws_s3_bucket_versioning.copy["archive"].versioning_configuration).status == "Enabled"
      && one(one(aws_s3_bucket_server_side_encryption_configuration.copy["archive"].rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"
    )
    error_message = "Locked, versioned, sealed."
  }

  assert {
    condition = (
      one(one(aws_s3_bucket_replication_configuration.this["archive"].rule).delete_marker_replication).status == "Disabled"
      && !strcontains(aws_iam_role_policy.replication.policy, "ReplicateDelete")
    )
    error_message = "A deletion does not travel."
  }
}
