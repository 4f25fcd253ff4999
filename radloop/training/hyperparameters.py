"""What a training may be told."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from radloop.core.errors import InvalidInput

NONE: Final = "none"
POOLINGS: Final = ("mean", "attention")
_COUNTS: Final = ("epochs", "patience", "batch_size", "batch_tiles", "tiles_at_once", "passes")
_SWITCHES: Final = ("frozen_batchnorm", "frozen_encoder")
_SPEED: Final = ("threads", "processes")


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What a training may be told; SageMaker hands every value over as a string.

    Attributes:
        epochs: At most so many.
        patience: Stop after so many epochs without a lower validation loss.
        batch_size: Studies in one step of the optimiser, at least.
        batch_tiles: Tiles in one step, at least: studies of one tile come in greater batches.
        tiles_at_once: Most tiles in one forward pass, of all processes together; a batch with more is taken in
            portions. Bounds the memory.
        learning_rate: Of Adam, at its peak: it rises over the first tenth of the steps and falls along a cosine.
        weight_decay: Of Adam (L2).
        image_size: Side of a tile; 0 takes what preprocessing made. A difference is refused.
        tiles_per_bag: Tiles a study in one step; 0 takes what preprocessing was told.
        tiles_in_evaluation: As `tiles_per_bag`, for the most tiles a study shows in validation.
        augmentation: Strength of the variation, 0 to switch it off.
        passes: How often an epoch visits every study, each time with other tiles.
        seed: Of the weights, the order and the variation.
        pooling: How tiles become one study: `mean`, or `attention`, which learns how much each tile counts.
        ema: The share that the running average of the weights keeps in every step, below 1; 0 for no average. With
            one it is the average that is validated, kept and served.
        frozen_batchnorm: 1 keeps the running statistics of BatchNorm as they are; scale and shift still learn.
        frozen_encoder: 1 trains the last layer (and the attention) alone, on embeddings that are computed once.
            Needs `pretrained`.
        feature_copies: With a frozen encoder: varied copies of each training study; 0 for one without variation.
        target_sensitivity: The operating point is the one of highest specificity that has this sensitivity on
            validation; 0 for the highest mean of both.
        pretrained: File in `input/data/weights/`, or `none`.
        pretrained_sha256: SHA-256 of that file, hexadecimal; without it the file is refused.
        threads: For torch, shared out among the processes of a machine; 0 leaves its choice.
        processes: Of one machine; 0 for one a GPU, and one where there is none.
    """

    epochs: int = 50
    patience: int = 5
    batch_size: int = 32
    batch_tiles: int = 1
    tiles_at_once: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    image_size: int = 0
    tiles_per_bag: int = 0
    tiles_in_evaluation: int = 0
    augmentation: float = 1.0
    passes: int = 1
    seed: int = 7
    pooling: str = "mean"
    ema: float = 0.0
    frozen_batchnorm: int = 0
    frozen_encoder: int = 0
    feature_copies: int = 0
    target_sensitivity: float = 0.0
    pretrained: str = NONE
    pretrained_sha256: str = NONE
    threads: int = 0
    processes: int = 0

    def to_json(self) -> dict[str, str]:
        """As strings, the way they came."""
        return {name: str(value) for name, value in asdict(self).items()}

    def that_matter(self) -> dict[str, str]:
        """The same without what changes the speed and, but for rounding, nothing else."""
        return {name: value for name, value in self.to_json().items() if name not in _SPEED}


def parse_hyperparameters(values: Mapping[str, Any]) -> Hyperparameters:
    """Hyperparameters from strings; `sagemaker_*` and empty ones are passed over.

    Raises:
        InvalidInput: One is unknown, not a number where one is due, or outside its range.
    """
    kinds = {name: type(value) for name, value in asdict(Hyperparameters()).items()}
    wanted: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith("sagemaker_") or str(value) == "":
            continue
        if name not in kinds:
            raise InvalidInput(f"there is no hyperparameter {name}")
        try:
            wanted[name] = kinds[name](value)
        except (TypeError, ValueError):
            raise InvalidInput(f"hyperparameter {name} is not a number") from None
    chosen = Hyperparameters(**wanted)
    _check_numbers(chosen)
    _check_choices(chosen)
    return chosen


def _check_numbers(chosen: Hyperparameters) -> None:
    if any(getattr(chosen, name) < 1 for name in _COUNTS):
        raise InvalidInput(f"{', '.join(_COUNTS)} are at least 1")
    if not 0 < chosen.learning_rate < math.inf or not min(chosen.weight_decay, chosen.augmentation) >= 0:
        raise InvalidInput("learning_rate is above 0, weight_decay and augmentation are not below it")
    if not (0 <= chosen.ema < 1 and 0 <= chosen.target_sensitivity < 1):
        raise InvalidInput("ema and target_sensitivity are at least 0 and below 1")
    if min(chosen.feature_copies, chosen.processes, chosen.threads) < 0:
        raise InvalidInput("feature_copies, processes and threads are not below 0")


def _check_choices(chosen: Hyperparameters) -> None:
    if any(getattr(chosen, name) not in (0, 1) for name in _SWITCHES):
        raise InvalidInput(f"{' and '.join(_SWITCHES)} are 0 or 1")
    if chosen.pooling not in POOLINGS:
        raise InvalidInput(f"pooling is one of {', '.join(POOLINGS)}")
    if chosen.pretrained != NONE and chosen.pretrained_sha256 == NONE:
        raise InvalidInput("hyperparameter pretrained needs pretrained_sha256, the SHA-256 of that file")
    if chosen.frozen_encoder and chosen.pretrained == NONE:
        raise InvalidInput("a frozen encoder needs pretrained weights; without them it would be one of random numbers")
