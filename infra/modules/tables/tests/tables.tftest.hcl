mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name    = "radloop-test"
  key_arn = "arn:aws:kms:us-east-1:123456789012:key/tables"
  schema = {
    hash       = "pk"
    range      = "sk"
    attributes = [{ name = "pk", type = "S" }, { name = "sk", type = "S" }, { name = "due", type = "N" }]
    indexes    = [{ name = "due", hash = "pk", range = "due" }]
    ttl        = "expires"
    streams    = "NEW_AND_OLD_IMAGES"
  }
}

run "the_table_is_sealed_and_can_be_brought_back" {
  command = plan

  assert {
    condition = (
      one(aws_dynamodb_table.this.server_side_encryption).kms_key_arn == var.key_arn
      && one(aws_dynamodb_table.this.point_in_time_recovery).enabled
      && one(aws_dynamodb_table.this.point_in_time_recovery).recovery_period_in_days == 35
      && aws_dynamodb_table.this.deletion_protection_enabled
    )
    error_message = "Our key, 35 days of recovery, no deletion by accident."
  }
}

run "the_table_is_what_the_contract_says" {
  command = plan

  assert {
    condition = (
      aws_dynamodb_table.this.hash_key == "pk" && aws_dynamodb_table.this.range_key == "sk"
      && one(aws_dynamodb_table.this.ttl).attribute_name == "expires"
      && aws_dynamodb_table.this.stream_view_type == "NEW_AND_OLD_IMAGES"
      && one(aws_dynamodb_table.this.global_secondary_index).projection_type == "ALL"
    )
    error_message = "Keys, index, TTL and stream come from the schema."
  }
}

run "a_table_without_ttl_and_stream_is_possible" {
  command = plan

  variables {
    schema = { hash = "pk", attributes = [{ name = "pk", type = "S" }] }
  }

  assert {
    condition     = length(aws_dynamodb_table.this.global_secondary_index) == 0 && !aws_dynamodb_table.this.stream_enabled
    error_message = "What the schema leaves out does not exist."
  }
}

run "a_hash_key_that_is_no_attribute_is_refused" {
  command = plan

  variables {
    schema = { hash = "id", attributes = [{ name = "pk", type = "S" }] }
  }

  expect_failures = [var.schema]
}
