variable "name" {
  description = "Prefix of every name: project and environment."
  type        = string
}

variable "environment" {
  description = "Value of the tag Environment by which costs are counted; activate it as a cost allocation tag once."
  type        = string
}

variable "limit_usd" {
  description = "US dollars a month."
  type        = number

  validation {
    condition     = var.limit_usd > 0
    error_message = "A budget of nothing warns of everything."
  }
}

variable "alerts_topic_arn" {
  description = "Topic that is told."
  type        = string
}

variable "emails" {
  description = "Addresses that are told besides, ten at most."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.emails) <= 10
    error_message = "AWS Budgets writes to ten addresses at most."
  }
}
