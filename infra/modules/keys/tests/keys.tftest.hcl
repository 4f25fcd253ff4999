mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name       = "radloop-test"
  region     = "us-east-1"
  account_id = "123456789012"
  administrators = [
    "arn:aws:iam::123456789012:role/deployer",
    "arn:aws:iam::123456789012:role/break-glass",
  ]
  users = {
    training = ["arn:aws:iam::123456789012:role/radloop-test-training"]
  }
}

run "every_domain_has_a_key_that_turns_once_a_year" {
  command = plan

  assert {
    condition     = length(aws_kms_key.this) == 8 && alltrue([for key in aws_kms_key.this : key.enable_key_rotation])
    error_message = "Eight keys, all of them rotating."
  }

  assert {
    condition     = length(aws_kms_key_policy.this) == length(aws_kms_key.this)
    error_message = "A key without a policy of ours obeys the root user."
  }
}

run "a_key_opens_data_for_its_named_roles_only" {
  command = plan

  assert {
    condition = [
      for s in jsondecode(aws_kms_key_policy.this["training"].policy).Statement : [s.Principal.AWS, s.Condition]
      if s.Effect == "Allow" && contains(flatten([s.Action]), "kms:Decrypt")
    ] == [["arn:aws:iam::123456789012:root", { ArnEquals = { "aws:PrincipalArn" = ["arn:aws:iam::123456789012:role/radloop-test-training"] } }]]
    error_message = "The training key decrypts for the training role alone, and only where that role's own policy says so."
  }

  assert {
    condition = alltrue(flatten([
      for domain, p in aws_kms_key_policy.this : [
        for s in jsondecode(p.policy).Statement :
        length(s.Condition.ArnEquals["aws:PrincipalArn"]) > 0
        if s.Effect == "Allow" && try(contains(flatten([s.Principal.AWS]), "arn:aws:iam::123456789012:root"), false)
      ]
    ]))
    error_message = "The account is let in for named roles only; the root user is none."
  }

  assert {
    condition = alltrue([
      for p in aws_kms_key_policy.this : length(setintersection(
        [for s in jsondecode(p.policy).Statement : s.Sid if s.Effect == "Deny"], ["NeverRoot", "NeverAnotherAccount"]
      )) == 2
    ])
    error_message = "Every policy refuses the root user and other accounts by itself."
  }

  assert {
    condition = alltrue(flatten([
      for p in aws_kms_key_policy.this : [
        for s in jsondecode(p.policy).Statement : can(s.Condition.Bool["kms:GrantIsForAWSResource"]) if contains(flatten([s.Action]), "kms:CreateGrant") && s.Effect == "Allow"
      ]
    ]))
    error_message = "A grant is made for a service of AWS, and for nobody else."
  }

  assert {
    condition = [
      for s in jsondecode(aws_kms_key_policy.this["imaging"].policy).Statement : s.Action if try(s.Principal.Service, "") == "cloudfront.amazonaws.com"
    ] == [["kms:Decrypt"]]
    error_message = "CloudFront opens packs and seals nothing."
  }
}

run "healthimaging_seals_and_opens_what_a_data_store_holds" {
  command = plan

  assert {
    condition = [
      for s in jsondecode(aws_kms_key_policy.this["imaging"].policy).Statement : [s.Action, s.Condition] if try(s.Principal.Service, "") == "medical-imaging.amazonaws.com"
      ] == [[
        ["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"],
        {
          StringLike           = { "kms:EncryptionContext:kms-arn" = "arn:aws:kms:us-east-1:123456789012:key/*" }
          StringEqualsIfExists = { "aws:SourceAccount" = "123456789012" }
        },
    ]]
    error_message = "A data store under our key can neither take images in nor give them out."
  }

  assert {
    condition = [
      for domain, p in aws_kms_key_policy.this : domain if strcontains(p.policy, "\"medical-imaging.amazonaws.com\"")
    ] == ["imaging"]
    error_message = "HealthImaging opens more than the images."
  }

  assert {
    condition = alltrue([
      for domain, p in aws_kms_key_policy.this : (domain == "imaging") != contains(flatten([
        for s in jsondecode(p.policy).Statement : s.Action if s.Sid == "NeverAnotherAccount"
      ]), "kms:Decrypt")
    ])
    error_message = "Other accounts are denied data by name, but where HealthImaging's grant is used from inside AWS."
  }

  assert {
    condition = alltrue(flatten([
      for p in aws_kms_key_policy.this : [
        for s in jsondecode(p.policy).Statement : alltrue([for arn in flatten([s.Principal.AWS]) : startswith(arn, "arn:aws:iam::${var.account_id}:")])
        if s.Effect == "Allow" && can(s.Principal.AWS)
      ]
    ]))
    error_message = "A statement lets another account in."
  }
}

run "who_administers_reads_no_data_by_themselves" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for p in aws_kms_key_policy.this : [
        for s in jsondecode(p.policy).Statement : can(s.Condition.StringEquals["kms:ViaService"])
        if s.Effect == "Allow" && try(contains(flatten([s.Principal.AWS]), var.administrators[0]), false) && contains(s.Action, "kms:Decrypt")
      ]
    ]))
    error_message = "An administrator's call reaches data only where a service proves the key with it."
  }

  assert {
    condition = [
      for s in jsondecode(aws_kms_key_policy.this["secrets"].policy).Statement : s.Condition.StringEquals["kms:ViaService"] if s.Sid == "MadeByAdministrators"
    ] == [["lambda.us-east-1.amazonaws.com", "secretsmanager.us-east-1.amazonaws.com"]]
    error_message = "Functions and secrets are made under the key of secrets."
  }

  assert {
    condition     = !strcontains(aws_kms_key_policy.this["training"].policy, "kms:ViaService")
    error_message = "Nothing is made under the training key with an administrator's rights."
  }
}

run "a_service_uses_a_key_under_a_condition" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for p in aws_kms_key_policy.this : [
        for s in jsondecode(p.policy).Statement : can(s.Condition) if can(s.Principal.Service)
      ]
    ]))
    error_message = "A service without a condition may be sent by anybody (confused deputy)."
  }

  assert {
    condition     = strcontains(aws_kms_key_policy.this["logs"].policy, "logs.us-east-1.amazonaws.com")
    error_message = "CloudWatch Logs cannot write under a key that does not name it."
  }
}

run "a_foreign_administrator_is_refused" {
  command = plan

  variables {
    administrators = ["arn:aws:iam::123456789012:role/deployer", "arn:aws:iam::999999999999:role/other"]
  }

  expect_failures = [var.administrators]
}

run "a_single_administrator_is_refused" {
  command = plan

  variables {
    administrators = ["arn:aws:iam::123456789012:role/deployer"]
  }

  expect_failures = [var.administrators]
}

run "an_unknown_domain_is_refused" {
  command = plan

  variables {
    users = { trainings = ["arn:aws:iam::123456789012:role/x"] }
  }

  expect_failures = [var.users]
}
