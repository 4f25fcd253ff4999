variable "name" {
  description = "Name of the table, which is the prefix of every name."
  type        = string
}

variable "key_arn" {
  description = "Key of the domain tables."
  type        = string
}

variable "schema" {
  description = "Keys, indexes, TTL attribute and stream, as contracts/table.json has them."
  type = object({
    hash       = string
    range      = optional(string)
    attributes = list(object({ name = string, type = string }))
    indexes    = optional(list(object({ name = string, hash = string, range = optional(string), projection = optional(string, "ALL") })), [])
    ttl        = optional(string)
    streams    = optional(string)
  })

  validation {
    condition     = contains([for attribute in var.schema.attributes : attribute.name], var.schema.hash)
    error_message = "The hash key is one of the attributes."
  }
}

variable "recovery_days" {
  description = "Days back to which the table can be restored, to the second."
  type        = number
  default     = 35

  validation {
    condition     = var.recovery_days >= 7 && var.recovery_days <= 35
    error_message = "DynamoDB keeps one to 35 days; fewer than seven is no recovery."
  }
}
