variable "project" {
  description = "First part of every bucket's name."
  type        = string
}

variable "environment" {
  description = "dev, staging or prod: third part of every bucket's name."
  type        = string
}

variable "account_id" {
  description = "Account that owns the buckets; last part of every name, for the names of buckets are the world's."
  type        = string
}

variable "key_arns" {
  description = "Domain -> ARN of its key; training, models, logs, imaging and audit are used."
  type        = map(string)
}

variable "s3_endpoint_id" {
  description = "Gateway endpoint through which the buckets of `network_only` are reached; null keeps them open to roles anywhere."
  type        = string
  default     = null
}

variable "network_only" {
  description = "Buckets whose objects are reached from our network only. The browser uploads to training-data, SageMaker looks at model-artifacts from its own network, so these two are not among them."
  type        = list(string)
  default     = ["preprocessed-data"]
}

variable "upload_days" {
  description = "Days after which what is left in upload/ and import/ is removed."
  type        = number
  default     = 14
}

variable "undo_days" {
  description = "Days for which a version that was replaced or deleted can be brought back."
  type        = number
  default     = 90

  validation {
    condition     = var.undo_days >= 30
    error_message = "A mistake is seen within thirty days, hardly sooner."
  }
}

variable "log_days" {
  description = "Days for which logs are kept: seven years."
  type        = number
  default     = 2557

  validation {
    condition     = var.log_days >= 365
    error_message = "Logs are kept for a year at least."
  }
}

variable "audit_lock" {
  description = "Object Lock of the audit bucket. COMPLIANCE cannot be lifted by anybody before its days are over, nor can the bucket be removed."
  type        = object({ mode = string, days = number })
  default     = { mode = "COMPLIANCE", days = 2557 }

  validation {
    condition     = contains(["COMPLIANCE", "GOVERNANCE"], var.audit_lock.mode)
    error_message = "The mode is COMPLIANCE or GOVERNANCE."
  }

  validation {
    condition     = var.environment != "prod" || (var.audit_lock.mode == "COMPLIANCE" && var.audit_lock.days >= 2192)
    error_message = "In prod the audit trail is locked in COMPLIANCE mode for six years at least."
  }
}

variable "archive_lock" {
  description = "Object Lock of the originals."
  type        = object({ mode = string, days = number })
  default     = { mode = "GOVERNANCE", days = 365 }

  validation {
    condition     = contains(["COMPLIANCE", "GOVERNANCE"], var.archive_lock.mode)
    error_message = "The mode is COMPLIANCE or GOVERNANCE."
  }
}
