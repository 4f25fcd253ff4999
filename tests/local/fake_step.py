"""Stands in for the training code: obeys the same folder contract, in milliseconds and without arrays.

python fake_step.py preprocess|train|evaluate [ARGUMENTS]; what it is to do wrong comes in FAKE_* variables.
"""

import fcntl
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(os.environ["RADLOOP_ML_ROOT"])
LEDGER = Path(os.environ["FAKE_LEDGER"])
IS_COMPLETE = "FAKE_PARTS_MAY_BE_EMPTY" not in os.environ


def note(line: str) -> None:
    with LEDGER.open("a") as file:
        file.write(line + "\n")


def preprocess() -> None:
    dataset = ROOT / "processing" / "input" / "dataset"
    lines = [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]
    assert (dataset / "snapshot.json").exists()
    for split in ("train", "validation", "test", "external"):
        folder = ROOT / "processing" / split
        folder.mkdir(parents=True, exist_ok=True)
        mine = [line for line in lines if line["split"] == split]
        for line in mine:
            target = folder / "images" / line["image_set"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((dataset / line["file"]).read_bytes())
        (folder / "manifest.json").write_text(json.dumps(mine))


def train() -> None:
    channels = {name: Path(os.environ[f"SM_CHANNEL_{name.upper()}"]) for name in ("train", "validation")}
    for folder in channels.values() if IS_COMPLETE else ():
        assert json.loads((folder / "manifest.json").read_text())
        assert any((folder / "images").iterdir())
    alone = (LEDGER.parent / "training.alive").open("w")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("two-trainings")
    if "FAKE_CHILD" in os.environ:
        for line in LEDGER.read_text().splitlines():
            if line.startswith("child ") and Path(f"/proc/{line.split()[1]}/exe").exists():
                note("survivor")
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        note(f"child {child.pid}")
    chosen = json.loads((ROOT / "input" / "config" / "hyperparameters.json").read_text())
    assert all(isinstance(value, str) for value in chosen.values())
    checkpoint = ROOT / "checkpoints" / "epoch"
    epoch = int(checkpoint.read_text()) if checkpoint.exists() else 0
    note(f"from-epoch {epoch}")
    while epoch < int(chosen["epochs"]):
        time.sleep(float(os.environ.get("FAKE_EPOCH_S", "0")))
        epoch += 1
        beside = checkpoint.with_suffix(".part")
        beside.write_text(str(epoch))
        beside.replace(checkpoint)
        print("this line is not JSON")
        print(json.dumps({"event": "epoch", "epoch": epoch, "validation_loss": 1 / epoch, "curve": [1]}), flush=True)
        if os.environ.get("FAKE_STANDS_AFTER") == str(epoch):  # who goes on from here goes on
            time.sleep(600)
    model = Path(os.environ["SM_MODEL_DIR"])
    (model / "code").mkdir()
    (model / "model.json").write_text(json.dumps({"epochs": epoch}))
    (model / "code" / "inference.py").write_text("")


def evaluate() -> None:
    with tarfile.open(ROOT / "processing" / "model" / "model.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["code/inference.py", "model.json"]
    for part in ("train", "test"):
        assert json.loads((ROOT / "processing" / part / "manifest.json").read_text()) or not IS_COMPLETE
    assert json.loads((ROOT / "processing" / "external" / "manifest.json").read_text()) == []
    assert (ROOT / "processing" / "context" / "policy.json").exists()
    threshold = float(sys.argv[sys.argv.index("--accuracy-threshold") + 1])
    accuracy = float(os.environ.get("FAKE_ACCURACY", "0.9"))
    report = {
        "metrics": {"accuracy": {"value": accuracy, "ci_low": 0.8, "ci_high": 0.95}},
        "gate": {"approved": accuracy >= threshold, "rules": []},
    }
    if "FAKE_APPROVED" in os.environ:
        report["gate"]["approved"] = json.loads(os.environ["FAKE_APPROVED"])
    (ROOT / "processing" / "evaluation" / "evaluation.json").write_text(json.dumps(report))
    (ROOT / "processing" / "evaluation" / "model_card.md").write_text("# card")


def main() -> int:
    step = sys.argv[1]
    note(step)
    if os.environ.get("FAKE_FAILS") == step:
        (ROOT / "output" / "failure").write_text("the train part is empty\nof positives\n")
        print("a line of standard error", file=sys.stderr)
        return 3
    if os.environ.get("FAKE_HANGS") == step:
        time.sleep(600)
    if os.environ.get("FAKE_EMPTY") == step:
        return 0
    {"preprocess": preprocess, "train": train, "evaluate": evaluate}[step]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
