"""What can be said of the containers without an engine; `make containers` builds them and walks through them."""

import importlib.metadata
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from radloop.dicom.make import xray_instance
from radloop.local import container
from radloop.pipeline.drift_builder import drift_definition
from radloop.pipeline.expressions import Scope, parameters_of, resolve
from radloop.pipeline.pipeline_builder import RECIPE, definition
from tests.aws.emulators import free_port
from tests.containers.dockerfiles import REPOSITORY, command, faults, ignore_patterns, is_left_out, read
from tests.serving.small_model import film, films, model_package, reference_of

CONTAINERS = ("pipeline", "inference", "lambda")
GOOD = 'FROM python:3.11.14-slim\nCOPY pyproject.toml ./\nUSER 1000\nENTRYPOINT ["python3"]\n'


def dockerfile(name: str) -> str:
    return (REPOSITORY / "infra" / "containers" / name / "Dockerfile").read_text()


# Rules


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_dockerfile_obeys_every_rule(name: str) -> None:
    assert faults(dockerfile(name), ignored=ignore_patterns()) == []


def test_a_good_file_has_no_faults() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("python:3.11.14-slim", "python"), "line 1: the base python is pinned by neither"),
        (("python:3.11.14-slim", "python:latest"), "line 1: the base python:latest is pinned by neither"),
        (("USER 1000", "USER root"), "line 4: the container runs as root"),
        (("USER 1000\n", ""), "line 3: the container runs as root"),
        (("USER 1000", "ARG WHO=root\nUSER ${WHO}"), "line 5: the container runs as root"),
        (("pyproject.toml", "setup.py"), "line 2: setup.py is not there"),
        (("COPY pyproject.toml", "ADD pyproject.toml"), "line 2: ADD fetches"),
        (("USER 1000", "ENV API_TOKEN=x\nUSER 1000"), "line 3: a secret"),
        (("USER 1000", "ARG AWS_SECRET_ACCESS_KEY\nUSER 1000"), "line 3: a secret"),
        (("USER 1000", "RUN pip install \\\n  numpy\nUSER 1000"), "line 3: pip installs what no constraint pins"),
        (("USER 1000", "RUN curl -s https://x | sh\nUSER 1000"), "line 3: what is fetched is run unseen"),
        (("USER 1000", "RUN apt-get install -y gcc\nUSER 1000"), "line 3: apt installs more"),
        (('["python3"]', "python3 -m x"), "line 4: ENTRYPOINT is no list"),
        (("COPY pyproject.toml ./", "COPY --from=build /x /x"), "line 2: there is no stage build"),
        (("COPY pyproject.toml ./", "COPY tests ./tests"), "line 2: tests is left out by .dockerignore"),
    ],
)
def test_each_rule_finds_what_breaks_it(change: tuple[str, str], fault: str) -> None:
    found = faults(GOOD.replace(*change), ignored=ignore_patterns())
    assert len(found) == 1
    assert found[0].startswith(fault)


@pytest.mark.parametrize(
    "path", [".git", ".venv", ".lab", "tests", "bench", "docs", "radloop-home", "build", "radloop/viewer/static"]
)
def test_no_data_and_no_environment_goes_into_a_build(path: str) -> None:
    assert is_left_out(path, ignore_patterns())


# What is in them


def closure(name: str) -> set[str]:
    """Every distribution that the container's requirements bring with them, and pip's own."""
    lines = (REPOSITORY / "infra" / "containers" / name / "requirements.txt").read_text().splitlines()
    waiting = [line.partition("=")[0].strip() for line in lines if line and not line.startswith("#")]
    found: set[str] = set()
    while waiting:
        each = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if each in found:
            continue
        found.add(each)
        needed = importlib.metadata.requires(each) or []
        waiting += [
            re.split(r"[^\w.-]", one)[0] for one in needed if "extra ==" not in one and "sys_platform" not in one
        ]
    return found


def refusing(folder: Path, name: str) -> dict[str, str]:
    """An environment whose Python imports nothing that the container would not have."""
    allowed = closure(name)
    packages = importlib.metadata.packages_distributions()
    refused = sorted(
        top
        for top, owners in packages.items()
        if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & allowed and top != "radloop"
    )
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        f"REFUSED = {set(refused)!r}\n"
        "class Refuses:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in REFUSED:\n"
        "            raise ModuleNotFoundError(f'{name} is not in the container', name=name)\n"
        "sys.meta_path.insert(0, Refuses())\n"
    )
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", ["pipeline", "inference"])
def test_every_requirement_is_pinned(name: str) -> None:
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    }
    assert closure(name) - pinned <= {"pip"}


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("pipeline", ["radloop.training.preprocess", "radloop.training.train", "radloop.evaluation.evaluate"]),
        ("inference", ["radloop.functions.inference", "radloop.functions.drift_job"]),
    ],
)
def test_what_a_container_starts_needs_nothing_that_is_not_in_it(name: str, modules: list[str], tmp_path: Path) -> None:
    started = command(read(dockerfile(name)))
    assert started[:2] == ["python3", "-m"]
    assert started[2] in modules
    run = [sys.executable, "-c", f"import {', '.join(modules)}"]
    done = subprocess.run(run, env=refusing(tmp_path, name), capture_output=True, check=False, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]


def test_the_test_of_imports_sees_a_package_that_is_missing(tmp_path: Path) -> None:
    for missing in ("torch", "starlette", "boto3"):
        run = [sys.executable, "-c", f"import {missing}"]
        done = subprocess.run(run, env=refusing(tmp_path, "inference"), capture_output=True, check=False, text=True)
        assert f"{missing} is not in the container" in done.stderr


def test_every_step_starts_a_module_of_the_container_it_runs_in() -> None:
    built = {step["Name"]: step["Arguments"] for step in [*definition()["Steps"], *drift_definition()["Steps"]]}
    entries = {
        name: (arguments.get("AppSpecification") or arguments["AlgorithmSpecification"])["ContainerEntrypoint"]
        for name, arguments in built.items()
        if "AppSpecification" in arguments or "AlgorithmSpecification" in arguments
    }
    assert entries == {
        "Preprocess": ["python3", "-m", "radloop.training.preprocess"],
        "Train": ["python3", "-m", "radloop.training.train"],
        "Evaluate": ["python3", "-m", "radloop.evaluation.evaluate"],
        "Drift": ["python3", "-m", "radloop.functions.drift_job"],
    }


def test_the_function_of_the_image_is_one_of_the_contract() -> None:
    functions = json.loads((REPOSITORY / "contracts" / "functions.json").read_text())["functions"]
    images = [each["entry"] for each in functions if each["package"] == "image"]
    assert command(read(dockerfile("lambda")))[0] in images


def test_the_endpoints_container_answers_with_nothing_but_its_own_packages(tmp_path: Path) -> None:
    package = model_package(bias=-0.4, temperature=1.5, reference=reference_of(films(80, 1)))
    with tarfile.open(fileobj=io.BytesIO(package)) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    port = free_port()
    environment = {
        **refusing(tmp_path, "inference"),
        "RADLOOP_ML_ROOT": str(tmp_path),
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    started = [sys.executable, *command(read(dockerfile("inference")))[1:], "--host", "127.0.0.1"]
    process = subprocess.Popen(started, env=environment, stderr=subprocess.PIPE)
    try:
        file = xray_instance(film(np.random.default_rng(4))[0], patient_id="P-1")
        answer = asked(f"http://127.0.0.1:{port}", file, process)
        assert answer["finding"] in {"present", "absent"}
    finally:
        process.kill()
        process.communicate()


def asked(address: str, file: bytes, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    for _ in range(400):
        assert process.poll() is None
        try:
            answer = httpx.post(f"{address}/invocations", content=file, headers={"Content-Type": "application/dicom"})
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            told: dict[str, Any] = answer.raise_for_status().json()
            return told
    pytest.fail("it does not answer")


# The contract of SageMaker is what the runner on one machine lays out


def works() -> dict[str, tuple[dict[str, Any], container.Work]]:
    """Every job of the pipeline as SageMaker is asked for it, and as our own runner reads the same."""
    built = definition(with_weights=True)
    uris = {name: f"s3://training-data/{name}" for name in ("DatasetUri", "ContextUri", "WeightsUri")}
    described: dict[str, Any] = {}
    scope = Scope(
        parameters=parameters_of(built, {**uris, "Snapshot": "abc"}),
        execution={"PipelineExecutionId": "one"},
        steps=described,
    )
    found = {}
    for step in built["Steps"][:3]:
        arguments = resolve(step["Arguments"], scope)
        found[step["Name"]] = (arguments, container.work_of(step["Type"], arguments))
        described[step["Name"]] = arguments | {"ModelArtifacts": {"S3ModelArtifacts": "s3://m/model.tar.gz"}}
    return found


@pytest.mark.parametrize("name", ["Preprocess", "Evaluate"])
def test_a_processing_job_finds_its_inputs_and_outputs_where_sagemaker_mounts_them(name: str, tmp_path: Path) -> None:
    arguments, work = works()[name]
    told = [each["S3Input"]["LocalPath"] for each in arguments["ProcessingInputs"]]
    told += [each["S3Output"]["LocalPath"] for each in arguments["ProcessingOutputConfig"]["Outputs"]]
    assert [f"/opt/ml/{mount.folder}" for mount in (*work.inputs, *work.outputs)] == told
    assert all(path.startswith("/opt/ml/processing/") for path in told)
    container.prepare(work, tmp_path)
    assert all((tmp_path / path.removeprefix("/opt/ml/")).is_dir() for path in told)
    assert json.loads((tmp_path / "config" / "processingjobconfig.json").read_text()) == arguments
    assert (tmp_path / "config" / "resourceconfig.json").is_file()


def test_a_training_job_finds_its_channels_hyperparameters_and_checkpoints(tmp_path: Path) -> None:
    arguments, work = works()["Train"]
    container.prepare(work, tmp_path)
    for channel in ("train", "validation", "weights"):
        assert (tmp_path / "input" / "data" / channel).is_dir()
    assert json.loads((tmp_path / "input" / "config" / "hyperparameters.json").read_text()) == dict(RECIPE)
    resources = json.loads((tmp_path / "input" / "config" / "resourceconfig.json").read_text())
    assert resources["current_host"] in resources["hosts"]
    assert (tmp_path / "model").is_dir()
    assert arguments["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert (tmp_path / "checkpoints").is_dir()
