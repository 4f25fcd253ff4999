output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "The private subnets, one a zone."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}

output "compute_security_group_id" {
  description = "Security group of functions and jobs."
  value       = aws_security_group.compute.id
}

output "training_security_group_id" {
  description = "Second security group of training jobs: their instances among themselves."
  value       = aws_security_group.training.id
}

output "s3_endpoint_id" {
  description = "Gateway endpoint of S3, for bucket policies."
  value       = aws_vpc_endpoint.gateway["s3"].id
}

output "interface_endpoint_ids" {
  description = "Service -> id of its interface endpoint."
  value       = { for service, endpoint in aws_vpc_endpoint.interface : service => endpoint.id }
}

output "reachable_actions" {
  description = "Every action some endpoint lets through."
  value       = sort(distinct(flatten([values(local.interfaces), values(local.gateways)])))
}
