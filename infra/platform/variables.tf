variable "project" {
  description = "First part of every name."
  type        = string
  default     = "radloop"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,11}$", var.project))
    error_message = "Three to twelve small letters and digits: names of buckets are made of it."
  }
}

variable "environment" {
  description = "dev, staging or prod: second part of every name."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "dev, staging or prod."
  }
}

variable "account_id" {
  description = "The account everything is made in."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account id has twelve digits."
  }
}

variable "region" {
  description = "Where all data stays. HealthImaging exists in these five regions."
  type        = string

  validation {
    condition     = contains(["us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2"], var.region)
    error_message = "us-east-1, us-west-2, ap-southeast-2, eu-west-1 or eu-west-2: HealthImaging is nowhere else."
  }
}

variable "replica_region" {
  description = "Region that receives a copy of originals and audit trail; null keeps all data in `region`."
  type        = string
  default     = null

  validation {
    condition     = var.replica_region == null || var.replica_region != var.region
    error_message = "A replica in the same region survives nothing."
  }
}

variable "administrators" {
  description = "Names of the roles that administer keys without reading data: the one that deploys and the one that breaks the glass."
  type        = list(string)
}

variable "audit_lock" {
  description = "Object Lock of the audit bucket; see modules/storage."
  type        = object({ mode = string, days = number })
  default     = { mode = "COMPLIANCE", days = 2557 }

  validation {
    condition     = var.environment != "prod" || (var.audit_lock.mode == "COMPLIANCE" && var.audit_lock.days >= 2192)
    error_message = "In prod the audit trail is locked in COMPLIANCE mode for six years at least."
  }
}

variable "archive_lock" {
  description = "Object Lock of the originals; see modules/storage."
  type        = object({ mode = string, days = number })
  default     = { mode = "GOVERNANCE", days = 365 }
}

variable "endpoint_zones" {
  description = "Zones with an address of each interface endpoint: one or two."
  type        = number
  default     = 2
}

variable "enable_nat" {
  description = "A way out to the internet for functions and jobs; nothing of radloop needs it."
  type        = bool
  default     = false
}

variable "callback_urls" {
  description = "Addresses of the viewer to which a person returns after signing in."
  type        = list(string)
}

variable "saml_providers" {
  description = "Name -> address of the SAML metadata of an organisation whose people sign in there."
  type        = map(string)
  default     = {}
}

variable "account_wide" {
  description = "Whether this environment holds what an account has once (GuardDuty, Access Analyzer)."
  type        = bool
  default     = true
}

variable "budget_usd" {
  description = "US dollars a month, warned of before they are spent."
  type        = number
}

variable "budget_emails" {
  description = "Addresses warned besides the topic of alerts."
  type        = list(string)
  default     = []
}

variable "lambda_package" {
  description = "The zip of the functions, from this folder: `python infra/build/lambda_zip.py` makes it."
  type        = string
  default     = "../../build/lambda.zip"
}

variable "pipeline_definitions" {
  description = "Folder of the pipeline's definitions, from this folder: `python -m radloop.pipeline` writes them."
  type        = string
  default     = "../../build"
}

variable "image_tag" {
  description = "Tag of the three container images in their repositories. Tags there never move."
  type        = string
}

variable "settings" {
  description = "Settings as docs/settings.md has them, as an object: {quiet_s = 60}. accuracy_threshold and retrain_delay_s among them go to SageMaker and to the queue that waits, too."
  type        = any
  default     = {}

  validation {
    condition     = var.environment == "dev" || try(var.settings.accuracy_threshold, 0.85) > 0.5
    error_message = "Outside dev an accuracy_threshold at or below 0.5 lets guessing through."
  }

  validation {
    condition     = try(var.settings.retrain_delay_s, 30) >= 0 && try(var.settings.retrain_delay_s, 30) <= 900
    error_message = "retrain_delay_s is 900 at most: no queue of SQS holds an event back for longer."
  }
}

variable "is_spot" {
  description = "Whether training takes managed spot instances."
  type        = bool
  default     = true
}

variable "processing" {
  description = "Machines of preprocessing and evaluation."
  type        = object({ instance_type = string, instance_count = number })
  default     = { instance_type = "ml.m5.2xlarge", instance_count = 1 }
}

variable "transform" {
  description = "Machines of batch transform."
  type        = object({ instance_type = string, instance_count = number })
  default     = { instance_type = "ml.m5.xlarge", instance_count = 1 }
}

variable "training" {
  description = "Machines of training."
  type        = object({ instance_type = string, instance_count = number, max_wait_s = optional(number, 172800) })
  default     = { instance_type = "ml.g5.xlarge", instance_count = 1 }
}

variable "has_endpoint" {
  description = "Whether radloop serves the version in use from a SageMaker endpoint, which it makes when a version is approved. It costs by the hour."
  type        = bool
  default     = false
}

variable "drift" {
  description = "When the drift job of the endpoint runs, and on what."
  type        = object({ schedule = optional(string, "rate(1 day)"), instance_type = optional(string, "ml.m5.large") })
  default     = {}
}

variable "storage_budget_bytes" {
  description = "Bytes stored above which the alarm storage-budget goes on."
  type        = number
}

variable "subscribers" {
  description = "Who is told of alarms, by any name: an e-mail address or an https address."
  type        = map(object({ protocol = string, endpoint = string }))
  default     = {}
}

variable "cors_origins" {
  description = "Origins of other sites whose pages may call DICOMweb and streams."
  type        = list(string)
  default     = []
}

variable "api_domain" {
  description = "Domain name of the API and its certificate in `region`. Null leaves the name that AWS gives."
  type        = object({ name = string, certificate_arn = string })
  default     = null
}

variable "site" {
  description = "CloudFront before viewer, packs and API: its domain name, a certificate in us-east-1, public keys that check signatures and which of them signs, names of the secrets by which the API knows CloudFront (the first is sent, all are taken). Null for none; the viewer then streams through the API."
  type = object({
    domain          = string
    certificate_arn = string
    public_keys     = map(string)
    signing_key     = string
    has_firewall    = optional(bool, true)
    countries       = optional(list(string), [])
    origin_secrets  = optional(list(string), ["first"])
  })
  default = null

  validation {
    condition     = var.site == null ? true : contains(keys(var.site.public_keys), var.site.signing_key)
    error_message = "The key that signs must be among those that check."
  }
}
