variable "name" {
  description = "Prefix of every name, such as radloop-dev."
  type        = string
}

variable "region" {
  description = "Region of the functions."
  type        = string
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "contracts" {
  description = "Folder of the contracts, with functions.json."
  type        = string
}

variable "package" {
  description = "The zip that infra/build/lambda_zip.py made."
  type        = string
}

variable "image_uri" {
  description = "Container image of the functions that no zip can hold, by digest: registry/name@sha256:..."
  type        = string

  validation {
    condition     = can(regex("(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$", var.image_uri)) && !endswith(var.image_uri, ":latest")
    error_message = "An image is named by digest or by a tag that never moves; latest does."
  }
}

variable "bucket_names" {
  description = "Name of the bucket of each blob prefix: training-data, preprocessed-data, model-artifacts, logs, audit, archive, stream."
  type        = map(string)
}

variable "key_arns" {
  description = "ARN of the key of each domain: training, models, logs, tables, imaging, messages, secrets, audit."
  type        = map(string)
}

variable "table" {
  description = "The table of records."
  type        = object({ name = string, arn = string })
}

variable "bus" {
  description = "The bus that events are put on."
  type        = object({ name = string, arn = string })
}

variable "queue_arns" {
  description = "ARN of each queue by lane."
  type        = map(string)
}

variable "queue_urls" {
  description = "URL of each queue by lane."
  type        = map(string)
}

variable "delay_queue_arns" {
  description = "ARN of the queue that holds events back, by the function they are for."
  type        = map(string)
}

variable "failed_queue_arn" {
  description = "Queue that takes what a function gave up on."
  type        = string
}

variable "undelivered_queue_arn" {
  description = "Queue that takes what EventBridge could not hand over."
  type        = string
}

variable "datastore" {
  description = "The HealthImaging data store."
  type        = object({ id = string, arn = string })
}

variable "pipeline" {
  description = "The SageMaker pipeline that trains."
  type        = object({ name = string, arn = string })
}

variable "package_group" {
  description = "Name of the model package group."
  type        = string
}

variable "endpoint" {
  description = "Name of the inference endpoint, whether or not there is one."
  type        = string
}

variable "passed_roles" {
  description = "Roles that functions hand to a service, `import` and `sagemaker`: the role and the one service it may be handed to."
  type        = map(object({ arn = string, service = string }))

  validation {
    condition     = alltrue([for name in ["import", "sagemaker"] : contains(keys(var.passed_roles), name)])
    error_message = "The roles import and sagemaker are needed."
  }
}

variable "secret_arns" {
  description = "ARNs of what the contract names as a secret: more than one where several count at once."
  type        = map(list(string))
  default     = {}
}

variable "user_pool_arn" {
  description = "The Cognito user pool."
  type        = string
}

variable "values" {
  description = "Further environment variables that the contract may name, such as RADLOOP_STREAM_URL."
  type        = map(string)
  default     = {}
}

variable "absent" {
  description = "Environment variables and symbols of the contract that this installation does without, such as what belongs to CloudFront."
  type        = set(string)
  default     = []
}

variable "accuracy_threshold" {
  description = "Accuracy below which a model is never let through, whatever else the gate says."
  type        = number
  default     = 0.85
}

variable "subnet_ids" {
  description = "Private subnets that the functions run in."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Security groups of the functions."
  type        = list(string)
}

variable "log_days" {
  description = "Days that logs are kept: 30 in production, 7 elsewhere. The audit is kept apart from them, for seven years."
  type        = number
}
