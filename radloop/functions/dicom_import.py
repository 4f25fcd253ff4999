"""An import job's work: read the files below a prefix, land them, close what they touched, write the report.

Doing it twice is doing it once: a file that has landed before is a known duplicate, so a job that was cut off begins
anew and comes to the same end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from radloop.core.errors import Corrupt, Denied, InvalidInput, NotFound
from radloop.core.identity import SYSTEM, Principal
from radloop.core.images import ImageSet
from radloop.core.platform import Platform
from radloop.core.ports import Bucket, Landing, Upload
from radloop.dicom.parse import parse
from radloop.functions.image_ingestion import ingest
from radloop.store.folding import Decoded
from radloop.store.imports import Import, Imports, is_internal
from radloop.store.metadata import is_video

_BATCH_FILES = 32
_BATCH_BYTES = 64 << 20
_LONGEST_FILE = 2 << 30
_REPORT_FILES = {"SUCCESS": "success.ndjson", "FAILURE": "failure.ndjson", "WARNING": "warning.ndjson"}

_COERCED = ("0xB000", "COERCION_OF_DATA_ELEMENTS")
_MISMATCH = ("0xB007", "SOP_CLASS_DATA_MISMATCH")
_NOT_TRANSCODED = ("0xB100", "TRANSCODING_EXCEPTION")
_SHOWN_OTHERWISE = frozenset({"attribute-too-long", "duplicate-element", "photometric"})
"""Notices about what we show other than as it came. All others tell what does not fit its class or its encoding."""

_FRAME_BITS, _FRAME_SAMPLES = frozenset({1, 8, 16}), frozenset({1, 3})


class Closer(Protocol):
    """The part of the store that closes image sets."""

    def get(self, identity: str) -> ImageSet:
        """One image set."""
        ...

    def complete(self, identity: str, *, by: Principal) -> ImageSet:
        """Close it."""
        ...


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the prefix: its key, and its bytes or why they could not be read."""

    key: str
    upload: Upload | None
    refusal: InvalidInput | Denied | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """What became of one file, as the report tells it.

    Attributes:
        image_set: Where it is now; None where it was refused.
        exception: Why it was refused.
        warnings: What is worth knowing although it was taken.
    """

    name: str
    image_set: str | None = None
    exception: Mapping[str, str] | None = None
    warnings: tuple[Mapping[str, str], ...] = ()

    def written(self, primary: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
        """Its text by the folder it belongs to; what was taken with warnings stands in two."""
        if self.image_set is None:
            return {"FAILURE": {"inputFile": self.name, "exception": self.exception}}
        response = {"imageSetId": self.image_set, "isPrimary": primary[self.image_set]}
        taken = {"inputFile": self.name, "importResponse": response}
        return {"SUCCESS": taken, **({"WARNING": {**taken, "warnings": self.warnings}} if self.warnings else {})}


class _Unreachable(Exception):
    """A bucket of the job is not there, or does not let us in."""


def run(identity: str, platform: Platform, images: Closer) -> None:
    """Do an import job; one that is over, or is gone, is left alone.

    A job fails whose data store was deleted meanwhile, or whose buckets are not there or closed to us; a failing
    substrate raises, so that the job is tried again.
    """
    imports = Imports(platform.records, platform.clock)
    try:
        job = imports.begin(identity)
    except NotFound:
        return
    if job.is_over:
        return
    try:
        imports.complete(identity, _imported(job, platform, images, imports))
    except _Unreachable as error:
        imports.fail(identity, str(error))


def _imported(job: Import, platform: Platform, images: Closer, imports: Imports) -> Mapping[str, int]:
    """Land everything, write the report, and tell the counts."""
    by = Principal(id=job.by, roles=SYSTEM.roles, patients=job.patients)
    with _reaching("inputS3Uri"):
        source = _bucket(job.source, platform)
        bucket, _, prefix = job.source.partition("/")
        keys = [key for key in source.keys(prefix) if _is_wanted(f"{bucket}/{key}", job)]
    lines: list[_Line] = []
    counts: Counter[str] = Counter(scanned=0, imported=0, refused=0)
    matched: Counter[str] = Counter()
    for files in _batches(keys, source):
        uploads = [file.upload for file in files if file.upload is not None]
        landings = iter(ingest(uploads, platform, by=by, datastore=job.datastore))
        for file in files:
            line = _refused(file) if file.upload is None else _landed(file.key, file.upload, next(landings))
            counts["scanned"] += 1
            counts["refused" if line.image_set is None else "imported"] += 1
            if line.image_set is not None:
                matched[line.image_set] += 1
            lines.append(line)
        imports.progress(job.id, counts)
    primary = {name: _closed(name, images, by) for name in matched}
    with _reaching("outputS3Uri"):
        _write(job, _bucket(job.target, platform), lines, counts=counts, matched=matched, primary=primary)
    return counts


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
    is_folder = key.endswith("/")  # such as the console of S3 makes
    return inside and not is_folder and not is_internal(key) and not key.startswith(report)


@contextmanager
def _reaching(member: str) -> Iterator[None]:
    """Work with the bucket that `member` of the request names.

    Raises:
        _Unreachable: It is not there, or does not let us in; trying again would not help.
    """
    try:
        yield
    except (Denied, InvalidInput, NotFound) as error:
        raise _Unreachable(f"{member} - {error}") from error


def _bucket(place: str, platform: Platform) -> Bucket:
    """The bucket that a place such as `bucket/folder` begins with."""
    return platform.buckets.open(place.partition("/")[0])


def _batches(keys: Iterable[str], source: Bucket) -> Iterator[list[_File]]:
    """Files in order, a few at a time, so that memory stays small."""
    files: list[_File] = []
    size = 0
    for key in keys:
        try:
            data = source.get(key, _LONGEST_FILE)
        except NotFound:
            continue  # taken away since the list was made
        except (InvalidInput, Denied) as error:
            files.append(_File(key, None, error))
        else:
            files.append(_File(key, Upload(data)))
            size += len(data)
        if len(files) >= _BATCH_FILES or size >= _BATCH_BYTES:
            yield files
            files, size = [], 0
    if files:
        yield files


def _refused(file: _File) -> _Line:
    """The line of a file that could not be read."""
    kind = "AccessDeniedException" if isinstance(file.refusal, Denied) else "ValidationException"
    return _Line(file.key, exception={"exceptionType": kind, "message": str(file.refusal)})


def _landed(key: str, upload: Upload, landing: Landing) -> _Line:
    if landing.image_set is None:
        message = landing.sentence or landing.reason or ""
        return _Line(key, exception={"exceptionType": "ValidationException", "message": message})
    warnings = tuple(_warnings(upload.data, landing))
    return _Line(key, landing.image_set, warnings=warnings)


def _warnings(data: bytes, landing: Landing) -> Iterator[Mapping[str, str]]:
    """What is worth knowing about a file that was taken, by the codes of PS3.18 and those of AWS."""
    if landing.is_replacement:
        yield _warning(_COERCED, "the instance came before with other content; both are kept, this one is shown")
    for notice in landing.notices:
        yield _warning(_COERCED if notice.code in _SHOWN_OTHERWISE else _MISMATCH, notice.message)
    if not _is_transcodable(data):
        yield _warning(_NOT_TRANSCODED, "the pixel data do not become HTJ2K; they are kept and given out as they came")


def _warning(code: tuple[str, str], message: str) -> Mapping[str, str]:
    return {"warningReason": code[0], "warningType": code[1], "message": message}


def _is_transcodable(data: bytes) -> bool:
    """Whether folding will find frames in a file; what is not meant to become HTJ2K counts as that.

    Folding tells it too, but after the job. Uncompressed pixels are told by their description. Compressed ones are
    decoded here and once more by folding: 22 ms for a slice of 512 x 512 in JPEG 2000, of the 27 ms it takes to fold.
    """
    instance = parse(data)
    image = instance.image
    if image is None or is_video(instance.transfer_syntax):
        return True
    if instance.pixel_span is not None:
        return not image.is_float and image.bits_allocated in _FRAME_BITS and image.samples in _FRAME_SAMPLES
    try:
        decoded = Decoded(data, instance)
        for number in range(image.frames):
            decoded.frame(number)
    except (InvalidInput, Corrupt):
        return False
    return True


def _closed(identity: str, images: Closer, by: Principal) -> bool:
    """Close an image set; returns whether it is the primary one of its series. One deleted meanwhile is neither."""
    try:
        return images.complete(identity, by=by).is_primary
    except NotFound:
        return False


def _write(
    job: Import,
    target: Bucket,
    lines: list[_Line],
    *,
    counts: Mapping[str, int],
    matched: Mapping[str, int],
    primary: Mapping[str, bool],
) -> None:
    """The report: a line a file by outcome, and a manifest over all, which is written last."""
    folder = job.target.partition("/")[2]
    texts = [line.written(primary) for line in lines]
    for name, file in _REPORT_FILES.items():
        body = b"".join(orjson.dumps(text[name]) + b"\n" for text in texts if name in text)
        target.put(f"{folder}/{name}/{file}", body)
    manifest = {
        "jobSummary": {
            "jobId": job.id,
            "datastoreId": job.datastore,
            "inputS3Uri": job.input_uri,
            "outputS3Uri": job.output_uri,
            **{f"{name.lower()}OutputS3Uri": f"s3://{job.target}/{name}/" for name in _REPORT_FILES},
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
    target.put(f"{folder}/job-output-manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
