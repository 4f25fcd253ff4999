# One customer-managed key a domain. A key opens for the roles named here and for nobody else: not for the root
# user, not for another account, and those who administer a key cannot use it on data. The key says who; what each of
# them may do with it, its own policy says, so a role that may only read cannot seal.

locals {
  account = "arn:aws:iam::${var.account_id}:root"

  # What each domain seals, and which services of AWS may use its key by themselves, under which condition.
  sealing     = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
  own_account = { StringEquals = { "aws:SourceAccount" = var.account_id } }
  domains = {
    training = { purpose = "Images and labels the models learn from", services = {} }
    models   = { purpose = "Model artifacts and container images", services = {} }
    tables   = { purpose = "The table of records", services = {} }
    secrets  = { purpose = "Secrets", services = {} }
    imaging = {
      purpose = "Image sets, originals and streaming packs"
      services = {
        "cloudfront.amazonaws.com" = {
          actions   = ["kms:Decrypt"] # it hands packs out and puts nothing in
          condition = { ArnLike = { "aws:SourceArn" = "arn:aws:cloudfront::${var.account_id}:distribution/*" } }
        }
        # As HealthImaging's guide asks (Data encryption). It names the key in the encryption context; the id of the data
        # store, which is there too, is not known before the key. Nothing says that it tells aws:SourceAccount.
        "medical-imaging.amazonaws.com" = {
          actions = ["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"]
          condition = {
            StringLike           = { "kms:EncryptionContext:kms-arn" = "arn:aws:kms:${var.region}:${var.account_id}:key/*" }
            StringEqualsIfExists = { "aws:SourceAccount" = var.account_id }
          }
        }
      }
    }
    messages = {
      purpose = "Events, queues and notifications"
      services = {
        for service in ["budgets", "cloudwatch", "events", "sns"] : "${service}.amazonaws.com" => { actions = local.sealing, condition = local.own_account }
      }
    }
    logs = {
      purpose = "Operational logs"
      services = {
        "delivery.logs.amazonaws.com" = { actions = local.sealing, condition = local.own_account }
        "logs.${var.region}.amazonaws.com" = {
          actions   = local.sealing
          condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${var.region}:${var.account_id}:log-group:*" } }
        }
      }
    }
    audit = {
      purpose = "The audit trail"
      services = {
        "cloudtrail.amazonaws.com" = {
          actions   = local.sealing
          condition = { ArnLike = { "aws:SourceArn" = "arn:aws:cloudtrail:${var.region}:${var.account_id}:trail/${var.name}" } }
        }
      }
    }
  }

  data_actions = [
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
  ]

  administration = {
    Sid       = "Administrators"
    Effect    = "Allow"
    Principal = { AWS = var.administrators }
    Action = [
      "kms:CancelKeyDeletion",
      "kms:CreateAlias",
      "kms:DeleteAlias",
      "kms:DescribeKey",
      "kms:DisableKey",
      "kms:EnableKey",
      "kms:EnableKeyRotation",
      "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus",
      "kms:ListGrants",
      "kms:ListKeyPolicies",
      "kms:ListResourceTags",
      "kms:PutKeyPolicy",
      "kms:RetireGrant",
      "kms:RevokeGrant",
      "kms:RotateKeyOnDemand",
      "kms:ScheduleKeyDeletion",
      "kms:TagResource",
      "kms:UntagResource",
      "kms:UpdateAlias",
      "kms:UpdateKeyDescription",
    ]
    Resource = "*"
  }

  # A service that keeps data for us (a data store, a repository, a volume) receives a grant when it is made.
  grants = {
    Effect    = "Allow"
    Action    = ["kms:CreateGrant"]
    Resource  = "*"
    Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
  }

  # Some services prove a key with the rights of whoever makes the table, the data store, the function, the schedule.
  makers = {
    tables   = ["dynamodb"]
    imaging  = ["medical-imaging"]
    messages = ["events", "scheduler"]
    secrets  = ["lambda", "secretsmanager"]
  }

  # HealthImaging hands its grant on to accounts inside AWS, which are no service principals, and a Deny beats a grant.
  # Under its key another account is denied grants that no service asks for; the rest nobody foreign is allowed anyway.
  granted_on = ["imaging"]

  never = { for domain in keys(local.domains) : domain => [
    {
      Sid       = "NeverRoot"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = local.data_actions
      Resource  = "*"
      Condition = { ArnEquals = { "aws:PrincipalArn" = local.account } }
    },
    {
      Sid       = "NeverAnotherAccount"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = concat(contains(local.granted_on, domain) ? [] : local.data_actions, ["kms:CreateGrant"])
      Resource  = "*"
      Condition = merge(
        {
          StringNotEquals = { "aws:PrincipalAccount" = var.account_id }
          Bool            = { "aws:PrincipalIsAWSService" = "false" }
        },
        contains(local.granted_on, domain) ? { BoolIfExists = { "kms:GrantIsForAWSResource" = "false" } } : {},
      )
    },
  ] }

  policies = {
    for domain, what in local.domains : domain => {
      Version = "2012-10-17"
      Statement = concat(
        [local.administration],
        [merge(local.grants, { Sid = "GrantsForServicesOnly", Principal = { AWS = var.administrators } })],
        flatten([
          for users in [lookup(var.users, domain, [])] : [
            {
              Sid       = "UsersByTheirOwnPolicies"
              Effect    = "Allow"
              Principal = { AWS = local.account } # whoever has the right by a policy, if named below
              Action    = concat(local.data_actions, ["kms:DescribeKey"])
              Resource  = "*"
              Condition = { ArnEquals = { "aws:PrincipalArn" = users } }
            },
            merge(local.grants, {
              Sid       = "UsersGrantsForServicesOnly"
              Principal = { AWS = local.account }
              Condition = merge(local.grants.Condition, { ArnEquals = { "aws:PrincipalArn" = users } })
            }),
          ] if length(users) > 0
        ]),
        [
          for services in [lookup(local.makers, domain, [])] : {
            Sid       = "MadeByAdministrators"
            Effect    = "Allow"
            Principal = { AWS = var.administrators }
            Action    = local.data_actions
            Resource  = "*"
            Condition = { StringEquals = { "kms:ViaService" = [for service in services : "${service}.${var.region}.amazonaws.com"] } }
          } if length(services) > 0
        ],
        [
          for service, use in what.services : {
            Sid       = replace(title(replace(service, "/[.-]/", " ")), " ", "")
            Effect    = "Allow"
            Principal = { Service = service }
            Action    = use.actions
            Resource  = "*"
            Condition = use.condition
          }
        ],
        local.never[domain],
      )
    }
  }
}

resource "aws_kms_key" "this" {
  for_each = local.domains

  description             = "${var.name}: ${each.value.purpose}"
  enable_key_rotation     = true
  rotation_period_in_days = 365
  deletion_window_in_days = 30
  multi_region            = false # a key that leaves the region lets data leave it
}

resource "aws_kms_alias" "this" {
  for_each = local.domains

  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}

resource "aws_kms_key_policy" "this" {
  for_each = local.domains

  key_id = aws_kms_key.this[each.key].key_id
  policy = jsonencode(local.policies[each.key])
}
