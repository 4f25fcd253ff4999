variable "name" {
  description = "Prefix of every name, such as radloop-dev."
  type        = string
}

variable "region" {
  description = "Region of the metrics."
  type        = string
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "contracts" {
  description = "Folder of the contracts, with metrics.json, dashboards.json and alarms.json."
  type        = string
}

variable "function_names" {
  description = "Name of each function in the account, by its name in functions.json."
  type        = map(string)
}

variable "dead_queue_names" {
  description = "Name of each queue of dead letters in the account, by whose they are."
  type        = map(string)
}

variable "table_name" {
  description = "The table of records."
  type        = string
}

variable "pipeline_name" {
  description = "The SageMaker pipeline."
  type        = string
}

variable "endpoint_name" {
  description = "The inference endpoint, whether or not there is one."
  type        = string
}

variable "archive_bucket_name" {
  description = "The bucket of originals, whose size is what came in."
  type        = string
}

variable "counted_storage" {
  description = "What the storage budget is for: buckets, each with a class of its objects as CloudWatch calls it (StorageType)."
  type        = list(object({ bucket = string, type = string }))

  validation {
    condition     = length(var.counted_storage) >= 1 && length(var.counted_storage) <= 10
    error_message = "An alarm sums over one to ten metrics, as CloudWatch allows."
  }
}

variable "storage_budget_bytes" {
  description = "Bytes in those buckets above which the alarm storage-budget goes on."
  type        = number

  validation {
    condition     = var.storage_budget_bytes > 0
    error_message = "A budget of nothing is exceeded by the first image."
  }
}

variable "messages_kms_key_arn" {
  description = "Key of the domain messages."
  type        = string
}

variable "subscribers" {
  description = "Who is told, by any name: an e-mail address, or an https address such as PagerDuty's or Slack's by its chat integration."
  type        = map(object({ protocol = string, endpoint = string }))
  default     = {}

  validation {
    condition     = alltrue([for each in values(var.subscribers) : contains(["email", "https"], each.protocol)])
    error_message = "Subscribers are told by email or https."
  }
}

variable "training_log_group" {
  description = "Log group of training jobs, out of which the seconds of an epoch are read. Null where another installation of the account has it."
  type        = string
  default     = null
}

variable "events_log_group" {
  description = "Log group of all events."
  type        = string
}
