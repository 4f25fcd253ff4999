variable "name" {
  description = "Prefix of every name, such as radloop-dev; the bus itself is called so."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}$", var.name))
    error_message = "A name is 3 to 25 small letters, digits and hyphens."
  }
}

variable "region" {
  description = "Region of the bus and the queues."
  type        = string
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "contracts" {
  description = "Folder of the contracts, with functions.json, events/rules.json and events/aws-rules.json."
  type        = string
}

variable "names" {
  description = "Values of what aws-rules.json holds in $${...}: training_data (a bucket's name), datastore_id, pipeline_arn, package_group."
  type        = map(string)
}

variable "delays_s" {
  description = "Seconds that events wait for their function, by what rules.json calls the delay. SQS waits no longer than 900."
  type        = map(number)
  default     = { retrain_delay_s = 30 }

  validation {
    condition     = alltrue([for delay_s in values(var.delays_s) : delay_s >= 0 && delay_s <= 900])
    error_message = "SQS delays a message by 0 to 900 seconds."
  }
}

variable "function_arns" {
  description = "ARN of each function by its name in functions.json."
  type        = map(string)
}

variable "topic_arns" {
  description = "ARN of each SNS topic by what rules call it, such as alerts."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "Key of the domain messages: seals the bus and the queues."
  type        = string
}

variable "logs_kms_key_arn" {
  description = "Key of the domain logs."
  type        = string
}

variable "log_days" {
  description = "Days that the log of all events is kept."
  type        = number
}

variable "archive_days" {
  description = "Days that events can be replayed."
  type        = number
  default     = 90
}
