"""What a model is judged by besides its own data: the gate's policy, the champion, and how old the ground truth is.

    training-data/contexts/<name>/policy.json                   the policy, canonical
    training-data/contexts/<name>/facts.json                    ages in days, see `Facts`
    training-data/contexts/<name>/champion.json                 {"version", "execution", "artifact_sha256"}
    training-data/contexts/<name>/champion.tar.gz               its package
    training-data/contexts/<name>/champion_predictions.json     what it said of the test patients, where that is kept

The name is a hash of what lies below it and of the execution it is for, and a context is complete before that starts.
So a run that is killed and taken up again is judged by the same policy and against the same champion, whatever happened
since. Once it has ended the copy of the package goes, and the rest stays.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from radloop.core.datasets import canonical
from radloop.core.errors import NotFound
from radloop.core.platform import Platform
from radloop.core.ports import ModelVersion, Span
from radloop.evaluation import policy as policies

PREFIX: Final = "training-data/contexts"
NO_CHAMPION: Final = "none"

_PACKAGE: Final = "champion.tar.gz"
_DAY_S: Final = 86_400.0
_CHUNK: Final = 8 << 20
_NAME_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Facts:
    """Ages of the ground truth.

    Attributes:
        newest_label_at: When the newest was given, RFC 3339.
        newest_label_days: How old it was when the run started, in tenths of a day.
        behind_champion_days: By how much it is older than the newest that the champion learned from, below 0 where it
            is newer; None without a champion, or where nobody knows.
    """

    newest_label_at: str
    newest_label_days: float
    behind_champion_days: float | None


@dataclass(frozen=True, slots=True)
class Context:
    """What one execution is judged by.

    Attributes:
        uri: Where it lies, as the pipeline's parameter ContextUri.
        policy_sha256: Of the canonical policy.
        champion: Version of the champion, or none.
    """

    uri: str
    policy_sha256: str
    champion: str


def policy_of(platform: Platform) -> policies.Policy:
    """The policy of this installation's gate.

    Raises:
        InvalidInput: `policy.yaml` cannot be read.
    """
    return policies.load(platform.gate_policy())


def make(execution: str, platform: Platform, *, newest: datetime) -> Context:
    """Lay out the context of a run that starts now; doing it twice is once.

    Args:
        execution: Its id.
        platform: The ports.
        newest: When the newest ground truth of the data set was given.
    """
    policy, champion = policy_of(platform), platform.models.champion()
    facts = _facts(platform, champion, newest)
    small: dict[str, bytes] = {
        "policy.json": policy.canonical().encode(),
        "facts.json": canonical(asdict(facts)).encode(),
    }
    if champion is not None:
        small["champion.json"] = canonical(_champion(champion, platform)).encode()
    parts = (part for name in sorted(small) for part in (name.encode(), small[name]))
    digest = hashlib.sha256(b"\0".join((execution.encode(), *parts)))
    folder = f"{PREFIX}/{digest.hexdigest()[:_NAME_DIGITS]}"
    kept = set(platform.blobs.keys(f"{folder}/"))
    if champion is not None:
        _copy(champion.artifact, f"{folder}/{_PACKAGE}", kept, platform)
        _copy(champion.beside("predictions.json"), f"{folder}/champion_predictions.json", kept, platform)
    for name, data in small.items():
        if f"{folder}/{name}" not in kept:
            platform.blobs.put(f"{folder}/{name}", data)
    version = NO_CHAMPION if champion is None else str(champion.version)
    return Context(uri=f"s3://{folder}", policy_sha256=policy.sha256, champion=version)


def trim(execution: str, platform: Platform) -> None:
    """Let the copy of the champion's package go, once the execution that it was made for has ended."""
    try:
        found = platform.pipelines.get(execution)
    except NotFound:
        return
    uri = str(found.parameters.get("ContextUri", ""))
    if found.ended_at is not None and uri.startswith(f"s3://{PREFIX}/"):
        platform.blobs.delete(f"{uri.removeprefix('s3://')}/{_PACKAGE}")


def _champion(champion: ModelVersion, platform: Platform) -> dict[str, Any]:
    digest = hashlib.sha256()
    for piece in _pieces(champion.artifact, platform):
        digest.update(piece)
    return {
        "version": champion.version,
        "execution": str(champion.lineage.get("execution", "")),
        "artifact_sha256": digest.hexdigest(),
    }


def _facts(platform: Platform, champion: ModelVersion | None, newest: datetime) -> Facts:
    before = None if champion is None else _newest_of(champion, platform)
    return Facts(
        newest_label_at=newest.isoformat(),
        newest_label_days=max(0.0, _days((platform.clock() - newest).total_seconds())),
        behind_champion_days=None if before is None else _days((before - newest).total_seconds()),
    )


def _days(seconds: float) -> float:
    return round(seconds / _DAY_S, 1)


def _newest_of(champion: ModelVersion, platform: Platform) -> datetime | None:
    """When the newest ground truth was given that the champion learned from, as its own run's context says."""
    try:
        execution = platform.pipelines.get(str(champion.lineage.get("execution", "")))
        uri = str(execution.parameters["ContextUri"])
        facts = json.loads(platform.blobs.get(f"{uri.removeprefix('s3://')}/facts.json"))
        return datetime.fromisoformat(facts["newest_label_at"])
    except (NotFound, KeyError, ValueError):
        return None


def _copy(source: str, target: str, kept: set[str], platform: Platform) -> None:
    """Copy a blob that is there; what is not there, or was copied before, is left."""
    if target in kept or source not in set(platform.blobs.keys(source)):
        return
    with platform.blobs.writer(target) as writer:
        for piece in _pieces(source, platform):
            writer.write(piece)


def _pieces(key: str, platform: Platform) -> Iterator[bytes]:
    start = 0
    while piece := platform.blobs.get(key, Span(start, start + _CHUNK)):
        yield piece
        start += len(piece)
