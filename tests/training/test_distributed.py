"""Two processes learn what one, which is this, learns; real processes, real torchrun."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from radloop.training import preprocess, shards
from radloop.training.distributed import torchrun_command
from radloop.training.folder import sha256_of
from radloop.training.network import ResNet50
from tests.training import together

Dataset = Callable[..., list[dict[str, Any]]]
Channels = Callable[..., None]
ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--image-size", "32", "--tiles-per-bag", "2", "--tiles-in-evaluation", "3"]
BASE = {"epochs": "1", "batch_size": "3", "tiles_at_once": "4", "seed": "3", "augmentation": "1"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}} | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


@pytest.fixture
def prepared(job_root: Path, dataset: Dataset) -> Path:
    """Seven teaching studies of a root: a number that two processes cannot share evenly."""
    dataset(job_root)
    assert preprocess.main(ARGUMENTS) == 0
    manifest = job_root / "processing" / "train" / "manifest.json"
    values = json.loads(manifest.read_text())
    values["items"].append({**values["items"][0], "posterior": 0.7, "weight": 0.5})
    manifest.write_text(json.dumps(values))
    return job_root


@contextmanager
def usual_numbers() -> Iterator[None]:
    """Puts back what `together` sets for its process."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)


def trained(root: Path, name: str, chosen: Mapping[str, str], *, processes: int) -> dict[str, Any]:
    out = root / name
    out.mkdir()
    hyperparameters = json.dumps({**BASE, **chosen})
    if processes == 1:
        with usual_numbers():
            together.main(root, out, hyperparameters)
    else:
        ended = subprocess.run(
            [*TORCHRUN, "tests.training.together", str(root), str(out), hyperparameters],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = torch.load(out / "found.pt", weights_only=True)
    assert found["size"] == processes
    return found


def assert_alike(one: Mapping[str, Any], two: Mapping[str, Any], tolerance: float) -> None:
    assert one["history"][0] == pytest.approx(two["history"][0], rel=1e-5)
    assert one["logits"].numpy() == pytest.approx(two["logits"].numpy(), rel=1e-4, abs=1e-4)
    for name, weight in one["weights"].items():
        # Adam divides a gradient by its own size, so where there is next to none its rounding is made large.
        off = (weight - two["weights"][name]).abs().max() / weight.abs().max().clamp(min=1e-12)
        assert float(off) < tolerance, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen", [{"frozen_batchnorm": "1"}, {}, {"pooling": "attention", "ema": "0.9"}], ids=["frozen", "shared", "more"]
)
def test_two_processes_learn_what_one_learns(prepared: Path, chosen: Mapping[str, str]) -> None:
    one = trained(prepared, "one", chosen, processes=1)
    two = trained(prepared, "two", chosen, processes=2)
    assert_alike(one, two, 1e-9 if "frozen_batchnorm" in chosen else 1e-5)
    fresh = ResNet50().state_dict()
    moved = one["weights"]["encoder.bn1.running_mean"] - fresh["bn1.running_mean"]
    assert bool(moved.any()) != ("frozen_batchnorm" in chosen)


@pytest.mark.slow
def test_two_processes_with_a_shard_list_each_learn_what_one_learns(prepared: Path) -> None:
    whole = trained(prepared, "files", {}, processes=1)
    assert shards.pack(prepared / "processing" / "train", 10 * 32 * 32) == 4
    one = trained(prepared, "one", {}, processes=1)
    two = trained(prepared, "two", {}, processes=2)
    assert_alike(one, two, 1e-5)
    assert one["history"] != whole["history"], "shards take turns, so the order is another one"


@pytest.mark.slow
def test_features_are_computed_by_all_and_learned_from_the_same(prepared: Path) -> None:
    path = prepared / "input" / "data" / "weights" / "resnet50.pth"
    path.parent.mkdir(parents=True)
    torch.manual_seed(4)
    torch.save(ResNet50().state_dict(), path)
    chosen = {"pretrained": path.name, "pretrained_sha256": sha256_of(path), "frozen_encoder": "1"}
    one = trained(prepared, "one", chosen, processes=1)
    two = trained(prepared, "two", chosen, processes=2)
    assert_alike(one, two, 1e-5)


@pytest.mark.slow
def test_a_job_told_to_use_two_processes_becomes_torchrun_by_itself(prepared: Path, channels: Channels) -> None:
    channels(prepared, **BASE, processes=2, threads=2)
    environment = {**ENVIRONMENT, "RADLOOP_ML_ROOT": str(prepared)}
    command = [sys.executable, "-m", "radloop.training.train", "train"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["epoch", "trained"], "one process speaks for all"
    assert json.loads((prepared / "model" / "lineage.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_two_machines_named_as_sagemaker_names_them_train_together(prepared: Path, channels: Channels) -> None:
    """The second machine's folders are its own: it has the data, and gets the state from the first."""
    hosts = ["127.0.0.1", "127.0.0.2"]
    port = str(np.random.default_rng().integers(20_000, 40_000))
    running = []
    for number, host in enumerate(hosts):
        root = prepared / f"machine-{number}"
        root.mkdir()
        (root / "processing").symlink_to(prepared / "processing")
        channels(root, **BASE, threads=1)
        config = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
        (root / "input" / "config" / "resourceconfig.json").write_text(json.dumps(config))
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "radloop.training.train", "train"],
                cwd=ROOT,
                env={**ENVIRONMENT, "RADLOOP_ML_ROOT": str(root), "MASTER_PORT": port},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], said[0][1][-2000:] + said[1][1][-2000:]
    assert '"event": "trained"' in said[0][0]
    assert said[1][0] == ""
    assert (prepared / "machine-0" / "model" / "lineage.json").is_file()
    assert not (prepared / "machine-1" / "model").exists()


def test_torchrun_is_asked_for_what_the_machines_and_the_hyperparameter_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "input" / "config" / "resourceconfig.json"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert torchrun_command(tmp_path, 0, "m") is None
    path.write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    assert torchrun_command(tmp_path, 1, "m") is None
    alone = torchrun_command(tmp_path, 2, "m") or []
    assert "--standalone" in alone
    assert alone[alone.index("--nproc-per-node") + 1] == "2"
    path.write_text(json.dumps({"current_host": "algo-2", "hosts": ["algo-2", "algo-1"]}))
    second = torchrun_command(tmp_path, 0, "m") or []
    told = {name: second[second.index(name) + 1] for name in ("--nnodes", "--node-rank", "--master-addr")}
    assert told == {"--nnodes": "2", "--node-rank": "1", "--master-addr": "algo-1"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert (torchrun_command(tmp_path, 0, "m") or [])[4] == "4"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert torchrun_command(tmp_path, 0, "m") is None
