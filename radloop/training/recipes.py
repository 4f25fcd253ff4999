"""Hyperparameters that fit a machine: what a training uses where nobody says otherwise.

The small recipe learns the phantoms, or small X-rays, in minutes on two cores. The full one is the brief's: 224 pixels,
50 epochs, patience 5, batches of 32, learning rate 0.001, weights that were learned elsewhere. Both serve CT and X-ray.
"""

from collections.abc import Mapping
from typing import Final

PRETRAINED_FILE: Final = "resnet50.pth"
_CORES_FOR_FULL: Final = 32

_FULL: Final = {
    "epochs": "50",
    "patience": "5",
    "batch_size": "32",
    "batch_tiles": "32",
    "tiles_at_once": "64",
    "learning_rate": "0.001",
    "augmentation": "1",
    "image_size": "224",
    "tiles_per_bag": "16",
    "tiles_in_evaluation": "32",
}
_SMALL: Final = {
    "epochs": "9",
    "patience": "8",
    "batch_size": "4",
    "batch_tiles": "16",
    "tiles_at_once": "64",
    "learning_rate": "0.001",
    "augmentation": "0.25",
    "image_size": "64",
    "tiles_per_bag": "8",
    "tiles_in_evaluation": "16",
}


def recipe_for(cores: int, gpu: bool, *, pretrained_sha256: str | None = None) -> dict[str, str]:
    """Hyperparameters as the Training job reads them; every value a string.

    Args:
        cores: That the training may use. At least 1.
        gpu: There is one.
        pretrained_sha256: Of the file `resnet50.pth` in the weights channel; None to start from random weights.

    Returns:
        The full recipe with a GPU or at least 32 cores, else the small one.
    """
    return {
        **(_FULL if gpu or cores >= _CORES_FOR_FULL else _SMALL),
        "seed": "7",
        "threads": str(max(1, cores)),
        "pretrained": PRETRAINED_FILE if pretrained_sha256 else "none",
        "pretrained_sha256": pretrained_sha256 or "none",
    }


def preprocess_arguments(recipe: Mapping[str, str]) -> list[str]:
    """Arguments of the Processing job that go with a recipe."""
    names = ("image_size", "tiles_per_bag", "tiles_in_evaluation")
    return [part for name in names for part in (f"--{name.replace('_', '-')}", recipe[name])]
