mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  name                = "radloop-test"
  region              = "eu-west-1"
  account_id          = "123456789012"
  flow_log_bucket_arn = "arn:aws:s3:::radloop-logs-test-123456789012"
}

run "the_network_is_private_in_two_zones" {
  command = plan

  assert {
    condition = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == {
      eu-west-1a = "10.0.10.0/24"
      eu-west-1b = "10.0.20.0/24"
    }
    error_message = "The private subnets of the plan."
  }

  assert {
    condition = (
      length(aws_nat_gateway.this) + length(aws_internet_gateway.this) + length(aws_subnet.public)
      + length(aws_eip.nat) + length(aws_route.internet) + length(aws_route.out) == 0
    )
    error_message = "No way to the internet by default."
  }

  assert {
    condition     = !anytrue([for subnet in aws_subnet.private : subnet.map_public_ip_on_launch])
    error_message = "No public address in a private subnet."
  }
}

run "nothing_comes_in_and_tls_goes_to_endpoints" {
  command = plan

  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.from_compute.from_port == 443
      && aws_vpc_security_group_ingress_rule.from_compute.to_port == 443
      && aws_vpc_security_group_egress_rule.to_endpoints.from_port == 443
      && alltrue([for rule in aws_vpc_security_group_egress_rule.to_gateways : rule.from_port == 443 && rule.prefix_list_id != null])
      && length(aws_vpc_security_group_egress_rule.to_internet) == 0
    )
    error_message = "443 between compute and endpoints, nothing else."
  }

  assert {
    condition     = length(aws_default_security_group.this.ingress) == 0 && length(aws_default_security_group.this.egress) == 0
    error_message = "The default group is empty."
  }
}

run "every_service_that_is_called_has_its_endpoint" {
  command = plan

  assert {
    condition     = toset(keys(aws_vpc_endpoint.gateway)) == toset(["s3", "dynamodb"])
    error_message = "S3 and DynamoDB by gateway, which costs nothing."
  }

  assert {
    condition = toset(keys(aws_vpc_endpoint.interface)) == toset([
      "medical-imaging", "runtime-medical-imaging", "sagemaker.api", "sagemaker.runtime", "events", "sqs", "sns", "kms",
      "secretsmanager", "logs", "monitoring", "ecr.api", "ecr.dkr", "sts",
    ])
    error_message = "The brief's five and the nine it forgot."
  }

  assert {
    condition = alltrue([
      for service, endpoint in aws_vpc_endpoint.interface :
      endpoint.private_dns_enabled && endpoint.service_name == "com.amazonaws.eu-west-1.${service}"
    ])
    error_message = "Under the service's own name, so that no client is configured."
  }

  assert {
    condition = alltrue(flatten([
      for endpoint in concat(values(aws_vpc_endpoint.interface), values(aws_vpc_endpoint.gateway)) : [
        for s in jsondecode(endpoint.policy).Statement :
        s.Condition.StringEquals["aws:PrincipalAccount"] == "123456789012"
        && !anytrue([for action in s.Action : strcontains(action, "*")])
        if s.Sid != "ContainerLayers"
      ]
    ]))
    error_message = "An endpoint lets named actions of our account through."
  }

  assert {
    condition = alltrue([
      for s in jsondecode(aws_vpc_endpoint.gateway["s3"].policy).Statement :
      s.Sid == "ContainerLayers" ? s.Resource == ["arn:aws:s3:::prod-eu-west-1-starport-layer-bucket/*"] : s.Condition.StringEquals["aws:ResourceAccount"] == "123456789012"
    ])
    error_message = "Objects are written to buckets of our account only."
  }
}

run "traffic_is_logged" {
  command = plan

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_flow_log.this.log_destination == "arn:aws:s3:::radloop-logs-test-123456789012/vpc-flow"
    error_message = "All traffic, below vpc-flow/."
  }
}

run "a_nat_is_made_when_it_is_asked_for" {
  command = plan

  variables {
    enable_nat = true
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 2 && [for subnet in aws_subnet.public : subnet.cidr_block] == ["10.0.1.0/24", "10.0.2.0/24"]
    error_message = "One in each zone, in the public subnets of the plan."
  }
}

