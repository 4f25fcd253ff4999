"""Reads, labels and opinions made without a reader: what accounts are made of."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import numpy as np
import pydicom

from radloop.core.identity import OWNER, derived_id
from radloop.core.images import Confidence, Finding, ImageSet, Seen, Truth
from radloop.core.ports import Change
from radloop.core.reads import Label, Project, Read, ReadingPolicy, Rule, put_label, put_project, put_read
from radloop.core.tables import IMAGE_SETS, put_image_set
from radloop.results.writing import AiResult, KeySlice
from tests.api.installation import Installation

AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WEIGHTS = "ab12" * 16
RESULT = AiResult(
    probability=0.8712, threshold=0.42, finding="present", model_version=3, weights_sha256=WEIGHTS,
    out_of_distribution=False, at=AT,
)  # fmt: skip
REFUSED = AiResult(
    probability=None, threshold=0.42, finding=None, model_version=3, weights_sha256=WEIGHTS,
    out_of_distribution=True, at=AT, reason="out-of-distribution",
)  # fmt: skip


def finding(present: bool, site: str | None = None, confidence: Confidence = Confidence.HIGH) -> Finding:
    return Finding(present, site, confidence, "a note that stays", Seen(1, "lossless"))


def read(installation: Installation, identity: str, reader: str, what: Finding, *, minutes: int) -> Read:
    """A read that is kept as it is, without any rule about what it settles."""
    image_set = installation.images.get(identity)
    at = AT + timedelta(minutes=minutes)
    made = Read(derived_id("read", identity, reader), identity, image_set.version, reader, what, at)
    installation.platform.records.commit(Change(writes=[put_read(made, image_set.datastore)]))
    return made


def label(
    installation: Installation, identity: str, by: str, what: Finding, rule: Rule, *, minutes: int, reason: str = ""
) -> ImageSet:
    """A ground truth that is kept and holds from now on."""
    records = installation.platform.records
    row = records.get(IMAGE_SETS, identity)
    assert row is not None
    at = AT + timedelta(minutes=minutes)
    image_set = installation.images.get(identity)
    posterior = None if rule is Rule.SINGLE else 0.93
    truth = Truth(finding=what, by=by, at=at, posterior=posterior, reads=2, rule=str(rule))
    after, _ = image_set.settle(truth)
    kept = Label(identity, after.version, what, rule, by, reason or None, posterior, 2, at)
    writes = [put_image_set(after, expected=row.revision), put_label(kept, image_set.datastore)]
    records.commit(Change(writes=writes))
    return after


def several_readers(installation: Installation, identity: str, policy: ReadingPolicy = ReadingPolicy.DOUBLE) -> None:
    project = Project(installation.images.get(identity).datastore, policy=policy)
    installation.platform.records.commit(Change(writes=[put_project(project)]))


def key_slice(frame: int = 1, shape: tuple[int, int] = (64, 64)) -> KeySlice:
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    plane = ((rows + columns) * 255 // (sum(shape) - 2)).astype(np.uint8)
    heat = np.zeros((7, 7), dtype=np.float32)
    heat[4, 2] = 3.0
    return KeySlice(frame, plane, heat)


def file_of(installation: Installation, sop_uid: str) -> pydicom.Dataset:
    """The object as it lies in the store, exported and read by pydicom."""
    return pydicom.dcmread(BytesIO(bytes_of(installation, sop_uid)))


def bytes_of(installation: Installation, sop_uid: str) -> bytes:
    (found,) = [each for each in every_instance(installation) if each.sop_uid == sop_uid]
    return installation.images.export(found)


def every_instance(installation: Installation):
    rows = installation.platform.records.find(IMAGE_SETS)
    return [instance for row in rows for instance in installation.images.instances(row.key)]


def verified(installation: Installation, identity: str, present: bool = True) -> ImageSet:
    """Read by one reader, as everywhere where nobody said otherwise."""
    from radloop.reading.truth import verify
    from tests.api.installation import now

    site = "RLL" if present else None
    version = installation.images.get(identity).version
    return verify(installation.platform.records, now, identity, finding(present, site), version=version, by=OWNER)
