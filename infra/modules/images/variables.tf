variable "name" {
  description = "Prefix of every name: project and environment."
  type        = string
}

variable "account_id" {
  description = "Account whose functions may pull."
  type        = string
}

variable "key_arn" {
  description = "Key of the domain models, which seals the images."
  type        = string
}

variable "readers" {
  description = "Image -> service that pulls it by itself, null where a role does."
  type        = map(string)
  default     = { pipeline = null, inference = null, lambda = "lambda.amazonaws.com" }
}

variable "kept_images" {
  description = "Images a repository keeps."
  type        = number
  default     = 30

  validation {
    condition     = var.kept_images >= 5
    error_message = "An older model is served by an older image: keep five at least."
  }
}
