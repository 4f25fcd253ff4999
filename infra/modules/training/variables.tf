variable "name" {
  description = "Name of the pipeline and prefix of every other name, such as radloop-dev."
  type        = string
}

variable "region" {
  description = "Region of the pipeline."
  type        = string
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "definitions" {
  description = "Folder of pipeline.json, pipeline-spot.json, transform.json and drift.json, as `python -m radloop.pipeline` writes them."
  type        = string
}

variable "bucket_names" {
  description = "Name of the bucket of each blob prefix: training-data, preprocessed-data, model-artifacts and logs are needed."
  type        = map(string)
}

variable "key_arns" {
  description = "ARN of the key of each domain: training, models, messages and logs are needed."
  type        = map(string)
}

variable "package_group" {
  description = "Name of the model package group that models are registered in."
  type        = string
}

variable "image_uris" {
  description = "Container images: `pipeline` for preprocessing, training and evaluation, `inference` for serving and drift."
  type        = object({ pipeline = string, inference = string })
}

variable "repository_arns" {
  description = "ECR repositories that jobs pull from."
  type        = list(string)
}

variable "is_spot" {
  description = "Whether training takes managed spot instances; checkpoints carry it through interruptions."
  type        = bool
  default     = true
}

variable "processing" {
  description = "Machines of preprocessing and evaluation."
  type        = object({ instance_type = string, instance_count = number })
  default     = { instance_type = "ml.m5.2xlarge", instance_count = 1 }
}

variable "training" {
  description = "Machines of training. `max_wait_s` is the longest a spot job may take, waiting included."
  type        = object({ instance_type = string, instance_count = number, max_wait_s = optional(number, 172800) })
  default     = { instance_type = "ml.g5.xlarge", instance_count = 1 }

  validation {
    condition     = !startswith(var.training.instance_type, "ml.p3.")
    error_message = "AWS no longer offers ml.p3 machines; ml.g5.xlarge is the default."
  }

  validation {
    condition     = var.training.instance_count >= 1 && var.training.instance_count <= 8 && floor(var.training.instance_count) == var.training.instance_count
    error_message = "Training runs on one to eight machines."
  }
}

variable "transform" {
  description = "Machines of batch transform."
  type        = object({ instance_type = string, instance_count = number })
  default     = { instance_type = "ml.m5.xlarge", instance_count = 1 }
}

variable "accuracy_threshold" {
  description = "Accuracy below which the gate lets no model through, whatever else it says."
  type        = number
  default     = 0.85

  validation {
    condition     = var.accuracy_threshold >= 0 && var.accuracy_threshold <= 1
    error_message = "A share of right answers: 0 to 1."
  }
}

variable "drift" {
  description = "When the drift job of the endpoint runs, and on what. Null without an endpoint."
  type        = object({ schedule = string, instance_type = string })
  default     = null
}

variable "endpoint_name" {
  description = "Name of the endpoint whose answers the drift job reads."
  type        = string
}

variable "undelivered_queue_arn" {
  description = "Queue that takes what the schedule could not start."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets that jobs run in."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Security groups of the jobs."
  type        = list(string)
}

variable "log_days" {
  description = "Days that logs of jobs are kept."
  type        = number
}

variable "owns_account_logs" {
  description = "Whether this installation makes SageMaker's log groups, which an account has once. False for the second in an account."
  type        = bool
  default     = true
}
