# What whoever applies this stack says; infra/platform/variables.tf has the rules.

variable "account_id" {
  description = "The account everything is made in."
  type        = string
}

variable "region" {
  description = "Where all data stays. HealthImaging exists in these five regions."
  type        = string
}

variable "replica_region" {
  description = "Region that receives a copy of originals and audit trail; null keeps all data in `region`."
  type        = string
  default     = null
}

variable "administrators" {
  description = "Names of the roles that administer keys without reading data: the one that deploys and the one that breaks the glass."
  type        = list(string)
}

variable "image_tag" {
  description = "Tag of the three container images in their repositories. Tags there never move."
  type        = string
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

variable "storage_budget_bytes" {
  description = "Bytes stored above which the alarm storage-budget goes on."
  type        = number
}

variable "subscribers" {
  description = "Who is told of alarms, by any name: an e-mail address or an https address."
  type        = map(object({ protocol = string, endpoint = string }))
  default     = {}
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
}

variable "api_domain" {
  description = "Domain name of the API and its certificate in `region`. Null leaves the name that AWS gives."
  type        = object({ name = string, certificate_arn = string })
  default     = null
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

variable "enable_nat" {
  description = "A way out to the internet for functions and jobs; nothing of radloop needs it."
  type        = bool
  default     = false
}

variable "is_spot" {
  description = "Whether training takes managed spot instances, which go on from checkpoints when they are interrupted."
  type        = bool
  default     = true
}

variable "training" {
  description = "Machines of training: with more than one, training is distributed over them."
  type        = object({ instance_type = string, instance_count = number, max_wait_s = optional(number, 172800) })
  default     = { instance_type = "ml.g5.xlarge", instance_count = 1 }
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

variable "cors_origins" {
  description = "Origins of other sites whose pages may call DICOMweb and streams."
  type        = list(string)
  default     = []
}

variable "settings" {
  description = "Settings as docs/settings.md has them, as an object: {quiet_s = 60}."
  type        = any
  default     = {}
}

variable "emulated" {
  description = "Whether an emulator of AWS is asked instead of AWS, at the addresses of AWS_ENDPOINT_URL."
  type        = bool
  default     = false
}
