variable "name" {
  description = "Prefix of every name, such as radloop-dev."
  type        = string
}

variable "region" {
  description = "Region of the platform; CloudFront's own parts live in us-east-1."
  type        = string
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "domain" {
  description = "Domain name that people open, and its certificate in us-east-1. CloudFront's own name would allow TLS 1.0, so there is no doing without."
  type        = object({ name = string, certificate_arn = string })

  validation {
    condition     = startswith(var.domain.certificate_arn, "arn:aws:acm:us-east-1:")
    error_message = "CloudFront takes certificates of us-east-1 alone."
  }
}

variable "api_host" {
  description = "Host of the API."
  type        = string
}

variable "web_bucket_domain" {
  description = "Regional domain name of the bucket web, in whose folder app/ the viewer lies."
  type        = string
}

variable "stream_bucket_domain" {
  description = "Regional domain name of the bucket stream, in whose folder packs/ the packs lie."
  type        = string
}

variable "logs_bucket_arn" {
  description = "ARN of the bucket logs."
  type        = string
}

variable "logs_kms_key_arn" {
  description = "Key of the domain logs."
  type        = string
}

variable "secrets_kms_key_arn" {
  description = "Key of the domain secrets."
  type        = string
}

variable "signing_public_keys" {
  description = "Public keys (PEM, RSA 2048 or ECDSA P-256) that check signatures of packs, by any name. Two while one takes the other's place."
  type        = map(string)

  validation {
    condition     = alltrue([for key in values(var.signing_public_keys) : startswith(key, "-----BEGIN PUBLIC KEY-----")])
    error_message = "A public key in PEM begins with -----BEGIN PUBLIC KEY-----; a private one must never come here."
  }
}

variable "origin_secrets" {
  description = "Names of the secrets by which the API knows CloudFront, whose values are made here: the first is sent, all are taken. Two while one takes the other's place."
  type        = list(string)
  default     = ["first"]

  validation {
    condition     = length(var.origin_secrets) > 0 && length(distinct(var.origin_secrets)) == length(var.origin_secrets)
    error_message = "Without a secret anybody could ask the API beside CloudFront; and each has a name of its own."
  }

  validation {
    condition     = alltrue([for name in var.origin_secrets : can(regex("^[a-z0-9-]{1,32}$", name))])
    error_message = "A name is made of small letters, digits and dashes; it is no secret itself."
  }
}

variable "has_firewall" {
  description = "Whether a web application firewall stands before it."
  type        = bool
  default     = true
}

variable "requests_in_5_minutes" {
  description = "Requests of one address in five minutes that the firewall lets pass. Scrolling asks up to 60 times a second."
  type        = number
  default     = 20000

  validation {
    condition     = var.requests_in_5_minutes >= 18000
    error_message = "60 frames a second for five minutes are 18,000 requests: less would stop a reader at work."
  }
}

variable "countries" {
  description = "Countries (ISO 3166 alpha-2) that are answered; empty for all."
  type        = list(string)
  default     = []
}

variable "price_class" {
  description = "Which of CloudFront's places answer. PriceClass_100 is North America and Europe."
  type        = string
  default     = "PriceClass_100"
}

variable "log_days" {
  description = "Days that the firewall's log is kept."
  type        = number
}
