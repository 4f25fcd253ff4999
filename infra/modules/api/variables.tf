variable "name" {
  description = "Name of the API, such as radloop-dev."
  type        = string
}

variable "region" {
  description = "Region of the API."
  type        = string
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "function_arn" {
  description = "The function api."
  type        = string
}

variable "issuer" {
  description = "Who must have issued a token: the address of the Cognito user pool."
  type        = string

  validation {
    condition     = startswith(var.issuer, "https://")
    error_message = "An issuer is an https address."
  }
}

variable "audiences" {
  description = "Clients of the user pool whose tokens are for us."
  type        = list(string)

  validation {
    condition     = length(var.audiences) > 0
    error_message = "Without an audience any token of the pool would do."
  }
}

variable "cors_origins" {
  description = "Origins of other sites whose pages may call DICOMweb and streams, each https://host."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.cors_origins : can(regex("^https://[a-z0-9.-]+(:[0-9]+)?$", origin))])
    error_message = "An origin is https://host; a wildcard would let any page read patients' images with a reader's token."
  }
}

variable "throttle" {
  description = "Requests a second, and how many may come at once."
  type        = object({ rate = number, burst = number })
  default     = { rate = 200, burst = 400 }
}

variable "has_sign_in" {
  description = "Whether browsers sign in through the API, which opens two more routes that they need for it."
  type        = bool
  default     = false
}

variable "sign_in_throttle" {
  description = "The same for each route of the sign-in."
  type        = object({ rate = number, burst = number })
  default     = { rate = 10, burst = 40 }
}

variable "domain" {
  description = "Domain name of the API and its certificate in this region. Null leaves the name that AWS gives."
  type        = object({ name = string, certificate_arn = string })
  default     = null
}

variable "logs_kms_key_arn" {
  description = "Key of the domain logs."
  type        = string
}

variable "log_days" {
  description = "Days that the log of requests is kept."
  type        = number
}
