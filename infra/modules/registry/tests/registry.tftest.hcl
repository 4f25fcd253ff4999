mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name          = "radloop-test"
  region        = "us-east-1"
  account_id    = "123456789012"
  approver_arns = ["arn:aws:iam::123456789012:role/radloop-test-model-registry"]
}

run "few_may_approve_a_version" {
  command = plan

  assert {
    condition = [
      for statement in jsondecode(aws_sagemaker_model_package_group_policy.this.resource_policy).Statement :
      [statement.Effect, statement.Condition.ArnNotLike["aws:PrincipalArn"]] if contains(statement.Action, "sagemaker:UpdateModelPackage")
    ] == [["Deny", ["arn:aws:iam::123456789012:role/radloop-test-model-registry"]]]
    error_message = "Somebody else than the registry may approve a version."
  }

  assert {
    condition     = strcontains(aws_sagemaker_model_package_group_policy.this.resource_policy, "\"arn:aws:sagemaker:us-east-1:123456789012:model-package/radloop-test/*\"")
    error_message = "The policy is not about the versions of this group."
  }
}

run "somebody_must_be_able_to_approve" {
  command = plan

  variables {
    approver_arns = []
  }

  expect_failures = [var.approver_arns]
}

run "not_everybody_may_approve" {
  command = plan

  variables {
    approver_arns = ["*"]
  }

  expect_failures = [var.approver_arns]
}
