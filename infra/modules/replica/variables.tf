variable "name" {
  description = "Prefix of every name: project and environment."
  type        = string
}

variable "project" {
  description = "First part of every bucket's name."
  type        = string
}

variable "environment" {
  description = "dev, staging or prod."
  type        = string
}

variable "account_id" {
  description = "Account that owns both ends."
  type        = string
}

variable "region" {
  description = "Region the copies come from."
  type        = string
}

variable "administrators" {
  description = "ARNs of the roles that administer the key of the copies."
  type        = list(string)
}

variable "sources" {
  description = "Short name -> the bucket that is copied."
  type        = map(object({ bucket = string, arn = string }))
}

variable "key_arns" {
  description = "Keys that seal the sources."
  type        = list(string)
}
