"""Import jobs: done once however often they are begun, cut off by kill -9 too."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from radloop.core.errors import Unavailable
from radloop.core.identity import OWNER, Principal
from radloop.core.ports import Claim
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS, INSTANCES
from radloop.functions import dicom_import
from radloop.store.datastores import QuotaExceeded
from radloop.store.imports import FAILED, KIND, LANE, MOST_RUNNING, Import, Imports, key_of
from radloop.wiring import Installation, open_local
from tests.dicom.files import ct, encapsulated, written
from tests.store.house import of_patient, phantom

J2K = "1.2.840.10008.1.2.4.90"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with open_local(tmp_path) as opened:
        yield opened


def start(installation: Installation, *files: bytes, by: Principal = OWNER) -> Import:
    for number, data in enumerate(files):
        installation.platform.blobs.put(f"training-data/in/{number:04d}.dcm", data)
    return imports_of(installation).start(
        datastore=DEFAULT_DATASTORE,
        name=None,
        role_arn="arn",
        input_uri="s3://training-data/in",
        output_uri="s3://training-data/in/reports/",
        configuration=None,
        by=by,
    )


def imports_of(installation: Installation) -> Imports:
    return Imports(installation.platform.records, installation.platform.clock)


def manifest(installation: Installation, job: Import) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(installation.platform.blobs.get(f"{job.target}/job-output-manifest.json"))
    return found


def test_a_job_done_twice_ends_as_one_done_once(installation: Installation) -> None:
    job = start(installation, *phantom(), b"junk")
    dicom_import.run(job.id, installation.platform, installation.images)
    first = manifest(installation, job)
    ended = imports_of(installation).get(job.id)
    dicom_import.run(job.id, installation.platform, installation.images)
    assert imports_of(installation).get(job.id) == ended
    assert manifest(installation, job) == first
    assert ended.counts == {"scanned": 5, "imported": 4, "refused": 1}
    (row,) = installation.platform.records.find(IMAGE_SETS)
    assert row.document["is_closed"]


def test_a_job_that_is_cut_off_begins_anew(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    job = start(installation, *(file for number in range(2, 14) for file in of_patient(number)))
    left = [40]
    get = installation.platform.blobs.get

    def failing(key: str, *rest: Any) -> bytes:
        left[0] -= key.startswith("training-data/in/")
        if not left[0]:
            raise Unavailable("the disk is gone")
        return get(key, *rest)

    monkeypatch.setattr(installation.platform.blobs, "get", failing)
    with pytest.raises(Unavailable):
        dicom_import.run(job.id, installation.platform, installation.images)
    assert imports_of(installation).get(job.id).counts["scanned"] == 32
    monkeypatch.undo()
    dicom_import.run(job.id, installation.platform, installation.images)
    summary = manifest(installation, job)["jobSummary"]
    assert (summary["numberOfScannedFiles"], summary["numberOfImportedFiles"]) == (48, 48)
    assert len(summary["imageSetsSummary"]) == installation.platform.records.count(IMAGE_SETS) == 12
    assert installation.platform.records.count(INSTANCES) == 48


def test_a_report_below_the_same_prefix_is_no_input(installation: Installation) -> None:
    for _ in range(2):
        job = start(installation, *phantom())
        dicom_import.run(job.id, installation.platform, installation.images)
        assert manifest(installation, job)["jobSummary"]["numberOfScannedFiles"] == 4


def test_a_prefix_ends_at_a_slash(installation: Installation) -> None:
    installation.platform.blobs.put("training-data/inside/0.dcm", phantom()[0])
    job = start(installation, *phantom()[:2])
    dicom_import.run(job.id, installation.platform, installation.images)
    assert imports_of(installation).get(job.id).counts["scanned"] == 2


def test_a_caller_brings_files_of_their_own_patients_only(installation: Installation) -> None:
    scoped = Principal("s", OWNER.roles, frozenset({"PHANTOM-00001"}))
    job = start(installation, *phantom(), *of_patient(2), by=scoped)
    dicom_import.run(job.id, installation.platform, installation.images)
    assert imports_of(installation).get(job.id).counts == {"scanned": 8, "imported": 4, "refused": 4}


def test_a_job_that_was_tried_too_often_fails(installation: Installation) -> None:
    job = start(installation, *phantom())
    worker = installation.worker()
    claim = installation.platform.jobs.claim(LANE)
    assert isinstance(claim, Claim)
    assert claim.job.kind == KIND
    worker._give_up(claim, "unavailable")
    ended = imports_of(installation).get(job.id)
    assert ended.status == FAILED
    assert ended.message is not None
    dicom_import.run(job.id, installation.platform, installation.images)
    assert imports_of(installation).get(job.id) == ended


def test_there_are_only_so_many_jobs_at_a_time(installation: Installation) -> None:
    for _ in range(MOST_RUNNING):
        start(installation)
    with pytest.raises(QuotaExceeded):
        start(installation)


@pytest.mark.parametrize(
    ("uri", "key"),
    [("s3://abc", "abc/"), ("s3://abc/", "abc/"), ("s3://abc/d", "abc/d"), ("s3://training-data/upload/", None)],
)
def test_an_address_is_a_prefix(uri: str, key: str | None) -> None:
    assert key_of(uri, "x") == (key or "training-data/upload/")


@pytest.mark.slow
def test_an_import_that_is_killed_ends_after_the_next_start(tmp_path: Path) -> None:
    with open_local(tmp_path) as installation:
        job = start(installation, *phantom(1, slices=300, size=128))
    code = (
        "import sys; from pathlib import Path; from radloop.wiring import open_local\n"
        "with open_local(Path(sys.argv[1])) as i:\n"
        "    w = i.worker(); w.start_over(); w.drain(('import',))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    with open_local(tmp_path) as installation:
        for _ in range(600):
            if imports_of(installation).get(job.id).counts.get("scanned", 0) >= 32:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert imports_of(installation).get(job.id).status == "IN_PROGRESS"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, timeout=120)
    with open_local(tmp_path) as installation:
        ended = imports_of(installation).get(job.id)
        assert (ended.status, ended.counts["imported"]) == ("COMPLETED", 300)
        (image_set,) = installation.platform.records.find(IMAGE_SETS)
        assert installation.images.get(image_set.key).instances == 300


# Warnings


def warned(installation: Installation, *files: bytes) -> list[tuple[str, set[str]]]:
    """The files with warnings, by name, and the reasons."""
    job = start(installation, *files)
    dicom_import.run(job.id, installation.platform, installation.images)
    read = installation.platform.blobs.get
    lines = [json.loads(line) for line in read(f"{job.target}/WARNING/warning.ndjson").splitlines()]
    taken = [json.loads(line) for line in read(f"{job.target}/SUCCESS/success.ndjson").splitlines()]
    for line in lines:
        reasons = line.pop("warnings")
        assert all(each["warningType"] and each["message"] for each in reasons)
        assert line in taken
        line["reasons"] = {each["warningReason"] for each in reasons}
    return [(line["inputFile"], line["reasons"]) for line in lines]


def jpeg_2000(stream: bytes | None = None, frames: int = 1) -> bytes:
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    good = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k")
    return encapsulated(ct(pixels), [good] * (frames - 1) + [good if stream is None else stream], J2K)


def test_a_plain_file_has_no_warnings(installation: Installation) -> None:
    assert warned(installation, *phantom(), jpeg_2000()) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Modality": None}, "0xB007"),
        ({"PatientID": ""}, "0xB007"),
        ({"StudyDescription": "x" * 5000}, "0xB000"),
    ],
)
def test_a_file_landed_with_a_notice_is_warned_of(
    installation: Installation, changes: dict[str, Any], reason: str
) -> None:
    odd = written(ct(**changes))
    assert warned(installation, phantom()[0], odd) == [("in/0001.dcm", {reason})]


def test_a_file_that_came_before_with_other_content_is_warned_of(installation: Installation) -> None:
    before, after = written(ct(StudyDescription="a")), written(ct(StudyDescription="b"))
    assert warned(installation, before, after)[-1] == ("in/0001.dcm", {"0xB000"})


@pytest.mark.parametrize("frames", [1, 3])
def test_a_file_is_warned_of_exactly_where_folding_finds_no_frames(installation: Installation, frames: int) -> None:
    damaged = jpeg_2000(b"\xff\x4f\xff\x51" + bytes(200), frames)
    assert warned(installation, damaged) == [("in/0000.dcm", {"0xB100"})]
    installation.worker().drain()
    (row,) = installation.platform.records.find(INSTANCES)
    assert (row.document["why_kept"], row.document["frames"]) == ("does-not-decode", [])


def test_pixels_of_32_bits_are_warned_of(installation: Installation) -> None:
    wide = ct(pixels=np.arange(64 * 64, dtype=np.uint32).reshape(64, 64))
    assert ("in/0000.dcm", "0xB100") in [
        (name, each) for name, all_ in warned(installation, written(wide)) for each in all_
    ]
    installation.worker().drain()
    (row,) = installation.platform.records.find(INSTANCES)
    assert row.document["frames"] == []
