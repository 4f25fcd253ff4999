variable "name" {
  description = "Prefix of every name: project and environment."
  type        = string
}

variable "region" {
  description = "Region of the network."
  type        = string
}

variable "account_id" {
  description = "Account whose roles the endpoints let through."
  type        = string
}

variable "cidr" {
  description = "Addresses of the network; subnets are its 256th parts."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrsubnet(var.cidr, 8, 20))
    error_message = "A /16 or wider, as in 10.0.0.0/16."
  }
}

variable "zone_letters" {
  description = "The two zones, by their letters."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = length(distinct(var.zone_letters)) == 2
    error_message = "Two different zones."
  }
}

variable "endpoint_zones" {
  description = "Zones with an address of each interface endpoint. They are paid by the hour and zone: one is enough for dev, two survive the loss of a zone."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2], var.endpoint_zones)
    error_message = "One or two."
  }
}

variable "enable_nat" {
  description = "A way out to the internet: public subnets and a NAT gateway in each zone."
  type        = bool
  default     = false
}

variable "flow_log_bucket_arn" {
  description = "Bucket that receives the flow logs below vpc-flow/."
  type        = string
}
