mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

override_resource {
  target          = aws_cloudcontrolapi_resource.protected
  override_during = plan
  values          = { id = "00000000000000000000000000000001" }
}

variables {
  name               = "radloop-test"
  region             = "eu-west-1"
  account_id         = "123456789012"
  kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/imaging"
  bucket_name        = "radloop-training-data-test-123456789012"
  bucket_kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/training"
}

run "the_data_store_is_sealed_with_our_key" {
  command = plan

  assert {
    condition     = jsondecode(aws_cloudcontrolapi_resource.protected[0].desired_state) == { DatastoreName = "radloop-test", KmsKeyArn = "arn:aws:kms:eu-west-1:123456789012:key/imaging" }
    error_message = "The data store has another name or key."
  }

  assert {
    condition = (
      jsondecode(aws_cloudcontrolapi_resource.protected[0].schema).typeName == aws_cloudcontrolapi_resource.protected[0].type_name &&
      length(setsubtract(keys(jsondecode(aws_cloudcontrolapi_resource.protected[0].desired_state)), keys(jsondecode(aws_cloudcontrolapi_resource.protected[0].schema).properties))) == 0
    )
    error_message = "The schema is of another type, or what is wanted is not in it."
  }

  assert {
    condition     = output.datastore_arn == "arn:aws:medical-imaging:eu-west-1:123456789012:datastore/00000000000000000000000000000001"
    error_message = "The ARN is not that of the data store."
  }
}

run "it_is_protected_unless_somebody_says_otherwise" {
  command = plan

  assert {
    condition     = length(aws_cloudcontrolapi_resource.protected) == 1 && length(aws_cloudcontrolapi_resource.unprotected) == 0
    error_message = "A data store that Terraform may destroy is made by default."
  }
}

run "a_data_store_for_trying_out_may_be_destroyed" {
  command = plan

  variables {
    is_protected = false
  }

  assert {
    condition     = length(aws_cloudcontrolapi_resource.protected) == 0 && length(aws_cloudcontrolapi_resource.unprotected) == 1
    error_message = "There are two data stores, or none."
  }
}

run "imports_read_what_is_to_be_imported_and_nothing_else" {
  command = plan

  assert {
    condition = flatten([
      for statement in jsondecode(aws_iam_role_policy.import.policy).Statement : statement.Resource if contains(statement.Action, "s3:GetObject")
    ]) == ["arn:aws:s3:::radloop-training-data-test-123456789012/import/*"]
    error_message = "The import role reads more than import/."
  }

  assert {
    condition = flatten([
      for statement in jsondecode(aws_iam_role_policy.import.policy).Statement : statement.Resource if contains(statement.Action, "s3:PutObject")
    ]) == ["arn:aws:s3:::radloop-training-data-test-123456789012/imported/*"]
    error_message = "The import role writes more than imported/."
  }

  assert {
    condition = (
      jsondecode(aws_iam_role.import.assume_role_policy).Statement[0].Principal == { Service = "medical-imaging.amazonaws.com" } &&
      jsondecode(aws_iam_role.import.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    )
    error_message = "Somebody besides HealthImaging, or for another account, may take the role."
  }
}

run "a_region_without_healthimaging_is_refused" {
  command = plan

  variables {
    region = "eu-central-1"
  }

  expect_failures = [var.region]
}
