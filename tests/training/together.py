"""What a test starts under torchrun, or alone: train for one epoch in float64 and leave the weights behind.

python -m tests.training.together ROOT OUT HYPERPARAMETERS
"""

import json
import sys
from pathlib import Path

import torch

from radloop.training.bags import read_part
from radloop.training.checkpoints import Checkpoints
from radloop.training.distributed import team
from radloop.training.hyperparameters import parse_hyperparameters
from radloop.training.run import Run


def main(root: Path, out: Path, hyperparameters: str) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    chosen = parse_hyperparameters(json.loads(hyperparameters))
    teach, tune = (read_part(root / "processing" / name) for name in ("train", "validation"))
    weights = root / "input" / "data" / "weights" / chosen.pretrained if chosen.pretrained != "none" else None
    with team() as crew:
        run = Run(chosen, teach, tune, Checkpoints(out / "checkpoints", "same"), weights=weights, team=crew)
        run.go()
        judged = run.judge()
        if crew.is_first:
            found = {"weights": run.served.state_dict(), "history": run.progress.history, "size": crew.size}
            torch.save({**found, "logits": torch.from_numpy(judged.logits)}, out / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
