"""SageMaker's endpoints as far as we use them, for what moto lacks: changes that last, UpdateEndpoint, and answers.

They stand behind real boto3 clients: botocore checks every request against SageMaker's own service models before it
comes here. The container answers with what it was given: the version in its environment and where its package lies.
"""

import io
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import boto3
from botocore import xform_name
from botocore.response import StreamingBody

from tests.aws.emulators import ACCOUNT, REGION

_PREFIX = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
_STEADY = "InService"


class PretendedEndpoints:
    """Endpoints that take effect when `settle` is called; until then the one before answers, as at SageMaker."""

    def __init__(self) -> None:
        self.client = boto3.client("sagemaker", region_name=REGION)
        self.runtime = boto3.client("sagemaker-runtime", region_name=REGION)
        for one, service in ((self.client, "sagemaker"), (self.runtime, "sagemaker-runtime")):
            one.meta.events.register(f"before-call.{service}", self._answer)
        self.models: dict[str, dict[str, Any]] = {}
        self.configurations: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, str]] = {}
        self.changes = 0

    def settle(self) -> None:
        """What was on its way is there."""
        for endpoint in self.endpoints.values():
            endpoint.update(status=_STEADY, serving=endpoint["wanted"])

    def _answer(self, model: Any, params: Mapping[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        if model.name == "InvokeEndpoint":
            name = params["url_path"].split("/")[2]
            told = self._invoked(name)
        else:
            told = getattr(self, f"_{xform_name(model.name)}")(json.loads(params["body"]))
        return SimpleNamespace(status_code=400 if "Error" in told else 200), told

    def _invoked(self, name: str) -> dict[str, Any]:
        endpoint = self.endpoints.get(name)
        if endpoint is None or not endpoint["serving"]:
            return _refused("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        variant = self.configurations[endpoint["serving"]]["ProductionVariants"][0]
        container = self.models[variant["ModelName"]]["PrimaryContainer"]
        said = {"version": container["Environment"]["RADLOOP_MODEL_VERSION"], "package": container["ModelDataUrl"]}
        body = json.dumps(said).encode()
        return {"Body": StreamingBody(io.BytesIO(body), len(body)), "ContentType": "application/json"}

    def _create_model(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._made(self.models, asked["ModelName"], asked, {"ModelArn": f"{_PREFIX}:model/x"})

    def _create_endpoint_config(self, asked: dict[str, Any]) -> dict[str, Any]:
        answer = {"EndpointConfigArn": f"{_PREFIX}:endpoint-config/x"}
        for variant in asked["ProductionVariants"]:
            if variant["ModelName"] not in self.models:
                return _refused("ValidationException", "Could not find model.")
        return self._made(self.configurations, asked["EndpointConfigName"], asked, answer)

    def _create_endpoint(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = {"wanted": asked["EndpointConfigName"], "serving": "", "status": "Creating"}
        return self._made(self.endpoints, asked["EndpointName"], made, {"EndpointArn": f"{_PREFIX}:endpoint/x"})

    def _update_endpoint(self, asked: dict[str, Any]) -> dict[str, Any]:
        endpoint = self.endpoints.get(asked["EndpointName"])
        if endpoint is None:
            return _missing()
        if endpoint["status"] != _STEADY:
            return _refused("ValidationException", "Cannot update in-progress endpoint.")
        self.changes += 1
        endpoint.update(wanted=asked["EndpointConfigName"], status="Updating")
        return {"EndpointArn": f"{_PREFIX}:endpoint/x"}

    def _describe_endpoint(self, asked: dict[str, Any]) -> dict[str, Any]:
        endpoint = self.endpoints.get(asked["EndpointName"])
        if endpoint is None:
            return _missing()
        return {"EndpointStatus": endpoint["status"], "EndpointConfigName": endpoint["serving"] or endpoint["wanted"]}

    def _delete_endpoint(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.endpoints.pop(asked["EndpointName"], None) is None:
            return _missing()
        self.changes += 1
        return {}

    def _made(self, kept: dict[str, Any], name: str, what: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        if name in kept:
            return _refused("ValidationException", "Cannot create already existing resource.")
        self.changes += 1
        kept[name] = what
        return answer


def _missing() -> dict[str, Any]:
    return _refused("ValidationException", "Could not find endpoint.")


def _refused(code: str, message: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
