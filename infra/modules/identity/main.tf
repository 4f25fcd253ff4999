# Who signs in: people with a second factor, in the groups that are the roles of contracts/roles.json.

locals {
  # `system` is what the platform itself does; no person is in it.
  groups = { for role, actions in var.roles : role => actions if role != "system" }

  # A person changes their name and address. What they may see, only an administrator changes.
  own_attributes = ["email", "family_name", "given_name"]
}

resource "aws_cognito_user_pool" "this" {
  name                     = var.name
  user_pool_tier           = "PLUS" # threat protection
  deletion_protection      = "ACTIVE"
  mfa_configuration        = "ON"
  auto_verified_attributes = ["email"]
  username_attributes      = ["email"]

  software_token_mfa_configuration {
    enabled = true
  }

  admin_create_user_config {
    allow_admin_create_user_only = true
  }

  password_policy {
    minimum_length                   = 14
    password_history_size            = 12
    require_lowercase                = true
    require_numbers                  = true
    require_symbols                  = true
    require_uppercase                = true
    temporary_password_validity_days = 3
  }

  account_recovery_setting {
    recovery_mechanism {
      name     = "verified_email"
      priority = 1
    }
  }

  # A new address counts once its owner has shown that it is theirs: passwords are recovered by it.
  user_attribute_update_settings {
    attributes_require_verification_before_update = ["email"]
  }

  user_pool_add_ons {
    advanced_security_mode = "ENFORCED"
  }

  username_configuration {
    case_sensitive = false
  }

  # Patients a person may see, as radloop's identities read it; opaque to Cognito.
  schema {
    name                = "patient_scope"
    attribute_data_type = "String"
    mutable             = true

    string_attribute_constraints {
      min_length = 0
      max_length = 2048
    }
  }

  lifecycle {
    ignore_changes = [schema] # Cognito never lets an attribute go, and gives back more than was asked
  }
}

resource "aws_cognito_user_group" "this" {
  for_each = local.groups

  name         = each.key
  user_pool_id = aws_cognito_user_pool.this.id
  description  = "May ${join(", ", slice(each.value, 0, min(4, length(each.value))))}${length(each.value) > 4 ? " and more" : ""}."
}

resource "aws_cognito_user_pool_domain" "this" {
  domain       = "${var.name}-${var.account_id}"
  user_pool_id = aws_cognito_user_pool.this.id
}

# Sign-in of the organisation, by SAML. Cognito asks these people for no second factor: the organisation has to.
resource "aws_cognito_identity_provider" "this" {
  for_each = var.saml_providers

  user_pool_id  = aws_cognito_user_pool.this.id
  provider_name = each.key
  provider_type = "SAML"

  provider_details = {
    MetadataURL             = each.value
    IDPSignout              = "true"
    EncryptedResponses      = "true"
    RequestSigningAlgorithm = "rsa-sha256"
  }

  attribute_mapping = {
    email = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"
  }
}

# Programs that a person runs (RFC 8252): what runs on anybody's machine holds no secret either, so they prove themselves
# by PKCE. Cognito compares where it leads back to as a whole, so the ports are these and no others.
resource "aws_cognito_user_pool_client" "native" {
  name                                          = "${var.name}-native"
  user_pool_id                                  = aws_cognito_user_pool.this.id
  generate_secret                               = false
  allowed_oauth_flows_user_pool_client          = true
  allowed_oauth_flows                           = ["code"]
  allowed_oauth_scopes                          = [var.native_app.scope]
  callback_urls                                 = var.native_app.redirects
  explicit_auth_flows                           = ["ALLOW_REFRESH_TOKEN_AUTH"]
  supported_identity_providers                  = concat(["COGNITO"], keys(aws_cognito_identity_provider.this))
  prevent_user_existence_errors                 = "ENABLED"
  enable_token_revocation                       = true
  enable_propagate_additional_user_context_data = false
  read_attributes                               = concat(local.own_attributes, ["custom:patient_scope", "email_verified"])
  write_attributes                              = local.own_attributes
  access_token_validity                         = 15
  id_token_validity                             = 15
  refresh_token_validity                        = 12

  token_validity_units {
    access_token  = "minutes"
    id_token      = "minutes"
    refresh_token = "hours"
  }
}

# The viewer: a page holds no secret, so it proves itself by PKCE, which our API begins every sign-in with.
resource "aws_cognito_user_pool_client" "viewer" {
  name                                          = "${var.name}-viewer"
  user_pool_id                                  = aws_cognito_user_pool.this.id
  generate_secret                               = false
  allowed_oauth_flows_user_pool_client          = true
  allowed_oauth_flows                           = ["code"]
  allowed_oauth_scopes                          = ["openid", "email", "profile"]
  callback_urls                                 = var.callback_urls
  logout_urls                                   = var.callback_urls
  explicit_auth_flows                           = ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
  supported_identity_providers                  = concat(["COGNITO"], keys(aws_cognito_identity_provider.this))
  prevent_user_existence_errors                 = "ENABLED"
  enable_token_revocation                       = true
  enable_propagate_additional_user_context_data = false
  read_attributes                               = concat(local.own_attributes, ["custom:patient_scope", "email_verified"])
  write_attributes                              = local.own_attributes
  access_token_validity                         = 15
  id_token_validity                             = 15
  refresh_token_validity                        = 12

  token_validity_units {
    access_token  = "minutes"
    id_token      = "minutes"
    refresh_token = "hours"
  }
}
