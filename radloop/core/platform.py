"""The ports of one running installation, handed to every function and door."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from radloop.core.identity import Principal
from radloop.core.ports import (
    Audit,
    Blobs,
    Buckets,
    Bus,
    Clock,
    Jobs,
    Keys,
    Landing,
    Models,
    NoPlans,
    Pipelines,
    Plans,
    Policy,
    Records,
    Signer,
    Upload,
)
from radloop.core.settings import Settings
from radloop.core.tables import DEFAULT_DATASTORE


class Lander(Protocol):
    """The part of the store that takes uploads in."""

    def land(self, uploads: list[Upload], *, by: Principal, datastore: str = DEFAULT_DATASTORE) -> list[Landing]:
        """Land files, in order; on return each is durable, a known duplicate, or quarantined."""
        ...


@dataclass(frozen=True, slots=True)
class Platform:
    """What a function may touch.

    Attributes:
        recipe: Hyperparameters this machine would train with, settings applied.
        gate_policy: Text of `policy.yaml`; empty for the policy that radloop ships.
        plans: The change control plan.
        signer: Vouches for what leaves the installation; None where nothing can.
    """

    blobs: Blobs
    buckets: Buckets
    records: Records
    keys: Keys
    bus: Bus
    jobs: Jobs
    images: Lander
    policy: Policy
    audit: Audit
    models: Models
    pipelines: Pipelines
    settings: Settings
    clock: Clock
    recipe: Callable[[], dict[str, str]]
    plans: Plans = field(default_factory=NoPlans)
    signer: Signer | None = None
    gate_policy: Callable[[], str] = str
