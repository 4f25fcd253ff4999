# The one table of records. Its keys, indexes and streams stand in contracts/table.json, which the code reads too.

resource "aws_dynamodb_table" "this" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = var.schema.hash
  range_key                   = var.schema.range
  deletion_protection_enabled = true
  stream_enabled              = var.schema.streams != null
  stream_view_type            = var.schema.streams

  dynamic "attribute" {
    for_each = var.schema.attributes

    content {
      name = attribute.value.name
      type = attribute.value.type
    }
  }

  dynamic "global_secondary_index" {
    for_each = var.schema.indexes

    content {
      name            = global_secondary_index.value.name
      hash_key        = global_secondary_index.value.hash
      range_key       = global_secondary_index.value.range
      projection_type = global_secondary_index.value.projection
    }
  }

  dynamic "ttl" {
    for_each = var.schema.ttl == null ? [] : [var.schema.ttl]

    content {
      enabled        = true
      attribute_name = ttl.value
    }
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = var.recovery_days
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.key_arn
  }
}
