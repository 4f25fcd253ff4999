mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name       = "radloop-test"
  region     = "us-east-1"
  account_id = "123456789012"
  roles = {
    reader   = ["image.read"]
    verifier = ["image.read", "image.verify"]
    auditor  = ["audit.read"]
    admin    = ["datastore.manage"]
    system   = ["model.train"]
  }
  callback_urls = ["https://radloop.example.org/app/"]
  native_app    = { scope = "openid", redirects = ["http://127.0.0.1:14733/", "http://127.0.0.1:22519/"] }
}

run "nobody_signs_in_without_a_second_factor" {
  command = plan

  assert {
    condition     = aws_cognito_user_pool.this.mfa_configuration == "ON" && one(aws_cognito_user_pool.this.software_token_mfa_configuration).enabled
    error_message = "The second factor is asked of everybody, and it is no text message."
  }

  assert {
    condition     = one(aws_cognito_user_pool.this.admin_create_user_config).allow_admin_create_user_only
    error_message = "Nobody gives themselves an account."
  }

  assert {
    condition     = one(aws_cognito_user_pool.this.password_policy).minimum_length >= 12 && one(aws_cognito_user_pool.this.user_pool_add_ons).advanced_security_mode == "ENFORCED"
    error_message = "Long passwords, and guessing is noticed."
  }

  assert {
    condition     = aws_cognito_user_pool.this.deletion_protection == "ACTIVE"
    error_message = "A pool of people is not deleted by accident."
  }
}

run "the_page_holds_no_secret" {
  command = plan

  assert {
    condition     = !aws_cognito_user_pool_client.viewer.generate_secret && aws_cognito_user_pool_client.viewer.allowed_oauth_flows == toset(["code"])
    error_message = "Code flow without a secret: PKCE."
  }

  assert {
    condition     = !contains(aws_cognito_user_pool_client.viewer.explicit_auth_flows, "ALLOW_USER_PASSWORD_AUTH")
    error_message = "A password is never sent as it is."
  }

  assert {
    condition     = aws_cognito_user_pool_client.viewer.access_token_validity <= 15 && one(aws_cognito_user_pool_client.viewer.token_validity_units).access_token == "minutes"
    error_message = "A stolen token is old in a quarter of an hour."
  }
}

run "a_program_holds_no_secret_and_is_led_back_to_this_machine_alone" {
  command = plan

  assert {
    condition     = !aws_cognito_user_pool_client.native.generate_secret && aws_cognito_user_pool_client.native.allowed_oauth_flows == toset(["code"])
    error_message = "Code flow without a secret: PKCE."
  }

  assert {
    condition     = aws_cognito_user_pool_client.native.callback_urls == toset(var.native_app.redirects)
    error_message = "A code of a program goes to another address than those of the contract."
  }

  assert {
    condition     = aws_cognito_user_pool_client.native.explicit_auth_flows == toset(["ALLOW_REFRESH_TOKEN_AUTH"]) && aws_cognito_user_pool_client.native.allowed_oauth_scopes == toset(["openid"])
    error_message = "A program takes a password, or may change the person."
  }

  assert {
    condition = (
      aws_cognito_user_pool_client.native.enable_token_revocation
      && aws_cognito_user_pool_client.native.access_token_validity <= 15
      && aws_cognito_user_pool_client.native.refresh_token_validity <= 12
      && one(aws_cognito_user_pool_client.native.token_validity_units).refresh_token == "hours"
    )
    error_message = "A stolen token is old in a quarter of an hour, a sign-in at the end of the day, and it can be revoked."
  }
}

run "a_program_is_led_back_to_no_name_and_no_other_machine" {
  command = plan

  variables {
    native_app = { scope = "openid", redirects = ["http://127.0.0.1:14733/", "http://localhost:22519/"] }
  }

  expect_failures = [var.native_app]
}

run "nobody_widens_what_they_may_see" {
  command = plan

  assert {
    condition     = one(aws_cognito_user_pool.this.user_attribute_update_settings).attributes_require_verification_before_update == toset(["email"])
    error_message = "Somebody takes another's address, and with it their password."
  }

  assert {
    condition = (
      contains(aws_cognito_user_pool_client.viewer.read_attributes, "custom:patient_scope")
      && !contains(aws_cognito_user_pool_client.viewer.write_attributes, "custom:patient_scope")
      && !contains(aws_cognito_user_pool_client.native.write_attributes, "custom:patient_scope")
    )
    error_message = "The scope stands in the token and a person cannot write it."
  }
}

run "the_groups_are_the_roles_of_people" {
  command = plan

  assert {
    condition     = keys(aws_cognito_user_group.this) == ["admin", "auditor", "reader", "verifier"]
    error_message = "Every role but the platform's own."
  }
}

run "an_address_without_tls_is_refused" {
  command = plan

  variables {
    callback_urls = ["http://localhost:8042/"]
  }

  expect_failures = [var.callback_urls]
}
