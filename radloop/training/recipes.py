"""Hyperparameters that fit a machine: what `radloop train` and the pipeline use where nobody says otherwise.

The small recipe learns the phantoms, or small X-rays, in minutes on two cores. The full one is the brief's: 224 pixels,
50 epochs, patience 5, batches of 32, learning rate 0.001, weights that were learned elsewhere.
"""

from typing import Final

PRETRAINED_FILE: Final = "resnet50.pth"
_CORES_FOR_FULL: Final = 32


def recipe_for(cores: int, gpu: bool, *, modality: str = "CT", pretrained: bool = False) -> dict[str, str]:
    """Hyperparameters as the Training job reads them; every value a string.

    `image_size`, `tiles_per_bag` and `tiles_in_evaluation` are also what the Processing job is to be told, see
    `preprocess_arguments`.

    Args:
        cores: That the training may use. At least 1.
        gpu: There is one.
        modality: `CT`, `CR` or `DX`; an X-ray has few views, so its bags are small and its batches large.
        pretrained: `resnet50.pth` lies in the weights channel.

    Returns:
        The full recipe with a GPU or at least 32 cores, else the small one.
    """
    full = gpu or cores >= _CORES_FOR_FULL
    recipe = _full(modality) if full else _small(modality)
    return {
        **recipe,
        "seed": "7",
        "threads": str(max(1, cores)),
        "pretrained": PRETRAINED_FILE if pretrained else "none",
    }


def preprocess_arguments(recipe: dict[str, str]) -> list[str]:
    """Arguments of the Processing job that go with a recipe."""
    names = ("image_size", "tiles_per_bag", "tiles_in_evaluation")
    return [part for name in names for part in (f"--{name.replace('_', '-')}", recipe[name])]


def _full(modality: str) -> dict[str, str]:
    is_ct = modality == "CT"
    return {
        "epochs": "50",
        "patience": "5",
        "batch_size": "32",
        "tiles_at_once": "64",
        "learning_rate": "0.001",
        "augmentation": "1",
        "image_size": "224",
        "tiles_per_bag": "16" if is_ct else "1",
        "tiles_in_evaluation": "32" if is_ct else "4",
    }


def _small(modality: str) -> dict[str, str]:
    is_ct = modality == "CT"
    return {
        "epochs": "9" if is_ct else "5",
        "patience": "8" if is_ct else "5",
        "batch_size": "4" if is_ct else "16",
        "tiles_at_once": "64",
        "learning_rate": "0.001",
        "augmentation": "0.25",
        "image_size": "64",
        "tiles_per_bag": "8" if is_ct else "1",
        "tiles_in_evaluation": "16" if is_ct else "4",
    }
