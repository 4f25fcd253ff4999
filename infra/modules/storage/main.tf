# The buckets: versioned, sealed by the key of their domain, closed to the public, and to everything but TLS 1.2.

locals {
  # Days until an object grows cold. Logs are fetched back in hours; originals and the audit's segments are read by
  # the platform itself and stay readable at once.
  cold  = [{ days = 90, class = "INTELLIGENT_TIERING" }, { days = 180, class = "GLACIER" }]
  cool  = [{ days = 90, class = "INTELLIGENT_TIERING" }, { days = 180, class = "GLACIER_IR" }]
  never = []

  # Every bucket with what differs. Without a domain S3 seals by itself: it delivers access logs to no other bucket.
  # `rules` is the life of an object by prefix: models, test sets and verified images stay hot, because a training
  # that is repeated and a model that answers need them at once.
  buckets = {
    training-data = {
      domain = "training"
      notify = true
      lock   = null
      rules = {
        "upload/"     = { tiers = local.never, expire_days = var.upload_days } # landed within minutes, else abandoned
        "import/"     = { tiers = local.never, expire_days = var.upload_days } # copies for one import job
        "quarantine/" = { tiers = [local.cold[0]], expire_days = null }
      }
    }
    preprocessed-data = { domain = "training", notify = false, lock = null, rules = {} }
    model-artifacts = {
      domain = "models"
      notify = false
      lock   = null
      rules = {
        "checkpoints/" = { tiers = local.never, expire_days = 30 } # only an interrupted training reads them
        "transformed/" = { tiers = local.never, expire_days = 30 } # answers of batch transform, named by image set
      }
    }
    logs        = { domain = "logs", notify = false, lock = null, rules = { "" = { tiers = local.cold, expire_days = var.log_days } } }
    web         = { domain = null, notify = false, lock = null, rules = {} } # the viewer page, which holds no data of anybody
    access-logs = { domain = null, notify = false, lock = null, rules = { "" = { tiers = local.cold, expire_days = var.log_days } } }
    audit       = { domain = "audit", notify = false, lock = var.audit_lock, rules = { "" = { tiers = local.cool, expire_days = null } } }
    archive     = { domain = "imaging", notify = false, lock = var.archive_lock, rules = { "" = { tiers = local.cool, expire_days = null } } }
    stream      = { domain = "imaging", notify = false, lock = null, rules = { "" = { tiers = [local.cold[0]], expire_days = null } } }
  }

  locked = { for name, bucket in local.buckets : name => bucket if bucket.lock != null }

  arns = { for name in keys(local.buckets) : name => "arn:aws:s3:::${aws_s3_bucket.this[name].bucket}" }
}

resource "aws_s3_bucket" "this" {
  for_each = local.buckets

  bucket              = "${var.project}-${each.key}-${var.environment}-${var.account_id}"
  object_lock_enabled = each.value.lock != null
  force_destroy       = false
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "sealed" {
  for_each = { for name, bucket in local.buckets : name => bucket.domain if bucket.domain != null }

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    bucket_key_enabled = true # S3 asks KMS now and then instead of once per object

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.key_arns[each.value]
    }
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "plain" {
  for_each = { for name, bucket in local.buckets : name => bucket if bucket.domain == null }

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = { for name, bucket in local.buckets : name => bucket if name != "access-logs" }

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["access-logs"].id
  target_prefix = "${each.key}/"

  depends_on = [aws_s3_bucket_policy.this] # the target must let the log service in first
}

resource "aws_s3_bucket_notification" "this" {
  for_each = { for name, bucket in local.buckets : name => bucket if bucket.notify }

  bucket      = aws_s3_bucket.this[each.key].id
  eventbridge = true
}

resource "aws_s3_bucket_object_lock_configuration" "this" {
  for_each = local.locked

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    default_retention {
      mode = each.value.lock.mode
      days = each.value.lock.days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "leftovers"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }

    noncurrent_version_expiration {
      noncurrent_days = var.undo_days
    }
  }

  dynamic "rule" {
    for_each = each.value.rules

    content {
      id     = rule.key == "" ? "all" : trimsuffix(rule.key, "/")
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      dynamic "transition" {
        for_each = rule.value.tiers

        content {
          days          = transition.value.days
          storage_class = transition.value.class
        }
      }

      dynamic "expiration" {
        for_each = rule.value.expire_days == null ? [] : [rule.value.expire_days]

        content {
          days = expiration.value
        }
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}
