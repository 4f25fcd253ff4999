"""What an installation may set, with defaults that suit one machine. Every field is explained in docs/settings.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one home, read from `settings.toml` in it.

    Attributes:
        quiet_s: Seconds without a new instance after which an image set closes by itself.
        retrain_delay_s: Quiet seconds after the last verification before retraining starts.
        retrain_longest_wait_s: Retraining starts after this many seconds even if verifications keep coming.
        retrain_least_per_class: Verified patients of each class needed in every split.
        accuracy_threshold: The gate's floor for accuracy on the locked test patients.
        approve_automatically: Whether a model the gate let through becomes champion without a person.
        max_tries: How often a job is tried before it becomes a dead letter.
        backoff_s: Wait before the second try; doubles with each further one.
        fold_processes: Processes that fold; 0 for one a core.
        training: Hyperparameters that replace the recipe's own, by name.
    """

    quiet_s: float = 20.0
    retrain_delay_s: float = 30.0
    retrain_longest_wait_s: float = 900.0
    retrain_least_per_class: int = 3
    accuracy_threshold: float = 0.85
    approve_automatically: bool = True
    max_tries: int = 8
    backoff_s: float = 1.0
    fold_processes: int = 0
    training: Mapping[str, str] = field(default_factory=dict)
