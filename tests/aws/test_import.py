"""Import jobs that read S3 and leave their report there."""

import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import InvalidInput
from radloop.core.identity import OWNER
from radloop.core.tables import DEFAULT_DATASTORE, IMAGE_SETS
from radloop.functions import dicom_import
from radloop.store.imports import COMPLETED, FAILED, Import, Imports
from radloop.wiring import Installation, open_local
from tests.aws.emulators import client
from tests.store.house import phantom


@pytest.fixture
def installation(tmp_path: Path, s3: str) -> Iterator[Installation]:
    (tmp_path / "settings.toml").write_text(f's3_endpoint = "{s3}"\n')
    with open_local(tmp_path) as opened:
        yield opened


def done(installation: Installation, source: str, target: str) -> Import:
    imports = Imports(installation.platform.records, installation.platform.clock)
    job = imports.start(
        datastore=DEFAULT_DATASTORE,
        name=None,
        role_arn="arn",
        input_uri=source,
        output_uri=target,
        configuration=None,
        by=OWNER,
    )
    dicom_import.run(job.id, installation.platform, installation.images)
    return imports.get(job.id)


def read(s3: str, place: str) -> bytes:
    bucket, _, key = place.partition("/")
    data: bytes = client(s3, "s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return data


def summary(s3: str, job: Import) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read(s3, f"{job.target}/job-output-manifest.json"))["jobSummary"]
    return found


def put(s3: str, name: str, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        client(s3, "s3").put_object(Bucket=name, Key=key, Body=data)


def test_files_of_s3_become_image_sets_and_the_report_lies_beside_them(
    installation: Installation, s3: str, name: str
) -> None:
    files = {f"in/a b+{number}.dcm": data for number, data in enumerate(phantom())}
    put(s3, name, {**files, "in/": b"", "in/junk": b"junk", "inside/x": phantom()[0]})
    job = done(installation, f"s3://{name}/in", f"s3://{name}/in/out/")
    assert job.status == COMPLETED
    assert dict(job.counts) == {"scanned": 5, "imported": 4, "refused": 1}
    told = summary(s3, job)
    assert told["successOutputS3Uri"] == f"s3://{job.target}/SUCCESS/"
    (row,) = installation.platform.records.find(IMAGE_SETS)
    assert told["imageSetsSummary"] == [{"imageSetId": row.key, "numberOfMatchedSOPInstances": 4, "isPrimary": True}]
    lines = [json.loads(line) for line in read(s3, f"{job.target}/SUCCESS/success.ndjson").splitlines()]
    assert sorted(line["inputFile"] for line in lines) == sorted(files)
    assert [installation.images.export(each) for each in installation.images.instances(row.key)] == list(phantom())
    again = done(installation, f"s3://{name}/in", f"s3://{name}/in/out/")
    assert again.counts["scanned"] == 5  # the report of the first is no input
    assert installation.platform.records.count(IMAGE_SETS) == 1


def test_input_and_output_may_lie_on_both_sides(installation: Installation, s3: str, name: str) -> None:
    put(s3, name, {f"{number}.dcm": data for number, data in enumerate(phantom())})
    there = done(installation, f"s3://{name}", "s3://training-data/reports")
    assert there.counts["imported"] == 4
    manifest = installation.platform.blobs.get(f"{there.target}/job-output-manifest.json")
    assert json.loads(manifest)["jobSummary"]["numberOfImportedFiles"] == 4
    installation.platform.blobs.put("training-data/in/0.dcm", phantom()[0])
    back = done(installation, "s3://training-data/in/", f"s3://{name}/reports/")
    assert summary(s3, back)["numberOfImportedFiles"] == 1


def test_an_object_that_cannot_be_read_stands_in_the_report(installation: Installation, s3: str, name: str) -> None:
    put(s3, name, {"in/a.dcm": phantom()[0], "in/c.dcm": phantom()[1]})
    client(s3, "s3").put_object(Bucket=name, Key="in/b.dcm", Body=phantom()[2], StorageClass="GLACIER")
    job = done(installation, f"s3://{name}/in/", f"s3://{name}/out/")
    assert dict(job.counts) == {"scanned": 3, "imported": 2, "refused": 1}
    (line,) = map(json.loads, read(s3, f"{job.target}/FAILURE/failure.ndjson").splitlines())
    assert line["inputFile"] == "in/b.dcm"
    assert "archived" in line["exception"]["message"]


@pytest.mark.parametrize("is_input", [True, False])
def test_a_bucket_that_is_not_there_fails_the_job_at_once(
    installation: Installation, s3: str, name: str, is_input: bool
) -> None:
    nowhere = f"s3://nowhere-{uuid.uuid4().hex[:8]}/x/"
    there = f"s3://{name}/x/"
    put(s3, name, {"x/0.dcm": phantom()[0]})
    job = done(installation, *((nowhere, there) if is_input else (there, nowhere)))
    assert job.status == FAILED
    assert job.message == f"{'inputS3Uri' if is_input else 'outputS3Uri'} - there is no such bucket"


def test_without_the_extra_there_is_no_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with open_local(tmp_path) as installation, pytest.raises(InvalidInput, match="extra aws"):
        installation.platform.buckets.open("scans")
