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

variable "saml_providers" {
  description = "Name -> address of the SAML metadata of an organisation whose people sign in there."
  type        = map(string)
  default     = {}
}
