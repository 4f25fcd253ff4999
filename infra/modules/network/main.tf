# A private network in two zones. Nothing comes in, and what goes out goes to the endpoints of endpoints.tf over TLS.

locals {
  zones = [for letter in var.zone_letters : "${var.region}${letter}"]

  # The last part of each range is fixed by the plan of the house: private .10 and .20, public .1 and .2.
  private = { for i, zone in local.zones : zone => cidrsubnet(var.cidr, 8, 10 * (i + 1)) }
  public  = { for i, zone in local.zones : zone => cidrsubnet(var.cidr, 8, i + 1) if var.enable_nat }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # private names of the endpoints need it

  tags = { Name = var.name }
}

# What every network is born with: emptied, so that nobody uses it by mistake.
resource "aws_default_security_group" "this" {
  vpc_id  = aws_vpc.this.id
  ingress = []
  egress  = []

  tags = { Name = "${var.name}-unused" }
}

resource "aws_subnet" "private" {
  for_each = local.private

  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = each.value
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table" "private" {
  for_each = local.private

  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table_association" "private" {
  for_each = local.private

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

resource "aws_security_group" "compute" {
  name        = "${var.name}-mlops-private"
  description = "Functions and jobs: nothing comes in, TLS to the endpoints goes out."
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-mlops-private" }
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "Endpoints of AWS services: TLS from functions and jobs comes in."
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_egress_rule" "to_endpoints" {
  security_group_id            = aws_security_group.compute.id
  description                  = "TLS to the interface endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoints.id
}

resource "aws_vpc_security_group_egress_rule" "to_gateways" {
  for_each = aws_vpc_endpoint.gateway

  security_group_id = aws_security_group.compute.id
  description       = "TLS to ${each.key}"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = each.value.prefix_list_id
}

resource "aws_vpc_security_group_ingress_rule" "from_compute" {
  security_group_id            = aws_security_group.endpoints.id
  description                  = "TLS from functions and jobs"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.compute.id
}

# A training of several instances: its workers talk to each other, and to nobody else.
resource "aws_security_group" "training" {
  name        = "${var.name}-training"
  description = "Instances of one training job among themselves."
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-training" }
}

resource "aws_vpc_security_group_ingress_rule" "among_training" {
  security_group_id            = aws_security_group.training.id
  description                  = "From the other instances of the job"
  ip_protocol                  = "-1"
  referenced_security_group_id = aws_security_group.training.id
}

resource "aws_vpc_security_group_egress_rule" "among_training" {
  security_group_id            = aws_security_group.training.id
  description                  = "To the other instances of the job"
  ip_protocol                  = "-1"
  referenced_security_group_id = aws_security_group.training.id
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination_type     = "s3"
  log_destination          = "${var.flow_log_bucket_arn}/vpc-flow"
  max_aggregation_interval = 60

  destination_options {
    file_format                = "parquet"
    hive_compatible_partitions = true
    per_hour_partition         = true
  }
}
