"""An import job's work: read the files below a prefix, land them, close what they touched, write the report.

Doing it twice is doing it once: a file that has landed before is a known duplicate, so a job that was cut off begins
anew and comes to the same end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from radloop.core.errors import NotFound
from radloop.core.identity import SYSTEM, Principal
from radloop.core.images import ImageSet
from radloop.core.platform import Platform
from radloop.core.ports import Landing, Upload
from radloop.functions.image_ingestion import ingest
from radloop.store.imports import Import, Imports, is_internal

_BATCH_FILES = 32
_BATCH_BYTES = 64 << 20


class Closer(Protocol):
    """The part of the store that closes image sets."""

    def get(self, identity: str) -> ImageSet:
        """One image set."""
        ...

    def complete(self, identity: str, *, by: Principal) -> ImageSet:
        """Close it."""
        ...


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the report: which file, and what became of it."""

    folder: str
    text: dict[str, Any]


def run(identity: str, platform: Platform, images: Closer) -> None:
    """Do an import job; one that is over, or is gone, is left alone.

    A job whose data store was deleted meanwhile fails; a failing substrate raises, so that the job is tried again.
    """
    imports = Imports(platform.records, platform.clock)
    try:
        job = imports.begin(identity)
    except NotFound:
        return
    if job.is_over:
        return
    by = Principal(id=job.by, roles=SYSTEM.roles, patients=job.patients)
    keys = [key for key in platform.blobs.keys(job.source) if _is_wanted(key, job)]
    lines: list[_Line] = []
    counts: Counter[str] = Counter(scanned=0, imported=0, refused=0)
    matched: Counter[str] = Counter()
    for names, uploads in _batches(keys, platform):
        landings = ingest(uploads, platform, by=by, datastore=job.datastore)
        for name, landing in zip(names, landings, strict=True):
            counts["scanned"] += 1
            if landing.image_set is None:
                counts["refused"] += 1
            else:
                counts["imported"] += 1
                matched[landing.image_set] += 1
            lines.append(_line(name, landing))
        imports.progress(identity, counts)
    primary = {name: _closed(name, images, by) for name in matched}
    lines = [_with_rank(line, primary) for line in lines]
    _write(job, platform, lines, counts=counts, matched=matched, primary=primary)
    imports.complete(identity, counts)


def give_up(identity: str, platform: Platform, cause: str) -> None:
    """The job was tried too often."""
    try:
        Imports(platform.records, platform.clock).fail(identity, f"The job was given up on - {cause}")
    except NotFound:
        return


def _is_wanted(key: str, job: Import) -> bool:
    """Whether a blob is a file to import: not one of ours, and not a report below the same prefix."""
    inside = job.source.endswith("/") or key == job.source or key.startswith(f"{job.source}/")
    report = job.target.rpartition("/")[0] + f"/{job.datastore}-DicomImport-"
    return inside and not is_internal(key) and not key.startswith(report)


def _batches(keys: Iterable[str], platform: Platform) -> Iterator[tuple[list[str], list[Upload]]]:
    """Files in order, a few at a time, so that memory stays small."""
    names: list[str] = []
    uploads: list[Upload] = []
    size = 0
    for key in keys:
        try:
            data = platform.blobs.get(key)
        except NotFound:
            continue  # taken away since the list was made
        names.append(key)
        uploads.append(Upload(data))
        size += len(data)
        if len(names) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield names, uploads
            names, uploads, size = [], [], 0
    if names:
        yield names, uploads


def _line(key: str, landing: Landing) -> _Line:
    name = key.partition("/")[2]
    if landing.image_set is None:
        exception = {"exceptionType": "ValidationException", "message": landing.sentence or landing.reason}
        return _Line("FAILURE", {"inputFile": name, "exception": exception})
    return _Line("SUCCESS", {"inputFile": name, "importResponse": {"imageSetId": landing.image_set}})


def _closed(identity: str, images: Closer, by: Principal) -> bool:
    """Close an image set; returns whether it is the primary one of its series. One deleted meanwhile is neither."""
    try:
        return images.complete(identity, by=by).is_primary
    except NotFound:
        return False


def _with_rank(line: _Line, primary: Mapping[str, bool]) -> _Line:
    response = line.text.get("importResponse")
    if response is None:
        return line
    return _Line(
        line.folder, {**line.text, "importResponse": {**response, "isPrimary": primary[response["imageSetId"]]}}
    )


def _write(
    job: Import,
    platform: Platform,
    lines: list[_Line],
    *,
    counts: Mapping[str, int],
    matched: Mapping[str, int],
    primary: Mapping[str, bool],
) -> None:
    """The report: a line a file by outcome, and a manifest over all, which is written last."""
    folders = {name: [line.text for line in lines if line.folder == name] for name in ("SUCCESS", "FAILURE", "WARNING")}
    for name, texts in folders.items():
        body = b"".join(orjson.dumps(text) + b"\n" for text in texts)
        platform.blobs.put(f"{job.target}/{name}/{name.lower()}.ndjson", body)
    manifest = {
        "jobSummary": {
            "jobId": job.id,
            "datastoreId": job.datastore,
            "inputS3Uri": job.input_uri,
            "outputS3Uri": job.output_uri,
            **{f"{name.lower()}OutputS3Uri": f"s3://{job.target}/{name}/" for name in folders},
            "numberOfScannedFiles": counts["scanned"],
            "numberOfImportedFiles": counts["imported"],
            "numberOfFilesWithCustomerError": counts["refused"],
            "numberOfFilesWithServerError": 0,
            "numberOfGeneratedImageSets": len(matched),
            "imageSetsSummary": [
                {"imageSetId": name, "numberOfMatchedSOPInstances": count, "isPrimary": primary[name]}
                for name, count in sorted(matched.items())
            ],
        }
    }
    platform.blobs.put(f"{job.target}/job-output-manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
