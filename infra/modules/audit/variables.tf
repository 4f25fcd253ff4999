variable "name" {
  description = "Prefix of every name: project and environment; the name of the trail."
  type        = string
}

variable "region" {
  description = "Home region of the trail."
  type        = string
}

variable "account_id" {
  description = "Account that is watched."
  type        = string
}

variable "bucket_name" {
  description = "Bucket with Object Lock that receives the trail below cloudtrail/."
  type        = string
}

variable "key_arn" {
  description = "Key of the domain audit."
  type        = string
}

variable "log_key_arn" {
  description = "Key of the domain logs."
  type        = string
}

variable "bucket_arns" {
  description = "Buckets whose objects are watched: all but those that logs are delivered to, which would log themselves."
  type        = list(string)

  validation {
    condition     = length(var.bucket_arns) > 0
    error_message = "A trail that watches no bucket proves nothing."
  }
}

variable "log_group_days" {
  description = "Days for which the trail can be queried in CloudWatch."
  type        = number
  default     = 365

  validation {
    condition     = var.log_group_days >= 90
    error_message = "A breach is found after weeks: keep ninety days at least."
  }
}

variable "alerts_topic_arn" {
  description = "Topic that is told of findings."
  type        = string
}

variable "account_wide" {
  description = "Whether this environment holds what an account has once: GuardDuty, Access Analyzer and the rules on their findings. False in the second environment of an account."
  type        = bool
  default     = true
}
