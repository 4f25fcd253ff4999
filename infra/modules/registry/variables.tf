variable "name" {
  description = "Name of the model package group, such as radloop-dev."
  type        = string
}

variable "region" {
  description = "Region of the group."
  type        = string
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "approver_arns" {
  description = "Roles that may approve, reject or delete a version; patterns with * are allowed for those who break the glass."
  type        = list(string)

  validation {
    condition     = length(var.approver_arns) > 0 && !contains(var.approver_arns, "*")
    error_message = "Somebody must be able to approve a version, and not everybody."
  }
}
