"""Where ports meet AWS."""

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from botocore.exceptions import BotoCoreError, ClientError
from numpy.typing import NDArray

from radloop.aws.assembly import Assembly
from radloop.aws.audit import DynamoAudit
from radloop.aws.blobs import S3Blobs
from radloop.aws.buckets import S3Buckets
from radloop.aws.bus import EventBridgeBus
from radloop.aws.clients import client, translated
from radloop.aws.endpoint import Endpoint, Hosting
from radloop.aws.images import HealthImagingImages, Pixels
from radloop.aws.jobs import SqsJobs
from radloop.aws.keys import KmsKeys, kept_once
from radloop.aws.long_objects import LongObjects
from radloop.aws.meter import Emf, EmfWork
from radloop.aws.models import ModelPackages
from radloop.aws.people import People
from radloop.aws.pipelines import SageMakerPipelines
from radloop.aws.plans import BlobPlans
from radloop.aws.records import DynamoRecords
from radloop.aws.rights import WHOLE, rights_of
from radloop.aws.sagemaker import Places
from radloop.aws.seals import Seals
from radloop.aws.served import Describe, Frames, HealthImagingStore
from radloop.core.contracts import contracts
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.platform import Platform
from radloop.core.settings import Settings
from radloop.functions.rules import load_rules
from radloop.local.home import read_settings
from radloop.monitoring.catalogue import load_metrics
from radloop.pipeline.pipeline_builder import definition_of
from radloop.registry.models import RecordModels
from radloop.security.access import RolePolicy, load_roles
from radloop.store.described import Described, FrameFacts
from radloop.store.layers import LANE, STREAM, asked_for
from radloop.training.recipes import recipe_for

POLICY: Final = "training-data/radloop/policy.yaml"
"""Where the gate's own policy lies, if there is one."""

CAPTURED: Final = "s3://model-artifacts/captured"
"""Where what the endpoint answers is kept for the drift job."""

HTJ2K: Final = "image/jph"
"""The media type of what HealthImaging keeps losslessly; what came lossy and as HTJ2K has another."""

_REMEMBERED: Final = 8
_SEALED: Final = "radloop/secret"
_TRAINING: Final = "training-data"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Everything of one environment, wired."""

    platform: Platform
    images: HealthImagingImages
    assembly: Assembly
    pipelines: SageMakerPipelines
    packages: ModelPackages
    endpoint: Endpoint | None
    audit: DynamoAudit
    jobs: SqsJobs
    keys: KmsKeys
    emf: Emf
    work: EmfWork


def open_aws(environ: Mapping[str, str], function: str | None = None) -> Cloud:
    """An environment, by what Terraform tells its functions; nothing is asked of AWS yet.

    Args:
        environ: The variables that `contracts/functions.json` names; those that a function is not given are only
            missed by what it does not do.
        function: Whose rights these are, by its name in that contract; None is nobody's, and holds back nothing.

    Raises:
        NotFound: There is no such function.
        InvalidInput: A variable that every function has is missing, one cannot be read, or two contradict each other.
    """
    settings = _settings(environ)
    buckets = _named(environ, "RADLOOP_BUCKETS")
    _hold_together(environ, buckets)
    datastore = _told(environ, "HEALTHIMAGING_DATASTORE_ID")
    s3, sagemaker, imaging = client("s3"), client("sagemaker"), client("medical-imaging")
    rights = WHOLE if function is None else rights_of((contracts() / "functions.json").read_text(), function)
    table = _told(environ, "DYNAMODB_TRACKING_TABLE")
    records = DynamoRecords(client("dynamodb"), table, now, rights=rights)
    blobs = S3Blobs(s3, buckets, headers=_headers)
    keyring, queues = _named(environ, "RADLOOP_KEYS"), _named(environ, "RADLOOP_QUEUES")
    keys = _keys(s3, buckets, keyring)
    jobs = SqsJobs(
        records,
        client("sqs"),
        queues,
        now,
        lanes=rights.lanes,
        max_tries=settings.max_tries,
        backoff_s=settings.backoff_s,
    )
    rules = load_rules([(contracts() / "events" / "rules.json").read_text()], settings)
    audit = DynamoAudit(records, Seals(s3, _told(environ, "RADLOOP_AUDIT_BUCKET"), now, key=keyring.get("audit", "")))
    assembly = Assembly(
        records,
        now,
        s3=s3,
        imaging=imaging,
        buckets=buckets,
        datastore=datastore,
        role_arn=environ.get("RADLOOP_IMPORT_ROLE_ARN", ""),
        quiet_s=settings.study_quiet_s,
    )
    images = HealthImagingImages(
        blobs,
        records,
        keys,
        now,
        objects=LongObjects(s3, blobs),
        imaging=imaging,
        assembly=assembly,
        datastore=datastore,
        pixels=partial(_pixels, environ),
        follow_up=lambda image_set: [asked_for(image_set)] if LANE in queues else [],
    )
    places = Places(buckets)
    roles = load_roles((contracts() / "roles.json").read_text())
    packages = ModelPackages(
        sagemaker,
        records,
        environ.get("MODEL_PACKAGE_GROUP_NAME", ""),
        environ.get("RADLOOP_INFERENCE_IMAGE", ""),
        places,
        People(blobs, roles).of_arn,
    )
    has_packages = bool(packages.group)
    models = RecordModels(records, now, is_mirrored=True, told=packages.tell if has_packages else None)
    recipe = {**recipe_for(1, gpu=True), **settings.training}
    pipelines = SageMakerPipelines(
        sagemaker,
        records=records,
        blobs=blobs,
        clock=now,
        name=environ.get("SAGEMAKER_PIPELINE_NAME", ""),
        definition=definition_of(recipe, is_named_by_us=True),
        places=places,
        models=models,
        packages=packages,
        materialise=partial(_materialise, images),
    )
    platform = Platform(
        blobs=blobs,
        buckets=S3Buckets(),
        records=records,
        keys=keys,
        bus=EventBridgeBus(
            records, client("events"), _told(environ, "RADLOOP_BUS"), rules, jobs, sources=rights.sources
        ),
        jobs=jobs,
        images=images,
        policy=RolePolicy(roles),
        audit=audit,
        models=models,
        pipelines=pipelines,
        settings=settings,
        clock=now,
        recipe=lambda: dict(recipe),
        plans=BlobPlans(blobs),
        gate_policy=partial(_text_of, blobs, POLICY),
    )
    catalogue = load_metrics((contracts() / "metrics.json").read_text())
    emf = Emf(catalogue, now)
    work = EmfWork(catalogue, emf)
    audit.tell_waiting(work.audit_waits)
    return Cloud(
        platform,
        images,
        assembly,
        pipelines,
        packages,
        _endpoint(environ, keyring, places),
        audit,
        jobs,
        keys,
        emf,
        work,
    )


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def pixels_of(reader: Any) -> Pixels:
    """Reads all frames of an image set.

    Args:
        reader: A `radloop.healthimaging.HealthImaging`, which proves them by their checksums.
    """

    def read(image_set: str) -> Mapping[str, Sequence[NDArray[Any]]]:
        metadata = reader.metadata(image_set)
        frames = iter(reader.to_numpy(metadata))
        return {instance.sop_uid: [next(frames) for _ in instance.frames] for instance in metadata.instances}

    return read


def frames_of(reader: Any) -> Frames:
    """Asks HealthImaging for frames; the names of an image set's frames are remembered while it is read.

    Args:
        reader: A `radloop.healthimaging.HealthImaging`.
    """
    names: OrderedDict[str, dict[tuple[str, int], str]] = OrderedDict()
    guard = Lock()

    def frame(image_set: str, sop_uid: str, number: int) -> bytes | None:
        with guard:
            known = names.get(image_set)
        if known is None or (sop_uid, number) not in known:
            metadata = reader.metadata(image_set)
            known = {
                (one.sop_uid, place): each.id for one in metadata.instances for place, each in enumerate(one.frames)
            }
            with guard:
                names[image_set] = known
                while len(names) > _REMEMBERED:
                    names.popitem(last=False)
        name = known.get((sop_uid, number))
        if name is None:
            return None
        found = reader.frame(image_set, name)
        return bytes(found.data) if found.content_type == HTJ2K else None

    return frame


def store_of(cloud: Cloud, reader: Any) -> HealthImagingStore:
    """The image store that doors ask.

    Args:
        cloud: The environment.
        reader: A `radloop.healthimaging.HealthImaging` on its data store.
    """
    ports = cloud.platform
    return HealthImagingStore(
        ports.blobs,
        ports.records,
        ports.keys,
        ports.clock,
        images=cloud.images,
        frames=frames_of(reader),
        describe=described_by(reader),
    )


def described_by(reader: Any) -> Describe:
    """Asks HealthImaging what it tells of the instances of an image set.

    Args:
        reader: A `radloop.healthimaging.HealthImaging`.
    """

    def describe(image_set: str) -> Mapping[str, Described]:
        try:
            metadata = reader.metadata(image_set)
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "medical-imaging") from error
        return {one.sop_uid: _described(one) for one in metadata.instances}

    return describe


def _described(told: Any) -> Described:
    facts = tuple(FrameFacts(each.checksums, each.least, each.greatest, each.size_bytes) for each in told.frames)
    return Described(told.attributes, told.vrs, told.transfer_syntax, facts)


def reader_of(environ: Mapping[str, str]) -> Any:
    """The HealthImaging client of an environment."""
    from radloop.healthimaging import HealthImaging  # noqa: PLC0415 — the codecs take 30 MB, which few functions need

    is_plain = environ.get("AWS_DISABLE_HOST_PREFIX_INJECTION", "").lower() == "true"
    endpoint = environ.get("AWS_ENDPOINT_URL_MEDICAL_IMAGING") or None
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    datastore = _told(environ, "HEALTHIMAGING_DATASTORE_ID")
    return HealthImaging(datastore, endpoint=endpoint, region=region, runtime_host=not is_plain)


def _pixels(environ: Mapping[str, str], image_set: str) -> Mapping[str, Sequence[NDArray[Any]]]:
    return pixels_of(reader_of(environ))(image_set)


def _materialise(images: HealthImagingImages, line: Mapping[str, Any], folder: Path) -> None:
    path = folder / str(line["file"])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, images.volume(str(line["image_set"])))


def _keys(s3: Any, buckets: Mapping[str, str], keyring: Mapping[str, str]) -> KmsKeys:
    keys: KmsKeys
    secret: Callable[[], bytes] = lambda: kept_once(s3, buckets[_TRAINING], _SEALED, keys.create_secret)  # noqa: E731
    keys = KmsKeys(client("kms"), keyring.get("training", ""), domain="training", secret=secret)
    return keys


def _endpoint(environ: Mapping[str, str], keyring: Mapping[str, str], places: Places) -> Endpoint | None:
    """The endpoint, where Terraform was told to have one."""
    name = environ.get("INFERENCE_ENDPOINT_NAME", "")
    if not name:
        return None
    hosting = Hosting(
        role=_told(environ, "SAGEMAKER_ROLE_ARN"),
        image=_told(environ, "RADLOOP_INFERENCE_IMAGE"),
        key=keyring.get("models", ""),
        captured=CAPTURED,
        subnets=tuple(_told(environ, "RADLOOP_SUBNETS").split(",")),
        security_groups=tuple(_told(environ, "RADLOOP_SECURITY_GROUPS").split(",")),
    )
    return Endpoint(client("sagemaker"), client("sagemaker-runtime"), name=name, hosting=hosting, places=places)


def _settings(environ: Mapping[str, str]) -> Settings:
    """Those of RADLOOP_SETTINGS, and the gate's threshold, which the brief gives a variable of its own.

    Raises:
        InvalidInput: The two tell different thresholds.
    """
    values: dict[str, Any] = _json(environ, "RADLOOP_SETTINGS") if environ.get("RADLOOP_SETTINGS") else {}
    if environ.get("ACCURACY_THRESHOLD"):
        threshold = float(environ["ACCURACY_THRESHOLD"])
        if values.get("accuracy_threshold", threshold) != threshold:
            raise InvalidInput("the variables ACCURACY_THRESHOLD and RADLOOP_SETTINGS contradict each other")
        values = {**values, "accuracy_threshold": threshold}
    return read_settings(values)


def _hold_together(environ: Mapping[str, str], buckets: Mapping[str, str]) -> None:
    """The brief gives a function's bucket, table and pipeline variables of their own; ours name all of them at once.

    Whoever changes one alone must hear of it: else the function would go on with the other.

    Raises:
        InvalidInput: A variable names something else than ours.
    """
    ours = {
        "S3_INGESTION_BUCKET": buckets.get(_TRAINING),
        "TRAINING_DATA_BUCKET": buckets.get(_TRAINING),
        "TEST_DATA_BUCKET": buckets.get("preprocessed-data"),
        "MODEL_ARTIFACTS_BUCKET": buckets.get("model-artifacts"),
        "DYNAMODB_METRICS_TABLE": environ.get("DYNAMODB_TRACKING_TABLE"),
    }
    wrong = [name for name, value in ours.items() if environ.get(name, value) != value]
    name, arn = environ.get("SAGEMAKER_PIPELINE_NAME", ""), environ.get("SAGEMAKER_PIPELINE_ARN", "")
    if arn and arn.rpartition("/")[2] != name.lower():  # SageMaker writes ARNs in small letters
        wrong.append("SAGEMAKER_PIPELINE_ARN")
    if wrong:
        raise InvalidInput(f"variables contradict the others: {', '.join(wrong)}")


def _told(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise InvalidInput(f"the variable {name} is missing")
    return value


def _named(environ: Mapping[str, str], name: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in _json(environ, name).items()}


def _json(environ: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = json.loads(_told(environ, name))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidInput(f"the variable {name} is no JSON object")
    return found


def _headers(key: str) -> dict[str, str] | None:
    """What S3 says to CloudFront with the files of static layers, which never change."""
    if not key.startswith(f"{STREAM}packs/"):
        return None
    told = {"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": "application/octet-stream"}
    return {**told, "Content-Encoding": "gzip"} if key.endswith("/index") else told


def _text_of(blobs: S3Blobs, key: str) -> str:
    try:
        return blobs.get(key).decode()
    except NotFound:
        return ""
