"""The package of the functions: small enough, the same every time, whole, and content with the memory it is given."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radloop.core.contracts import contracts
from radloop.core.tables import IMAGE_SETS
from radloop.dicom.phantom import phantom_study
from tests.aws.environment import Environment, batch, environment, import_ended
from tests.aws.test_lambdas import assemble, ended

ROOT = Path(__file__).parents[2]
FUNCTIONS = {each["name"]: each for each in json.loads((contracts() / "functions.json").read_text())["functions"]}
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
"""What Lambda's Python has besides its standard library."""

BOOTSTRAP_MB = 25
"""What Lambda's own bootstrap takes beside the handler; measured by nobody here, so taken generously."""

pytestmark = pytest.mark.slow


def builder() -> Any:
    spec = importlib.util.spec_from_file_location("lambda_zip", ROOT / "infra" / "build" / "lambda_zip.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lambda_zip"] = module
    spec.loader.exec_module(module)
    return module


def wheels(folder: Path, python: str) -> Path:
    try:
        builder().download(folder, python)
    except subprocess.CalledProcessError:
        pytest.skip(f"no package index with wheels for Python {python} is in reach")
    return folder


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for the Python of this machine, which differs from Lambda's in the wheels' tag alone."""
    folder = tmp_path_factory.mktemp("package")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    made = builder().build(folder / "lambda.zip", python=python, wheels=wheels(folder / "wheels", python))
    with zipfile.ZipFile(made.path) as package:
        package.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runtime")
    home = Path(importlib.util.find_spec("boto3").origin).parents[1]  # type: ignore[union-attr, arg-type]
    for name in RUNTIME:
        (folder / name).symlink_to(home / name)
    return folder


@pytest.fixture(scope="module")
def surroundings(ministack: str, healthimaging_url: str) -> Iterator[Environment]:
    with environment(ministack, healthimaging_url, study_quiet_s=0.1) as made:
        yield made


def called(
    unpacked: Path, runtime: Path, surroundings: Environment, name: str, *events: dict[str, Any]
) -> dict[str, Any]:
    """What came of calling a function with some events in turn, in a process that has nothing but the package."""
    function = FUNCTIONS[name]
    variables = {**surroundings.variables, "OMP_NUM_THREADS": "1"}
    asked = {
        "environment": variables,
        "memory_mb": function["memory_mb"],
        "calls": [[function["entry"], event] for event in events],
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(Path(__file__).parent / "packaged.py"), str(unpacked), str(runtime)],
        input=json.dumps(asked).encode(),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["foreign"] == []
    print(f"{name}: {told['peak_mb']:.0f} of {function['memory_mb']} MB")
    assert told["peak_mb"] + BOOTSTRAP_MB < function["memory_mb"]
    return told


def test_the_package_for_lambda_fits_and_is_the_same_every_time(tmp_path: Path) -> None:
    found = wheels(tmp_path / "wheels", "3.12")
    one, other = (builder().build(tmp_path / name, wheels=found) for name in ("one.zip", "other.zip"))
    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.zipped_bytes < 50_000_000
    assert one.unpacked_bytes < 250_000_000
    with zipfile.ZipFile(one.path) as package:
        names = package.namelist()
    assert not any(name.startswith(("boto3/", "botocore/")) or name.endswith(".pyc") for name in names)
    assert not any("/tests/" in name for name in names)
    assert "radloop/contracts/functions.json" in names


def test_ingestion_takes_ten_objects_and_a_long_one_in_the_memory_it_has(
    unpacked: Path, runtime: Path, surroundings: Environment
) -> None:
    slices = phantom_study(3, consolidated=True, slices=10, size=512).files
    told = [surroundings.put(f"upload/{number}.dcm", data) for number, data in enumerate(slices)]
    long = surroundings.put("upload/long.dcm", b"\0" * (96 << 20))
    answer = called(unpacked, runtime, surroundings, "image-ingestion", batch(*told), batch(long))
    assert [each["batchItemFailures"] for each in answer["answers"]] == [[], []]
    assemble(surroundings)
    (job,) = ended(surroundings)
    called(unpacked, runtime, surroundings, "image-ingestion", import_ended(surroundings.datastore, job))
    assert surroundings.cloud.platform.records.count(IMAGE_SETS) == 1


def test_the_small_functions_do_in_the_memory_they_have(
    unpacked: Path, runtime: Path, surroundings: Environment
) -> None:
    ours = {"id": "1", "source": "radloop.imaging", "time": "2026-11-23T12:00:00Z", "resources": []}
    verified = {"image_set": "a" * 32, "version": 2, "finding": "present", "confidence": "HIGH", "verified_by": "x"}
    held = {**ours, "source": "imaging.mlops", "detail-type": "ReleaseHeld"}
    held["detail"] = {"model_version": 1, "execution": "x", "reasons": ["no-plan"]}
    clock = {"id": "1", "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": {}}
    called(
        unpacked,
        runtime,
        surroundings,
        "pipeline-trigger",
        {**ours, "detail-type": "ImageVerified", "detail": verified},
    )
    called(unpacked, runtime, surroundings, "error-logging", held)
    called(unpacked, runtime, surroundings, "gauges", clock)


def test_the_doors_are_whole_in_the_package(unpacked: Path, runtime: Path, surroundings: Environment) -> None:
    from tests.aws.test_doors import request

    (answer,) = called(unpacked, runtime, surroundings, "api", request("/healthz"))["answers"]
    assert answer["statusCode"] == 200
