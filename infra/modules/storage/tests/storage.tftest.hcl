mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  project     = "radloop"
  environment = "prod"
  account_id  = "123456789012"
  key_arns = {
    for domain in ["training", "models", "logs", "imaging", "audit"] : domain => "arn:aws:kms:us-east-1:123456789012:key/${domain}"
  }
  s3_endpoint_id = "vpce-1"
}

run "every_bucket_is_sealed_versioned_and_closed" {
  command = plan

  assert {
    condition     = aws_s3_bucket.this["training-data"].bucket == "radloop-training-data-prod-123456789012"
    error_message = "Project, name, environment, account."
  }

  assert {
    condition = {
      for name, c in aws_s3_bucket_server_side_encryption_configuration.sealed :
      name => one(one(c.rule).apply_server_side_encryption_by_default).kms_master_key_id
      } == {
      training-data     = "arn:aws:kms:us-east-1:123456789012:key/training"
      preprocessed-data = "arn:aws:kms:us-east-1:123456789012:key/training"
      model-artifacts   = "arn:aws:kms:us-east-1:123456789012:key/models"
      logs              = "arn:aws:kms:us-east-1:123456789012:key/logs"
      audit             = "arn:aws:kms:us-east-1:123456789012:key/audit"
      archive           = "arn:aws:kms:us-east-1:123456789012:key/imaging"
      stream            = "arn:aws:kms:us-east-1:123456789012:key/imaging"
    }
    error_message = "Each bucket is sealed by the key of its domain; access-logs alone by S3, which delivers nowhere else."
  }

  assert {
    condition     = keys(aws_s3_bucket_server_side_encryption_configuration.plain) == ["access-logs", "web"]
    error_message = "S3 delivers its access logs under its own seal only, and the page holds nobody's data."
  }

  assert {
    condition = alltrue([
      for name in keys(aws_s3_bucket.this) :
      one(aws_s3_bucket_versioning.this[name].versioning_configuration).status == "Enabled"
      && aws_s3_bucket_public_access_block.this[name].restrict_public_buckets
      && aws_s3_bucket_public_access_block.this[name].block_public_policy
      && one(aws_s3_bucket_ownership_controls.this[name].rule).object_ownership == "BucketOwnerEnforced"
      && !aws_s3_bucket.this[name].force_destroy
    ])
    error_message = "Versioned, not public, owned by us, not destroyed with its content."
  }

  assert {
    condition     = toset(keys(aws_s3_bucket_logging.this)) == setsubtract(keys(aws_s3_bucket.this), ["access-logs"])
    error_message = "Every bucket logs, except the one the logs go to."
  }
}

run "nothing_but_tls_1_2_comes_in" {
  command = plan

  assert {
    condition = alltrue([
      for p in aws_s3_bucket_policy.this : length(setintersection(
        [for s in jsondecode(p.policy).Statement : s.Sid if s.Effect == "Deny" && s.Principal == { AWS = "*" }],
        ["NoKeyOfAnotherAccount", "NoKeyOfTheirOwn", "OnlyTls", "OnlyTls12"],
      )) == 4
    ])
    error_message = "Every bucket refuses plain HTTP, old TLS, and to be sealed by a stranger's key."
  }

  assert {
    condition = alltrue(flatten([
      for p in aws_s3_bucket_policy.this : [
        for s in jsondecode(p.policy).Statement : can(s.Principal.Service) && can(s.Condition) if s.Effect == "Allow"
      ]
    ]))
    error_message = "A bucket policy admits services under a condition, and no one else."
  }

  assert {
    condition = {
      for name, p in aws_s3_bucket_policy.this : name => [
        for s in jsondecode(p.policy).Statement : s.Resource if s.Effect == "Allow" && try(s.Principal.Service, "") == "cloudfront.amazonaws.com"
      ] if strcontains(p.policy, "cloudfront.amazonaws.com") && name != "logs"
      } == {
      stream = [["arn:aws:s3:::radloop-stream-prod-123456789012/packs/*"]]
      web    = [["arn:aws:s3:::radloop-web-prod-123456789012/*"]]
    }
    error_message = "CloudFront reads packs and the viewer, and no draft."
  }

  assert {
    condition = [
      for name, p in aws_s3_bucket_policy.this : name if strcontains(p.policy, "OnlyFromTheNetwork")
    ] == ["preprocessed-data"]
    error_message = "Learning data is reached through the endpoint only."
  }
}

run "audit_and_originals_cannot_be_deleted" {
  command = plan

  assert {
    condition = {
      for name, lock in aws_s3_bucket_object_lock_configuration.this :
      name => [one(one(lock.rule).default_retention).mode, one(one(lock.rule).default_retention).days]
    } == { audit = ["COMPLIANCE", 2557], archive = ["GOVERNANCE", 365] }
    error_message = "Audit is locked for seven years in compliance mode, originals in governance mode."
  }

  assert {
    condition     = [for name, bucket in aws_s3_bucket.this : name if bucket.object_lock_enabled] == ["archive", "audit"]
    error_message = "A lock can be configured on a bucket that was made for it."
  }
}

run "what_training_and_serving_need_stays_hot" {
  command = plan

  assert {
    condition = toset(flatten([
      for name, life in aws_s3_bucket_lifecycle_configuration.this : [
        for rule in life.rule : name if anytrue([for t in rule.transition : startswith(t.storage_class, "GLACIER")])
      ]
    ])) == toset(["logs", "access-logs", "audit", "archive"])
    error_message = "Only logs, audit and originals grow cold: a model in Glacier answers nobody."
  }

  assert {
    condition = alltrue(flatten([
      for name in ["training-data", "preprocessed-data", "model-artifacts"] : [
        for rule in aws_s3_bucket_lifecycle_configuration.this[name].rule :
        !contains(["", "validated/", "verified/", "train/", "test/", "models/"], one(rule.filter[*].prefix))
        if length(rule.transition) + length(rule.expiration) > 0
      ]
    ]))
    error_message = "No rule moves or removes what a training can be repeated from."
  }

  assert {
    condition = alltrue([
      for name, glacier in { logs = "GLACIER", access-logs = "GLACIER", audit = "GLACIER_IR", archive = "GLACIER_IR" } : [
        for rule in aws_s3_bucket_lifecycle_configuration.this[name].rule :
        jsonencode({ for t in rule.transition : t.storage_class => t.days }) if rule.id == "all"
      ] == [jsonencode({ INTELLIGENT_TIERING = 90, (glacier) = 180 })]
    ])
    error_message = "90 days to Intelligent-Tiering, 180 days to Glacier; what the platform reads stays readable at once."
  }
}

run "what_serves_for_a_while_goes_after_a_month" {
  command = plan

  assert {
    condition = {
      for rule in aws_s3_bucket_lifecycle_configuration.this["model-artifacts"].rule : one(rule.filter[*].prefix) => one(rule.expiration[*].days)
      if length(rule.expiration) > 0
    } == { "checkpoints/" = 30, "transformed/" = 30 }
    error_message = "Checkpoints or answers of batch transform stay, or something else goes."
  }
}

run "uploads_are_told_to_eventbridge" {
  command = plan

  assert {
    condition     = keys(aws_s3_bucket_notification.this) == ["training-data"] && aws_s3_bucket_notification.this["training-data"].eventbridge
    error_message = "The inbox tells EventBridge of every object, no other bucket does."
  }
}

run "a_weaker_audit_lock_is_refused_in_prod" {
  command = plan

  variables {
    audit_lock = { mode = "GOVERNANCE", days = 2557 }
  }

  expect_failures = [var.audit_lock]
}

run "a_short_audit_lock_is_refused_in_prod" {
  command = plan

  variables {
    audit_lock = { mode = "COMPLIANCE", days = 365 }
  }

  expect_failures = [var.audit_lock]
}
