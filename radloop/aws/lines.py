"""Lines of the functions' logs: written by the formatter of aws-lambda-powertools, in the shape of ours.

`contracts/log-line.json` is the schema, on one machine as on AWS; here `group` is the function's own log group. What
powertools adds of its own (X-Ray's trace, the name of an exception) stands beside it.
"""

import logging
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

_FIRST = ("time", "level", "group", "logger", "message", "trace")


class LambdaLines(LambdaPowertoolsFormatter):
    """One JSON object a line; what is said of a call (`append_keys`) stands in each of its lines.

    A message is told as the text it is, also where it is JSON itself: the contract has no objects in a line.
    """

    def __init__(self) -> None:
        super().__init__(
            log_record_order=list(_FIRST),
            json_deserializer=str,
            utc=True,
            use_rfc3339=True,
            serialize_stacktrace=False,
            location=None,
            service="radloop",
        )

    def format(self, record: logging.LogRecord) -> str:
        """See `LambdaPowertoolsFormatter.format`."""
        record.logger = record.name  # what a record has beyond the usual is told
        return str(super().format(record))

    def serialize(self, log: Any) -> str:
        """See `LambdaPowertoolsFormatter.serialize`."""
        line: dict[str, Any] = dict(log)
        fields: Mapping[str, Any] = line.pop("fields", {})
        said = {
            "time": str(line.pop("timestamp")).replace("+00:00", "Z"),
            "group": f"lambda/{str(line.get('function', '')).replace('_', '-')}",
            "trace": line.get("trace") or self.log_format.get("trace") or "",
        }
        told = {**line, **said, **fields}
        return str(self.json_serializer({name: told[name] for name in (*_FIRST, *told)}))
