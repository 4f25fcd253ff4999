"""Model versions as a real-time endpoint of SageMaker.

An endpoint costs money around the clock, so there is none unless an installation names one. The champion answers; the
shadow is asked the same and nobody is told. Names follow from what they stand for (`<endpoint>-v7-1a2b...`), so that
doing a thing twice is doing it once, and an endpoint changes where, and only where, what it should be has changed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import code_of, translated
from radloop.aws.sagemaker import Places, call
from radloop.core.errors import Conflict, Corrupt, InvalidInput, NotFound, Unavailable
from radloop.core.identity import derived_id
from radloop.core.ports import Blobs, Models, ModelVersion, Span
from radloop.registry.ledger import APPROVED

CREATED, UPDATED, UNCHANGED, CHANGING, REMOVED = "created", "updated", "unchanged", "changing", "removed"

_CHAMPION, _SHADOW = "champion", "shadow"
SERVED: Final = "model-artifacts/serving"
"""Where the package of the version that serves lies for the drift job: `model.tar.gz`, and `version`, whose it is."""

_STEADY: Final = "InService"
_AS_NAMED: Final = (_STEADY, "Creating", "SystemUpdating")
"""States in which an endpoint serves, or will, what it names; one that is updated names what it served before."""

_BROKEN: Final = ("Failed", "UpdateRollbackFailed")
"""States out of which SageMaker lets an endpoint only be deleted."""

_DIGITS: Final = 12
_LONGEST_NAME: Final = 40  # of 63, for what names of models add
_JSON: Final = "application/json"
_SENDER: Final = range(400, 500)
_CHUNK_BYTES: Final = 8 << 20
_TAKEN: Final = ("already exist", "already existing")


@dataclass(frozen=True, slots=True)
class Hosting:
    """What versions run on.

    Attributes:
        role: ARN of the role that containers run under.
        image: Address of the inference image.
        key: KMS key of the disks and of what is captured.
        instance_type: Of the endpoint.
        instance_count: Two and more are spread over availability zones.
        captured: Where what the endpoint answers is kept for the drift job, as `s3://` address of ours; "" for nowhere.
        subnets: Of the VPC that containers run in; empty for none.
        security_groups: Of the containers, in that VPC.
    """

    role: str
    image: str
    key: str
    instance_type: str = "ml.m5.large"
    instance_count: int = 1
    captured: str = ""
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How an endpoint stands.

    Attributes:
        status: As SageMaker tells it: InService, Creating, Updating, Failed and others.
        configuration: Name of what it runs or is on the way to.
        reason: Why it failed.
    """

    status: str
    configuration: str
    reason: str = ""


class Endpoint:
    """One endpoint.

    Args:
        client: Of SageMaker.
        runtime: Of SageMaker's runtime.
        name: Of the endpoint.
        hosting: What it runs on.
        places: Where blobs lie in S3.

    Raises:
        InvalidInput: The name is too long.
    """

    def __init__(self, client: Any, runtime: Any, *, name: str, hosting: Hosting, places: Places) -> None:
        if len(name) > _LONGEST_NAME:
            raise InvalidInput(f"the name of an endpoint has at most {_LONGEST_NAME} characters")
        self._client = client
        self._runtime = runtime
        self._name = name
        self._hosting = hosting
        self._places = places

    def follow(self, models: Models) -> str:
        """Have the endpoint serve what the ledger says, and take it away where no version serves.

        Returns:
            created, updated, unchanged or removed; `changing` where it is still on the way to something else, or broke
            and is being removed, which takes some minutes: ask again then.

        Raises:
            Unavailable: SageMaker does not answer now.
        """
        champion = models.champion()
        return self.remove() if champion is None else self.deploy(champion, models.shadow())

    def deploy(self, champion: ModelVersion, shadow: ModelVersion | None = None) -> str:
        """Have the endpoint serve `champion`, with `shadow` asked beside it; returns as `follow`.

        Raises:
            Conflict: The champion is not an approved version.
            Unavailable: SageMaker does not answer now.
        """
        if champion.status != APPROVED:
            raise Conflict(f"model version {champion.version} is {champion.status}; only an approved version can serve")
        wanted = self._configured(champion, shadow)
        there = self.standing()
        if there is None:
            call(self._client.create_endpoint, EndpointName=self._name, EndpointConfigName=wanted)
            return CREATED
        if there.status in _BROKEN:
            self.remove()
            return CHANGING
        if there.configuration == wanted and there.status in _AS_NAMED:
            return UNCHANGED
        if there.status != _STEADY:
            return CHANGING
        call(self._client.update_endpoint, EndpointName=self._name, EndpointConfigName=wanted)
        return UPDATED

    def standing(self) -> Standing | None:
        """How it stands; None where it is not there."""
        try:
            told = call(self._client.describe_endpoint, EndpointName=self._name)
        except NotFound:
            return None
        return Standing(told["EndpointStatus"], told.get("EndpointConfigName", ""), told.get("FailureReason", ""))

    def remove(self) -> str:
        """Take the endpoint away; taking away what is not there is not an error."""
        try:
            call(self._client.delete_endpoint, EndpointName=self._name)
        except NotFound:
            return UNCHANGED
        return REMOVED

    def invoke(self, study: bytes, content_type: str) -> dict[str, Any]:
        """What the champion says of a study: see `radloop.serving.server`.

        Raises:
            NotFound: There is no endpoint.
            InvalidInput: The container does not take the study.
            Unavailable: The endpoint does not answer now.
            Corrupt: The answer is not JSON.
        """
        try:
            told = self._runtime.invoke_endpoint(
                EndpointName=self._name, ContentType=content_type, Accept=_JSON, Body=study
            )
            value = json.loads(told["Body"].read())
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and code_of(error) == "ModelError":
                if int(error.response.get("OriginalStatusCode", 500)) in _SENDER:
                    raise InvalidInput("the model does not take this study") from error
                raise Unavailable("the model's container failed") from error
            if isinstance(error, ClientError) and "not found" in str(error).lower():
                raise NotFound("there is no such endpoint") from error
            raise translated(error, "SageMaker's runtime") from error
        except ValueError:
            raise Corrupt("the answer of the endpoint is not JSON") from None
        if not isinstance(value, dict):
            raise Corrupt("the answer of the endpoint is not an object")
        return value

    # What it is made of

    def _configured(self, champion: ModelVersion, shadow: ModelVersion | None) -> str:
        """The configuration for these versions, made where it is not there yet."""
        hosting = self._hosting
        wanted: dict[str, Any] = {
            "ProductionVariants": [self._variant(_CHAMPION, champion)],
            "KmsKeyId": hosting.key,
        }
        if shadow is not None:
            wanted["ShadowProductionVariants"] = [self._variant(_SHADOW, shadow)]
        if hosting.captured:
            wanted["DataCaptureConfig"] = {
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": self._places.placed(hosting.captured),
                "KmsKeyId": hosting.key,
                "CaptureOptions": [{"CaptureMode": "Output"}],  # numbers; what came in is a patient's image
                "CaptureContentTypeHeader": {"JsonContentTypes": [_JSON]},
            }
        name = f"{self._name}-{derived_id('configuration', json.dumps(wanted, sort_keys=True))[:_DIGITS]}"
        self._ensure(self._client.create_endpoint_config, EndpointConfigName=name, **wanted)
        return name

    def _variant(self, role: str, model: ModelVersion) -> dict[str, Any]:
        return {
            "VariantName": role,
            "ModelName": self._model(model),
            "InstanceType": self._hosting.instance_type,
            "InitialInstanceCount": self._hosting.instance_count,
            "InitialVariantWeight": 1.0,
        }

    def _model(self, model: ModelVersion) -> str:
        """The version as a model of SageMaker, made where it is not there yet; another image is another model."""
        hosting = self._hosting
        digest = derived_id("model", model.artifact, *(str(value) for value in asdict(hosting).values()))[:_DIGITS]
        name = f"{self._name}-v{model.version}-{digest}"
        network: Mapping[str, Any] = {}
        if hosting.subnets:
            groups = list(hosting.security_groups)
            network = {"VpcConfig": {"Subnets": list(hosting.subnets), "SecurityGroupIds": groups}}
        self._ensure(
            self._client.create_model,
            ModelName=name,
            PrimaryContainer={
                "Image": hosting.image,
                "ModelDataUrl": self._places.uri(model.artifact),
                "Environment": {"RADLOOP_MODEL_VERSION": str(model.version)},
            },
            ExecutionRoleArn=hosting.role,
            EnableNetworkIsolation=True,
            **network,
        )
        return name

    def _ensure(self, operation: Any, **arguments: Any) -> None:
        """Create something whose name follows from what it is; where it is there already, it is the same."""
        try:
            operation(**arguments)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and _is_taken(error):
                return
            raise translated(error, "SageMaker") from error


def publish(model: ModelVersion, blobs: Blobs) -> bool:
    """Copy the package of the version that serves to where the drift job finds it; False where it is there already.

    Raises:
        NotFound: The package is gone.
    """
    told = f"{model.version} {model.artifact}".encode()
    if f"{SERVED}/version" in set(blobs.keys(f"{SERVED}/")) and blobs.get(f"{SERVED}/version") == told:
        return False
    place = 0
    with blobs.writer(f"{SERVED}/model.tar.gz") as writer:
        while piece := blobs.get(model.artifact, Span(place, place + _CHUNK_BYTES)):
            writer.write(piece)
            place += len(piece)
    blobs.put(f"{SERVED}/version", told)
    return True


def _is_taken(error: ClientError) -> bool:
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    return code_of(error) == "ResourceInUse" or any(text in message for text in _TAKEN)
