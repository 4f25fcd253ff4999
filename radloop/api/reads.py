"""Reads over HTTP: what each reader says, what waits for an adjudicator, how readers agree, how a project is read."""

from typing import Any

from starlette.responses import Response

from radloop.api.blinding import eyes_of
from radloop.api.image_sets import finding_from
from radloop.api.operations import Ask, as_json
from radloop.api.shapes import moment, seen_of, summary
from radloop.core.errors import InvalidInput
from radloop.core.images import Finding, ImageSet
from radloop.core.reads import Label, Project, Read, labels_of, project_of, reads_of
from radloop.core.tables import DEFAULT_DATASTORE
from radloop.reading.adjudication import LONGEST_QUEUE, adjudicate, queue
from radloop.reading.agreement import Kappa, agreement
from radloop.reading.panel import panel_of, standing
from radloop.reading.projects import set_policy
from radloop.reading.reads import add_read
from radloop.store.datastores import Datastores

_NOTES = "image.read"
_READ = "reading.read"


def create_read(ask: Ask) -> Response:
    """Add what the caller says of an image set."""
    platform = ask.doors.platform
    version, finding = finding_from(ask.body)
    ask.doors.images_of(ask.principal).get(ask.path["id"], "image.verify")
    told = add_read(platform.records, platform.clock, ask.path["id"], finding, version=version, by=ask.principal)
    return as_json(summary(told.image_set, platform.records, eyes_of(ask)))


def list_reads(ask: Ask) -> Response:
    """What was said of an image set: the caller's own word, and once that stands, everybody's."""
    records = ask.doors.platform.records
    image_set = ask.doors.images_of(ask.principal).get(ask.path["id"], _READ)
    told = summary(image_set, records, eyes_of(ask))["reading"]
    posterior = None if image_set.case is None or told["blinded"] else image_set.case.posterior
    items = _reads(ask, image_set, is_blinded=told["blinded"])
    return as_json({"policy": told["policy"], "state": told["state"], "posterior": posterior, "items": items})


def list_labels(ask: Ask) -> Response:
    """Every ground truth that an image set has had."""
    image_set = ask.doors.images_of(ask.principal).get(ask.path["id"], _READ)
    found = labels_of(ask.doors.platform.records, image_set)
    return as_json({"items": [_label(ask, label) for label in found]})


def list_adjudication(ask: Ask) -> Response:
    """What waits for an adjudicator, longest first."""
    records = ask.doors.platform.records
    images = ask.doors.images_of(ask.principal)
    images.may_search()
    page = queue(
        records,
        limit=ask.number("limit", 50, least=1, most=LONGEST_QUEUE),
        after=ask.query.get("after") or None,
        patients=images.patients,
    )
    return as_json({"items": [_waiting(ask, each) for each in page.items], "next": page.next, "total": page.total})


def create_adjudication(ask: Ask) -> Response:
    """Decide where readers differ, or revise what was ground truth."""
    platform = ask.doors.platform
    version, finding = finding_from(ask.body, "reason")
    reason = ask.body.get("reason")
    if not isinstance(reason, str):
        raise InvalidInput("reason must be the code of a reason")
    ask.doors.images_of(ask.principal).get(ask.path["id"], "image.adjudicate")
    after = adjudicate(
        platform.records,
        platform.clock,
        ask.path["id"],
        finding,
        version=version,
        reason=reason,
        by=ask.principal,
    )
    return as_json(summary(after, platform.records, eyes_of(ask)))


def get_agreement(ask: Ask) -> Response:
    """How the readers of a project agree, and how good each is held to be."""
    records, datastore = ask.doors.platform.records, ask.query.get("datastore") or DEFAULT_DATASTORE
    store = _datastores(ask).active(datastore)
    reads = standing(records, store.id)
    found = agreement(reads)
    quality = panel_of(records, store.id).quality()
    return as_json(
        {
            "datastore": store.id,
            "reads": len(reads),
            "image_sets": len({(read.image_set, read.version) for read in reads}),
            "all": _kappa(found.all),
            "pairs": [{"readers": [pair.one, pair.other], **_kappa(pair.kappa)} for pair in found.pairs],
            "readers": [
                {
                    "reader": reader,
                    "reads": each.reads,
                    "sensitivity": each.sensitivity,
                    "specificity": each.specificity,
                }
                for reader, each in quality.items()
            ],
        }
    )


def get_project(ask: Ask) -> Response:
    """How the image sets of a data store are read."""
    store = _datastores(ask).active(ask.path["id"])
    return as_json(_project(project_of(ask.doors.platform.records, store.id)))


def set_project(ask: Ask) -> Response:
    """Have the image sets of a data store be read under another policy."""
    platform, body = ask.doors.platform, ask.body
    policy, settle_at = body.get("policy"), body.get("settle_at")
    if not set(body) <= {"policy", "settle_at"} or not isinstance(policy, str):
        raise InvalidInput("the body must hold policy, and if wanted settle_at, and nothing else")
    if settle_at is not None and (not isinstance(settle_at, int | float) or isinstance(settle_at, bool)):
        raise InvalidInput("settle_at must be a number")
    store = _datastores(ask).active(ask.path["id"])
    project = set_policy(
        platform.records, platform.clock, store.id, policy=policy, settle_at=settle_at, by=ask.principal
    )
    return as_json(_project(project))


def _datastores(ask: Ask) -> Datastores:
    return Datastores(ask.doors.platform.records, ask.doors.platform.clock)


def _waiting(ask: Ask, image_set: ImageSet) -> dict[str, Any]:
    """A case that waits for an adjudicator, with what its readers said."""
    records, case = ask.doors.platform.records, image_set.case
    return {
        **summary(image_set, records, eyes_of(ask)),
        "asked": image_set.asked,
        "posterior": None if case is None else case.posterior,
        "reads": _reads(ask, image_set, is_blinded=False),
    }


def _reads(ask: Ask, image_set: ImageSet, *, is_blinded: bool) -> list[dict[str, Any]]:
    """Reads of an image set, oldest first; only the caller's own where the caller is blinded."""
    platform, principal = ask.doors.platform, ask.principal
    has_notes = platform.policy.allows(principal, _NOTES)
    found = reads_of(platform.records, image_set.id)
    shown = [read for read in found if not is_blinded or read.reader == principal.id]
    return [_read(read, mine=read.reader == principal.id, has_notes=has_notes) for read in shown]


def _read(read: Read, *, mine: bool, has_notes: bool) -> dict[str, Any]:
    return {
        "id": read.id,
        "version": read.version,
        "reader": read.reader,
        **_finding(read.finding, has_notes=has_notes),
        "at": moment(read.at),
        "blinded": read.is_blinded,
        "mine": mine,
    }


def _label(ask: Ask, label: Label) -> dict[str, Any]:
    has_notes = ask.doors.platform.policy.allows(ask.principal, _NOTES)
    return {
        "version": label.version,
        "rule": str(label.rule),
        "by": label.by,
        "reason": label.reason,
        **_finding(label.finding, has_notes=has_notes),
        "posterior": label.posterior,
        "reads": label.reads,
        "at": moment(label.at),
    }


def _finding(finding: Finding, *, has_notes: bool) -> dict[str, Any]:
    """A finding; the note, which may name a patient, only for those who may see images."""
    return {
        "finding": finding.word,
        "site": finding.site,
        "laterality": finding.laterality,
        "confidence": str(finding.confidence),
        "note": finding.note if has_notes else None,
        "seen": seen_of(finding.seen),
    }


def _kappa(kappa: Kappa) -> dict[str, Any]:
    return {
        "kappa": kappa.value,
        "ci_low": kappa.ci_low,
        "ci_high": kappa.ci_high,
        "image_sets": kappa.image_sets,
        "agreed": kappa.agreed,
    }


def _project(project: Project) -> dict[str, Any]:
    return {
        "datastore": project.datastore,
        "policy": str(project.policy),
        "settle_at": project.settle_at,
        "changed_at": None if project.changed_at is None else moment(project.changed_at),
        "changed_by": project.changed_by,
    }
