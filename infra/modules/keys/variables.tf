variable "name" {
  description = "Prefix of every name: project and environment, as in radloop-dev."
  type        = string
}

variable "region" {
  description = "Region the keys live in; they never leave it."
  type        = string
}

variable "account_id" {
  description = "The one account whose roles may use the keys."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account id has twelve digits."
  }
}

variable "administrators" {
  description = "ARNs of the roles that administer keys and cannot read data: who deploys, and who breaks the glass."
  type        = list(string)

  validation {
    condition     = length(var.administrators) >= 2
    error_message = "A key with one administrator can be lost: name the deploying and the break-glass role."
  }

  validation {
    condition     = alltrue([for arn in var.administrators : startswith(arn, "arn:aws:iam::${var.account_id}:role/")])
    error_message = "Administrators are roles of this account."
  }
}

variable "users" {
  description = "Domain -> ARNs of the roles that may use its key on data."
  type        = map(list(string))

  validation {
    condition = length(setsubtract(
      keys(var.users),
      ["training", "models", "tables", "secrets", "imaging", "messages", "logs", "audit"],
    )) == 0
    error_message = "There are the domains training, models, tables, secrets, imaging, messages, logs and audit."
  }
}
