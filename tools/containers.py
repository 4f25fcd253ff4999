# ruff: noqa: INP001, T201 — a program that is run by itself and tells what it found
"""The containers of SageMaker: build them, walk the pipeline's steps in them, and have one answer.

    python tools/containers.py                       with docker or podman, whichever is there
    python tools/containers.py --base python:here --lambda-base lambda:here
                                                     from other bases than the Dockerfiles name

It builds infra/containers/pipeline and inference, runs Preprocess, Train and Evaluate of the pipeline's own definition
on a small made-up data set, each in a fresh container without a network, and holds what they wrote against the same
steps run on this machine: the same weights, the same metrics. Then the inference container gets that model, is started
by its own entry point and asked for a study. The container of Lambda is built too, and its handler loaded as the user
that Lambda is; nothing is asked of it. It fails where anything differs.

RADLOOP_ENGINE holds the engine's command where it is another (`podman --runtime runc`), RADLOOP_BUILD_OPTIONS and
RADLOOP_RUN_OPTIONS what else `build` and `run` are given, such as mounted certificates or limits.
"""

import argparse
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from radloop.core.datasets import Split
from radloop.dicom.make import xray_instance
from radloop.evaluation import policy
from radloop.local.container import pack
from radloop.pipeline.expressions import Scope, parameters_of, resolve
from radloop.pipeline.pipeline_builder import definition
from radloop.serving.predict import Predictor

ROOT = Path(__file__).resolve().parents[1]
IMAGES = {"pipeline": "radloop-pipeline", "inference": "radloop-inference", "lambda": "radloop-lambda"}
_ML = "/opt/ml"
_USER = 1000
_UP_S = 60.0
_ALIKE = 1e-5
_ASK = """
import sys, urllib.request as web
kind, body = sys.argv[1], sys.stdin.buffer.read()
place = "http://127.0.0.1:8080/" + ("invocations" if body else "ping")
asked = web.Request(place, body or None, {"Content-Type": kind})
print(web.urlopen(asked, timeout=30).read().decode())
"""


@dataclass(slots=True)
class Found:
    """What a part came to."""

    part: str
    seconds: float
    told: str


@dataclass(slots=True)
class Walk:
    """A walk with one engine.

    Attributes:
        engine: The words that its command begins with.
        bases: What stands for the base that a Dockerfile names, by image; that one where there is none.
    """

    engine: list[str]
    bases: Mapping[str, str]
    found: list[Found] = field(default_factory=list)

    def part(self, name: str, work: Callable[[], str]) -> None:
        """Do one part, and tell."""
        begun = time.monotonic()
        print(f"{name} ...", flush=True)
        told = work()
        self.found.append(Found(name, time.monotonic() - begun, told))
        print(f"{name}: {told}", flush=True)

    def build(self, which: str) -> str:
        """Build one of `IMAGES`; returns its size."""
        base = ["--build-arg", f"BASE={self.bases[which]}"] if which in self.bases else []
        file = f"infra/containers/{which}/Dockerfile"
        options = shlex.split(os.environ.get("RADLOOP_BUILD_OPTIONS", ""))
        self.call("build", "-f", file, "-t", IMAGES[which], *base, *options, ".", loud=True)
        size = int(self.call("image", "inspect", "--format", "{{.Size}}", IMAGES[which]))
        return f"{size / 1e6:.0f} MB"

    def step(self, command: Sequence[str], root: Path) -> None:
        """Run a step's command in a fresh container over the folders of a job, which it owns meanwhile."""
        own(root, _USER)
        try:
            program, *rest = command
            options = ["--rm", "--network", "none", "-v", f"{root}:{_ML}", "-e", "OMP_NUM_THREADS=1"]
            self.call("run", *options, *self.options, "--entrypoint", program, IMAGES["pipeline"], *rest)
        finally:
            own(root, os.geteuid())

    @property
    def options(self) -> list[str]:
        """What else `run` is given."""
        return shlex.split(os.environ.get("RADLOOP_RUN_OPTIONS", ""))

    def call(self, *words: str, data: bytes | None = None, loud: bool = False) -> str:
        """What the engine answers.

        Raises:
            SystemExit: It fails; its last lines are told.
        """
        done = subprocess.run(  # noqa: S603 — whoever runs this names the engine
            [*self.engine, *words], cwd=ROOT, input=data, capture_output=True, check=False
        )
        if done.returncode:
            tail = (done.stdout + done.stderr).decode(errors="replace").splitlines()[-20:]
            raise SystemExit("\n".join([f"{' '.join(words[:2])} ended with {done.returncode}", *tail]))
        if loud and os.environ.get("RADLOOP_LOUD"):
            print(done.stdout.decode(errors="replace"))
        return done.stdout.decode().strip()


# The pipeline's steps


def recipe() -> dict[str, str]:
    """The definition's own, on tiny pictures and for one epoch."""
    own = {one["Name"]: str(one["DefaultValue"]) for one in definition()["Parameters"] if one["Name"].islower()}
    return {**own, "epochs": "1", "image_size": "32", "tiles_per_bag": "2", "tiles_in_evaluation": "2", "threads": "1"}


def commands() -> dict[str, list[str]]:
    """What each step's container is started with, by the definition that Terraform gives to SageMaker."""
    told = definition(hyperparameters=recipe())
    scope = Scope(parameters_of(told, needed(told)), {})
    found = {}
    for step in told["Steps"]:
        asked = step.get("Arguments", {})
        application = asked.get("AppSpecification") or asked.get("AlgorithmSpecification")
        if application:
            words = [*application["ContainerEntrypoint"], *application.get("ContainerArguments", ())]
            found[step["Name"]] = [str(resolve(word, scope)) for word in words]
    return found


def needed(told: Mapping[str, Any]) -> dict[str, str]:
    """Something for every parameter that has no default; no step's command needs them."""
    return {one["Name"]: "none" for one in told["Parameters"] if "DefaultValue" not in one}


def lay_out(root: Path) -> None:
    """A data set of made-up films, of which the sick ones have a bright square."""
    rng = np.random.default_rng(1)
    folder = root / "processing" / "input" / "dataset"
    (folder / "images").mkdir(parents=True)
    lines = []
    for split in Split:
        for at in range(6):
            name, label = f"{split}-{at}", at % 2
            np.save(folder / "images" / f"{name}.npy", film(rng, label))
            line = {"image_set": name, "version": 1, "patient": f"{name:0>16}"[-16:], "split": split, "label": label}
            lines.append(json.dumps({**line, "modality": "DX", "file": f"images/{name}.npy"}))
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines))


def film(rng: np.random.Generator, label: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A film of (1, 40, 40) grey values."""
    grey = rng.integers(0, 20_000, (1, 40, 40))
    grey[:, 10:30, 10:30] += 40_000 * label
    return grey.astype(np.uint16)


def walked(root: Path, run: Callable[[list[str], Path], None]) -> None:
    """Preprocess, Train, Evaluate; between them, what SageMaker does with files."""
    lay_out(root)
    steps = commands()
    for folder in ("output", "tmp", "checkpoints", "model", "input/config", "input/data"):
        (root / folder).mkdir(parents=True)
    run(steps["Preprocess"], root)
    (root / "input/config/hyperparameters.json").write_text(json.dumps(recipe()))
    for part in ("train", "validation"):
        shutil.copytree(root / "processing" / part, root / "input/data" / part)
    run(steps["Train"], root)
    (root / "processing/model").mkdir()
    (root / "processing/context").mkdir()
    pack(root / "model", root / "processing/model/model.tar.gz")
    (root / "processing/context/policy.json").write_text(policy.load("").canonical())
    (root / "processing/context/facts.json").write_text(
        json.dumps({"newest_label_days": 0.0, "behind_champion_days": None})
    )
    run(steps["Evaluate"], root)


def here(command: list[str], root: Path) -> None:
    """Run a step on this machine.

    Raises:
        SystemExit: It fails.
    """
    environment = {**os.environ, "RADLOOP_ML_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: S603 — the definition's own command
        [sys.executable, *command[1:]], env=environment, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode} on this machine: {done.stderr[-500:]!r}")


def compared(inside: Path, outside: Path) -> str:
    """Hold what both wrote against each other; returns what was equal.

    Raises:
        SystemExit: They differ.
    """
    lineages, metrics = [], []
    for root in (inside, outside):
        lineages.append(json.loads((root / "model/lineage.json").read_text())["weights_sha256"])
        metrics.append(json.loads((root / "processing/evaluation/evaluation.json").read_text())["metrics"])
    if lineages[0] != lineages[1]:
        raise SystemExit(f"other weights in the container than here: {lineages}")
    if metrics[0] != metrics[1]:
        raise SystemExit("other metrics in the container than here")
    return f"weights {lineages[0][:12]} and {len(metrics[0])} metrics as on this machine"


def own(folder: Path, user: int) -> None:
    """Give a folder and what is in it to a user, where we may."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)


# The endpoint


def answered(walk: Walk, root: Path) -> str:
    """Start the inference container on the model that was trained, and have it look at a study both ways.

    Raises:
        SystemExit: It does not start, or answers otherwise than the model itself.
    """
    volume = film(np.random.default_rng(9), 1)
    expected = Predictor(root / "model", threads=1).predict(volume, "DX")
    mount = f"{root / 'model'}:{_ML}/model:ro"
    name = walk.call("run", "-d", "--network", "none", "-v", mount, *walk.options, IMAGES["inference"])
    try:
        wait(walk, name)
        out = io.BytesIO()
        np.save(out, volume)
        told = []
        for kind, body in (
            ("application/x-npy", out.getvalue()),
            ("application/dicom", xray_instance(volume[0], patient_id="made-up")),
        ):
            said = walk.call("exec", "-i", name, "python3", "-c", _ASK, kind, data=body)
            told.append(json.loads(said)["observation"]["probability"])
    finally:
        walk.call("rm", "-f", name)
    if any(abs(one - expected.probability) > _ALIKE for one in told):
        raise SystemExit(f"the container says {told}, the model here {expected.probability}")
    return f"probability {told[0]:.6f} for pixels and for DICOM, as here"


def loaded(walk: Walk) -> str:
    """Load the function that the image names, with nothing but what is in the image; returns what it holds."""
    (handler,) = json.loads(walk.call("image", "inspect", "--format", "{{json .Config.Cmd}}", IMAGES["lambda"]))
    module, _, name = handler.rpartition(".")
    ask = f"""
import os, {module}, radloop.serving.predict as predict
assert callable({module}.{name})
print(os.getuid(), predict.__file__)
"""
    user, place = walk.call(
        "run", "--rm", "--network", "none", *walk.options, "--entrypoint", "python3", IMAGES["lambda"], "-c", ask
    ).split()
    return f"{handler} loads as user {user}, from {Path(place).parents[2]}"


def wait(walk: Walk, name: str) -> None:
    """Until it answers /ping."""
    deadline = time.monotonic() + _UP_S
    while True:
        try:
            walk.call("exec", name, "python3", "-c", _ASK, "text/plain")
        except SystemExit:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def engine_of(named: str | None) -> list[str]:
    """The engine's command.

    Raises:
        SystemExit: There is none.
    """
    if named:
        return shlex.split(named)
    for each in ("docker", "podman"):
        if shutil.which(each):
            return [each]
    raise SystemExit("neither docker nor podman is installed; RADLOOP_ENGINE names another engine")


def main() -> None:
    """Build, walk, compare, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="what stands for the base image of pipeline and inference")
    parser.add_argument("--lambda-base", help="what stands for the base image of the functions")
    parser.add_argument("--built", action="store_true", help="the images are built already")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    chosen = parser.parse_args()
    bases = {"pipeline": chosen.base, "inference": chosen.base, "lambda": chosen.lambda_base}
    walk = Walk(engine_of(os.environ.get("RADLOOP_ENGINE")), {which: base for which, base in bases.items() if base})
    for which in () if chosen.built else IMAGES:
        walk.part(f"build {which}", lambda which=which: walk.build(which))  # type: ignore[misc]
    with tempfile.TemporaryDirectory(prefix="radloop-containers-") as folder:
        inside, outside = Path(folder, "inside"), Path(folder, "outside")
        for root in (inside, outside):
            root.mkdir()

        def steps() -> str:
            walked(inside, walk.step)
            walked(outside, here)
            return compared(inside, outside)

        walk.part("Preprocess, Train, Evaluate", steps)
        walk.part("endpoint", lambda: answered(walk, inside))
        walk.part("handler", lambda: loaded(walk))
    for one in walk.found:
        print(f"{one.part:30} {one.seconds:7.1f} s  {one.told}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(one) for one in walk.found], indent=1) + "\n")


if __name__ == "__main__":
    main()
