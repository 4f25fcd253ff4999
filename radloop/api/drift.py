"""Whether what comes in is still what the model in use was made from, over HTTP."""

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.functions.drift import drift_status


def get_drift(ask: Ask) -> Response:
    """Where the watch over the model in use stands."""
    return as_json(drift_status(ask.doors.platform))
