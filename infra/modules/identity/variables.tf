variable "name" {
  description = "Prefix of every name: project and environment."
  type        = string
}

variable "region" {
  description = "Region of the pool, part of its issuer."
  type        = string
}

variable "account_id" {
  description = "Account of the pool; makes the name of its sign-in page the only one in the world."
  type        = string
}

variable "roles" {
  description = "Role -> what it may do, as contracts/roles.json has it. Every role but system is a group."
  type        = map(list(string))

  validation {
    condition     = alltrue([for role in ["reader", "verifier", "auditor", "admin"] : contains(keys(var.roles), role)])
    error_message = "Without reader, verifier, auditor and admin nobody can work."
  }
}

variable "callback_urls" {
  description = "Addresses of the viewer to which a person returns after signing in and out."
  type        = list(string)

  validation {
    condition     = alltrue([for url in var.callback_urls : startswith(url, "https://")])
    error_message = "A token is sent over HTTPS only."
  }
}

variable "native_app" {
  description = "How programs sign in whoever runs them, as contracts/sign-in.json has it: scope, and where on the loopback the page leads back to."
  type        = object({ scope = string, redirects = list(string) })

  validation {
    condition = length(var.native_app.redirects) > 0 && alltrue([
      for url in var.native_app.redirects : can(regex("^http://127\\.0\\.0\\.1:[1-9][0-9]{3,4}/$", url))
    ])
    error_message = "A program listens on 127.0.0.1 alone; localhost may be another machine (RFC 8252, 8.3)."
  }
}

variable "saml_providers" {
  description = "Name -> address of the SAML metadata of an organisation whose people sign in there."
  type        = map(string)
  default     = {}
}
