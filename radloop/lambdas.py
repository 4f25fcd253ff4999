"""The entries of AWS Lambda: what AWS tells is put into our words, and the functions of `functions/` do the work.

A function is woken by an event (of our own bus, or of an AWS service on the default bus), by messages of a queue, or by
a schedule; `contracts/functions.json` says by which. Delivery is at least once everywhere, and every function stands a
repeat. What goes wrong is raised, so that it is delivered again and ends in a dead-letter queue and an alarm; of an
error only our code or its type is told, because the message of a foreign one may hold a patient's data.

Batches, idempotency and the shape of log lines and of metrics are aws-lambda-powertools'. An event of ours that a
function has done is noted by its id, in our own table, and not done again within a week (`aws.repeats`).
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from radloop.aws.assembly import KIND as ASSEMBLE
from radloop.aws.assembly import LARGEST_IMPORT
from radloop.aws.blobs import is_key
from radloop.aws.endpoint import publish
from radloop.aws.images import LONGEST_HELD
from radloop.aws.jobs import marks_of
from radloop.aws.lines import LambdaLines
from radloop.aws.models import ByHand
from radloop.aws.origin import Origin, origin_of
from radloop.aws.repeats import once
from radloop.core.errors import InvalidInput, RadloopError, Unavailable
from radloop.core.events import IMAGING, MLOPS, MONITORING, AlarmStateChanged, Event, event_of
from radloop.core.identity import SYSTEM
from radloop.core.ports import Change, Claim, Delete, Term
from radloop.core.predictions import SHADOW
from radloop.core.tables import DELIVERIES
from radloop.functions import bulk_ingestion as bulk
from radloop.functions.catalogue import FUNCTIONS
from radloop.functions.draft_landing import Limits, drafts_of, give_up, land_draft
from radloop.functions.error_logging import handle as write_down
from radloop.functions.image_ingestion import take_in
from radloop.functions.incidents import IncidentWatch
from radloop.functions.model_registry import take_over
from radloop.monitoring.figures import collect
from radloop.registry.ledger import APPROVED
from radloop.registry.models import MIRROR
from radloop.store.drafts import KIND as LAND
from radloop.store.erasing import KIND as ERASE
from radloop.store.layers import KIND as LAY_DOWN
from radloop.wiring_aws import Cloud, open_aws

if TYPE_CHECKING:
    from radloop.functions.layers import LayDown

Told = Mapping[str, Any]
"""What AWS hands to a function, as it stands there."""

LONGEST_BESIDE = LONGEST_HELD
"""Bytes of the longest object that is taken in beside others: it is held in memory, and twice while it is written."""

LONGEST_UPLOAD = LARGEST_IMPORT
"""Bytes of the longest object or file that is taken in at all: HealthImaging takes no longer one."""

LANDING_S = 600.0
"""Seconds after which another call goes on with the landing of an upload in pieces."""

_NAMED: Final = "its name has empty parts, '.', '..' or control characters; it lies where it was put: name it otherwise"
_OURS: Final = frozenset({IMAGING, MLOPS, MONITORING})
_REMEMBERED: Final = timedelta(days=8)
_FORGOTTEN_AT_ONCE: Final = 500
_LOG: Final = logging.getLogger("radloop.lambdas")


class Failed(Exception):
    """A function did not do its work; the message is a code."""


class _NotYet(Unavailable):
    """Nothing is wrong, but something else must end first: the job comes again."""


@cache
def _cloud(name: str) -> Cloud:
    """Made once an execution environment, which Lambda keeps from one call to the next, with the function's rights."""
    return open_aws(os.environ, name.replace("_", "-"))


# Entries


def image_ingestion(told: Told, context: Any) -> Any:
    """Objects of S3 are landed; what an import job made is taken up."""
    return _served("image_ingestion", told, context)


def bulk_ingestion(told: Told, context: Any) -> Any:
    """A long object is landed, or an upload in pieces that is complete; once an hour abandoned uploads go."""
    return _served("bulk_ingestion", told, context)


def study_assembly(told: Told, context: Any) -> Any:
    """A study that is quiet becomes one import job; what hung on a deleted image set is deleted."""
    return _served("study_assembly", told, context)


def pipeline_trigger(told: Told, context: Any) -> Any:
    """New ground truth becomes a data set, and an execution is asked for."""
    return _served("pipeline_trigger", told, context)


def pipeline_run(told: Told, context: Any) -> Any:
    """An execution is staged and started; the package group is brought in step with the ledger."""
    return _served("pipeline_run", told, context)


def model_evaluation(told: Told, context: Any) -> Any:
    """What SageMaker tells of an execution is taken over; an evaluation becomes known."""
    return _served("model_evaluation", told, context)


def model_registry(told: Told, context: Any) -> Any:
    """A version the gate let through is approved or held."""
    return _served("model_registry", told, context)


def error_logging(told: Told, context: Any) -> Any:
    """What went wrong is written down."""
    return _served("error_logging", told, context)


def stream_layers(told: Told, context: Any) -> Any:
    """What a viewer streams of a new version is laid down as files, for CloudFront."""
    return _served("stream_layers", told, context)


def prediction(told: Told, context: Any) -> Any:
    """The model in use looks at an image set."""
    return _served("prediction", told, context)


def drift(told: Told, context: Any) -> Any:
    """Ground truth is held against what the model in use had said."""
    return _served("drift", told, context)


def drift_retraining(told: Told, context: Any) -> Any:
    """A drift alarm starts a retraining, where that is allowed."""
    return _served("drift_retraining", told, context)


def gauges(told: Told, context: Any) -> Any:
    """Once an hour: the metrics that follow from the records."""
    return _served("gauges", told, context)


def outbox(told: Told, context: Any) -> Any:
    """Once a minute: what a crash left untold or unlooked at is told and looked at, and the audit is sealed."""
    return _served("outbox", told, context)


def api(told: Told, context: Any) -> Any:
    """The platform API behind an HTTP API of API Gateway (payload format 2.0): the same application as everywhere.

    Where CloudFront stands before it, who asks API Gateway beside it is refused before anything else is done.
    """
    with _telling("api", {"detail-type": "request"}, context):
        origin = _origin()
        refusal = origin.refusal(told)
        if refusal is not None:
            return refusal
        with _tidied("api", _cloud("api")):
            return _application()(origin.opened(told), context)


@cache
def _origin() -> Origin:
    return origin_of(os.environ)


@cache
def _application() -> Callable[[Told, Any], Any]:
    from radloop.doors_aws import application  # noqa: PLC0415 — no other function needs the doors

    return application(_cloud("api"), os.environ)


# How an entry is served


def _served(name: str, told: Told, context: Any) -> Any:
    """Do the work that `told` asks of a function; the answer is what Lambda wants of a batch, else nothing.

    Raises:
        Failed: It was not done.
    """
    with _telling(name, told, context):
        cloud = _cloud(name)
        with _tidied(name, cloud) as run:
            if "Records" in told:
                return _messages(name, told["Records"], cloud, run)
            if name in _SCHEDULED:
                return _SCHEDULED[name](cloud)
            return _event(name, told, cloud)


@dataclass(slots=True)
class _Run:
    """A call of a function, which fails where one of its messages fails: Lambda itself sees none of these."""

    cloud: Cloud
    is_ok: bool = True

    def failed(self, error: Exception) -> None:
        """Count what one message or the call came to; what only has to wait is no failure."""
        if isinstance(error, _NotYet):
            return
        self.is_ok = False
        if isinstance(error, Unavailable):
            self.cloud.work.store_failed()

    def tried(self, work: Callable[[Claim], None], claim: Claim) -> None:
        """Do a job; that it failed is counted."""
        try:
            work(claim)
        except Exception as error:
            self.failed(error)
            raise


@contextmanager
def _tidied(name: str, cloud: Cloud) -> Iterator[_Run]:
    """Whatever comes of a call: what it counted is told, and what it left in the outbox sent.

    Each of these is done though another fails. The audit goes first: what it cannot write is told as waiting.
    """
    run = _Run(cloud)
    with ExitStack() as tidying:
        tidying.callback(cloud.platform.bus.route)
        tidying.callback(lambda: cloud.work.flush(time.time()))
        tidying.callback(cloud.audit.flush)
        tidying.callback(lambda: cloud.work.ran(name, is_ok=run.is_ok))
        try:
            yield run
        except Exception as error:
            run.failed(error)
            raise


def _messages(name: str, records: Sequence[Told], cloud: Cloud, run: _Run) -> Told:
    """Work on a batch; those of its messages that must come again are named (ReportBatchItemFailures)."""
    bodies = [json.loads(record["body"]) for record in records]
    if not all("detail-type" in body for body in bodies):
        work, gave_up = partial(run.tried, partial(_job, cloud)), partial(_given_up, cloud)
        again = cloud.jobs.serve(records, work, gave_up=gave_up, about=lambda claim: _traced(claim.job.trace))
        return {"batchItemFailures": [{"itemIdentifier": each} for each in again]}
    if name == "image_ingestion":
        try:
            take_in(filter(None, [_short(body, cloud) for body in bodies]), cloud.platform)
        except Exception as error:  # noqa: BLE001 — whichever of them it was is found one by one
            _LOG.warning("a batch is taken in one by one: %s", _cause(error))
        else:
            return {"batchItemFailures": []}

    def one(record: SQSRecord) -> None:
        body = json.loads(record.body)
        with _traced(_trace(body)):
            try:
                _event(name, body, cloud)
            except Exception as error:
                _LOG.warning("a message failed: %s", _cause(error))
                run.failed(error)
                raise

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return dict(process_partial_response({"Records": list(records)}, one, processor))


def _event(name: str, told: Told, cloud: Cloud) -> None:
    """One event: ours goes to the function of this name, those of AWS services are put into our words first.

    Raises:
        InvalidInput: Nothing here waits for such an event.
    """
    service = _SERVICES.get((told.get("source", ""), told.get("detail-type", "")))
    if name == "error_logging" and service is not None:
        _went_wrong(told, cloud)
    elif service is not None:
        service(told, cloud)
    elif told.get("source") in _OURS and name in FUNCTIONS:
        _once(name, told, cloud)
    else:
        raise InvalidInput(f"{name} waits for no event of this source and type")


def _once(name: str, told: Told, cloud: Cloud) -> None:
    """Let a function do an event, unless it has done it."""
    event, platform = event_of(told), cloud.platform
    delivery = "/".join((event.id, *marks_of(told)))
    work = partial(FUNCTIONS[name], event, platform)
    once(work, delivery, of=name, records=platform.records, clock=platform.clock)


# Jobs


def _job(cloud: Cloud, claim: Claim) -> None:
    kind, payload = claim.job.kind, claim.job.payload
    if kind in FUNCTIONS:
        FUNCTIONS[kind](event_of(payload), cloud.platform)
    elif kind == ASSEMBLE:
        cloud.assembly.look(str(payload["study"]), int(payload["batch"]))
    elif kind == bulk.KIND:
        land = partial(cloud.images.land_object, by=SYSTEM)
        look = cloud.images.look
        bulk.take_in_long(payload, cloud.platform, longest=LONGEST_UPLOAD, look=look, land=land)
    elif kind == LAND:
        until = time.monotonic() + LANDING_S
        is_late = partial(_is_past, until)
        limits = Limits(LONGEST_UPLOAD, held=LONGEST_BESIDE, land=cloud.images.land_pieces)
        land_draft(str(payload["draft"]), cloud.platform, limits=limits, is_late=is_late)
    elif kind == LAY_DOWN:
        _layers().run(payload)
    elif kind == ERASE:
        cloud.images.erasing.run(str(payload["image_set"]), int(payload["part"]))
    elif kind == "run_execution":
        cloud.pipelines.run(str(payload["execution"]))
    elif kind == MIRROR:
        _reconcile(cloud)
        _served_by(cloud)
    else:
        _consulted()[kind](payload)


@cache
def _layers() -> "LayDown":
    """What writes static layers."""
    from radloop.layers_aws import work_of  # noqa: PLC0415 — with the codecs, which take 30 MB

    return work_of(_cloud("stream_layers"), os.environ)


@cache
def _consulted() -> Mapping[str, Callable[[Mapping[str, Any]], None]]:
    """The jobs that ask a model, which stays in memory from one call to the next."""
    from radloop.functions.consulting import work_of  # noqa: PLC0415 — ONNX Runtime is in one package only
    from radloop.functions.prediction import Consultant  # noqa: PLC0415 — the same
    from radloop.serving.champion import Champion  # noqa: PLC0415 — the same

    cloud = _cloud("prediction")
    platform = cloud.platform
    champion, shadow = (Champion(platform.models, platform.blobs, alias=alias) for alias in ("champion", SHADOW))
    return work_of(Consultant(platform, cloud.images, champion, shadow))


def _given_up(cloud: Cloud, claim: Claim, cause: str) -> None:
    """Raise the alarm; an execution nobody will run again ends as failed, so that the next one can start."""
    if claim.job.kind == "run_execution":
        cloud.pipelines.give_up(str(claim.job.payload["execution"]), "dead-letter")
    elif claim.job.kind == LAND:
        give_up(str(claim.job.payload["draft"]), cloud.platform)
    alarm = AlarmStateChanged(alarm=f"dead-letter-{claim.job.kind}", state="ALARM", cause=f"{claim.job.id}: {cause}")
    cloud.platform.records.commit(Change(events=[alarm.told(at=cloud.platform.clock())]))


# What AWS services tell


def _short(told: Told, cloud: Cloud) -> str | None:
    """The blob key of an object that S3 tells of; None where there is nothing more to do for it here.

    That is a long one, for which a job is asked that takes it in; a folder, as S3's console makes them; and one whose
    name S3 takes and others do not, which is entered in quarantine and stays where it lies.
    """
    found = told["detail"]["object"]
    key, size_bytes = f"training-data/{found['key']}", int(found.get("size", 0))
    mark = f"{found.get('etag', '')}-{found.get('sequencer', '')}"
    if key.endswith("/") and not size_bytes:
        return None
    if not is_key(key):
        bulk.refuse(bulk.marked(key, mark), size_bytes, InvalidInput(_NAMED), cloud.platform)
        return None
    lying = cloud.images.look(key)  # which need not be what the event tells of: another may have come under its name
    if lying is None or lying[0] <= LONGEST_BESIDE:
        return key
    bulk.ask(key, mark, cloud.platform)
    return None


def _object_created(told: Told, cloud: Cloud) -> None:
    key = _short(told, cloud)
    if key is not None:
        take_in([key], cloud.platform)


def _import_ended(told: Told, cloud: Cloud) -> None:
    cloud.images.take_up(str(told["detail"]["jobId"]), by=SYSTEM)


def _execution_changed(told: Told, cloud: Cloud) -> None:
    cloud.pipelines.heard(str(told["detail"]["pipelineExecutionArn"]))


def _reconcile(cloud: Cloud) -> None:
    if cloud.packages.group:
        cloud.packages.reconcile(cloud.platform.models, partial(_taken_over, cloud))


def _taken_over(cloud: Cloud, found: ByHand) -> None:
    assert found.by is not None
    take_over(found.version, cloud.platform, approved=found.status == APPROVED, by=found.by)


def _served_by(cloud: Cloud) -> None:
    """The endpoint, where there is one, serves what the ledger says, and the drift job finds the version that serves.

    Raises:
        _NotYet: The endpoint is still changing; it is looked at again.
    """
    models, champion = cloud.platform.models, cloud.platform.models.champion()
    if champion is not None:
        publish(champion, cloud.platform.blobs)
    if cloud.endpoint is not None and cloud.endpoint.follow(models) == "changing":
        raise _NotYet("the endpoint is still changing")


def _package_changed(told: Told, cloud: Cloud) -> None:  # noqa: ARG001 — the packages themselves tell what changed
    _reconcile(cloud)


def _went_wrong(told: Told, cloud: Cloud) -> None:
    """Write down what AWS tells of a failure: names of ours and states, never its sentences."""
    detail = told["detail"]
    named = (detail.get(key) for key in ("alarmName", "TrainingJobName", "jobId", "pipelineExecutionArn"))
    name = next(filter(None, named), "")
    ended = (detail.get(key) for key in ("TrainingJobStatus", "jobStatus", "currentPipelineExecutionStatus"))
    state = detail.get("state", {}).get("value") or next(filter(None, ended), "")
    event = Event(
        id=str(told["id"]),
        source=str(told["source"]),
        detail_type=str(told["detail-type"]),
        time=str(told["time"]),
        detail={"alarm": str(name), "state": str(state)},
        trace="",
    )
    write_down(event, cloud.platform)


_SERVICES: Final[Mapping[tuple[str, str], Callable[[Told, Cloud], None]]] = {
    ("aws.s3", "Object Created"): _object_created,
    ("aws.medical-imaging", "Import Job Completed"): _import_ended,
    ("aws.medical-imaging", "Import Job Failed"): _import_ended,
    ("aws.sagemaker", "SageMaker Model Building Pipeline Execution Step Status Change"): _execution_changed,
    ("aws.sagemaker", "SageMaker Model Building Pipeline Execution Status Change"): _execution_changed,
    ("aws.sagemaker", "SageMaker Model Package State Change"): _package_changed,
    ("aws.sagemaker", "SageMaker Training Job State Change"): _went_wrong,
    ("aws.cloudwatch", "CloudWatch Alarm State Change"): _went_wrong,
}


# What comes by the clock


def _look_after(cloud: Cloud) -> None:
    """What a minute may have left: the bus is routed whatever wakes us."""
    try:
        _watch_over(cloud)
    finally:
        cloud.jobs.release_abandoned()
        cloud.assembly.overdue()
        cloud.pipelines.follow_all()
    records, day = cloud.platform.records, (cloud.platform.clock() - _REMEMBERED).date().isoformat()
    old = records.search(DELIVERIES, [Term("day", "between", (None, day))], limit=_FORGOTTEN_AT_ONCE)
    for row in old:
        records.commit(Change([Delete(DELIVERIES, row.key)]))


def _watch_over(cloud: Cloud) -> None:
    """Who did what is sealed, and looked at: who reads of too many patients is kept out."""
    try:
        _seal(cloud)
    finally:
        _incidents().look()


@cache
def _incidents() -> IncidentWatch:
    """Remembers from call to call how far the audit was read."""
    return IncidentWatch(_cloud("outbox").platform)


def _seal(cloud: Cloud) -> None:
    try:
        cloud.audit.seal()
    finally:
        cloud.work.seal_waits(cloud.audit.unsealed_since())


def _is_past(moment: float) -> bool:
    return time.monotonic() > moment


def _tidy(cloud: Cloud) -> None:
    drafts_of(cloud.platform).sweep_expired()


def _measure(cloud: Cloud) -> None:
    cloud.emf.tell(collect(cloud.platform))


_SCHEDULED: Final[Mapping[str, Callable[[Cloud], None]]] = {
    "bulk_ingestion": _tidy,
    "gauges": _measure,
    "outbox": _look_after,
}


# What is said of it


@contextmanager
def _telling(name: str, told: Told, context: Any) -> Iterator[None]:
    """One line of JSON where a call begins and one where it ends; nothing of what was sent stands in it."""
    formatter = _formatter()
    formatter.append_keys(
        function=name,
        request=getattr(context, "aws_request_id", ""),
        trace=_trace(told),
        memory_mb=int(getattr(context, "memory_limit_in_mb", 0)),
    )
    begun = time.perf_counter()
    _LOG.info("begun: %s", _what(told))
    try:
        yield
    except Exception as error:  # noqa: BLE001 — told by type only, since foreign messages may hold patient data
        _LOG.error("failed: %s after %d ms", _cause(error), _ms(begun))
        raise Failed(_cause(error)) from None
    _LOG.info("done after %d ms", _ms(begun))


@contextmanager
def _traced(trace: str) -> Iterator[None]:
    """Lines that are written meanwhile are about one message of several."""
    formatter = _formatter()
    before = formatter.log_format.get("trace", "")
    formatter.append_keys(trace=trace)
    try:
        yield
    finally:
        formatter.append_keys(trace=before)


@cache
def _formatter() -> LambdaLines:
    """Puts lines of all our loggers into JSON."""
    formatter = LambdaLines()
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    ours = logging.getLogger("radloop")
    ours.handlers[:] = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False
    return formatter


def _what(told: Told) -> str:
    records = told.get("Records")
    return str(told.get("detail-type", "schedule")) if records is None else f"{len(records)} messages"


def _trace(told: Told) -> str:
    return event_of(told).trace if told.get("source") in _OURS else str(told.get("id", ""))


def _ms(begun: float) -> int:
    return round((time.perf_counter() - begun) * 1000)


def _cause(error: BaseException) -> str:
    """What may be told of an error: our code, or the type of a foreign one."""
    return error.code if isinstance(error, RadloopError) else type(error).__name__
