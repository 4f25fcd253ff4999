variable "name" {
  description = "Name of the data store and prefix of the role's name, such as radloop-dev."
  type        = string
}

variable "region" {
  description = "Region of the data store: one of the five that have HealthImaging."
  type        = string

  validation {
    condition     = contains(["us-east-1", "us-west-2", "ap-southeast-2", "eu-west-1", "eu-west-2"], var.region)
    error_message = "HealthImaging exists in us-east-1, us-west-2, ap-southeast-2, eu-west-1 and eu-west-2."
  }
}

variable "account_id" {
  description = "The twelve digits of the account."
  type        = string
}

variable "is_protected" {
  description = "Whether Terraform refuses to destroy the data store. True in production."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Key of the domain imaging. It cannot be changed afterwards: another key is another data store."
  type        = string
}

variable "bucket_name" {
  description = "The bucket training-data, whose folder import/ is read and whose folder imported/ is written."
  type        = string
}

variable "bucket_kms_key_arn" {
  description = "Key of the domain training, which seals that bucket."
  type        = string
}
