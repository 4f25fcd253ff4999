"""Data set snapshots: what is learned from and tested on, written down once and never changed.

    training-data/snapshots/<sha256>/manifest.jsonl    one line an image set, see `core.datasets.Example`
    training-data/snapshots/<sha256>/snapshot.json     what was left out and why, by what rules, and who read it

The name is the SHA-256 of the manifest, so the same ground truth is the same snapshot, and a changed byte is another.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from radloop.core.datasets import (
    EXTERNAL,
    PARTS,
    Example,
    age_band_of,
    read_manifest,
    rounded,
    scanner_of,
    sex_of,
    split_of,
    view_of,
)
from radloop.core.errors import Corrupt, NotFound
from radloop.core.images import Confidence, ImageSet, State, Truth
from radloop.core.platform import Platform
from radloop.core.reads import Rule, project_of
from radloop.core.tables import IMAGE_SETS, READS, image_set_of
from radloop.functions.retired import is_external, is_named, name_of, retired
from radloop.reading.panel import panel_of

CLASSES: Final = ("absent", "present")
"""The label's two values, 0 and 1, in words."""

PREFIX: Final = "training-data/snapshots"

REASONS: Final[Mapping[str, str]] = {
    "no-pixels": "It has no frames.",
    "still-arriving": "Instances of it still arrive.",
    "made-by-ai": "A model made it.",
    "unsupported-modality": "It is neither CT nor a radiograph.",
    "irregular-volume": "Slices of the CT are missing or stand twice.",
    "no-patient-id": "Without a patient's id nothing tells which part it belongs to.",
    "doubtful-identity": "The same series came under another patient before.",
    "burned-in": "BurnedInAnnotation says that there is text in the picture.",
    "excluded-by-setting": "The setting excluded_datastores names its data store.",
    "retired-patient": "It is of a test patient who was retired.",
    "patient-at-home": "It is of an external data store, and its patient is one of ours too.",
    "no-posterior": "It was read, and its readers have not settled on a finding.",
    "low-posterior": "Its readers' finding is less certain than least_certainty.",
}
"""Why an image set that was read is in no part of a data set, as stable codes."""

_FORMAT: Final = 1
_TRAINABLE: Final = frozenset({"CT", "CR", "DX"})
_WEIGHTS: Final[Mapping[Confidence, float]] = {Confidence.HIGH: 1.0, Confidence.MEDIUM: 0.8, Confidence.LOW: 0.5}
_SHA256_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A data set.

    Attributes:
        sha256: Of the manifest, hexadecimal: its name.
        examples: By image set id.
        facts: What stands in `snapshot.json`.
    """

    sha256: str
    manifest: bytes
    examples: tuple[Example, ...]
    facts: Mapping[str, Any]

    @property
    def studies(self) -> int:
        """How many studies it holds."""
        return len({example.study for example in self.examples})


@dataclass(frozen=True, slots=True)
class Verified:
    """An image set with its ground truth, known to be there."""

    image_set: ImageSet
    truth: Truth


@dataclass(frozen=True, slots=True)
class Difference:
    """What one snapshot has and another has not, as image set ids; `changed`: their line is another."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


# Making one


def verified(platform: Platform) -> list[Verified]:
    """Every image set with ground truth, by id."""
    found = (image_set_of(row) for row in platform.records.find(IMAGE_SETS, {"state": str(State.VERIFIED)}))
    known = (Verified(image_set, image_set.truth) for image_set in found if image_set.truth is not None)
    return sorted(known, key=lambda one: one.image_set.id)


def take(platform: Platform, known: Sequence[Verified] | None = None) -> Snapshot:
    """The data set of all ground truth as it is now; `known` saves looking it up again. Nothing is written.

    The manifest is canonical, so that the same truth gives the same bytes.
    """
    known = verified(platform) if known is None else known
    gone = retired(platform)
    stores = _stores({one.image_set.datastore for one in known}, platform)
    ours = {one.image_set.patient_id for one in known if not stores[one.image_set.datastore].is_external}
    examples: list[Example] = []
    exclusions: dict[str, str] = {}
    for one in known:
        store = stores[one.image_set.datastore]
        reason = _why_not(one, store, ours, gone, platform)
        if reason is None:
            examples.append(_example(one, store, platform))
        else:
            exclusions[one.image_set.id] = reason
    exclusions |= dict.fromkeys(_unsettled({one.image_set.id for one in known}, platform), "no-posterior")
    manifest = b"".join(example.line() for example in examples)
    sha256 = hashlib.sha256(manifest).hexdigest()
    facts = {"format": _FORMAT, "manifest_sha256": sha256, "retired_patients": sorted(gone)}
    facts |= _facts(examples, exclusions, stores, platform)
    return Snapshot(sha256, manifest, tuple(examples), facts)


@dataclass(frozen=True, slots=True)
class _Store:
    """What a data store says of all its image sets."""

    id: str
    name: str
    is_external: bool
    is_excluded: bool
    licence: str


def _stores(datastores: Iterable[str], platform: Platform) -> dict[str, _Store]:
    settings = platform.settings
    found = {}
    for identity in sorted(datastores):
        name = name_of(identity, platform)
        found[identity] = _Store(
            id=identity,
            name=name,
            is_external=is_external(identity, platform),
            is_excluded=is_named(identity, settings.excluded_datastores, platform),
            licence=settings.licences.get(identity) or settings.licences.get(name) or "unstated",
        )
    return found


def _why_not(
    one: Verified, store: _Store, ours: AbstractSet[str], gone: AbstractSet[str], platform: Platform
) -> str | None:
    """The first reason of `REASONS` that keeps an image set out; None for one that belongs in."""
    image_set = one.image_set
    geometry = image_set.geometry
    posterior = _posterior(one.truth)
    reasons = {
        "no-pixels": not image_set.frames,
        "still-arriving": not image_set.is_closed,
        "made-by-ai": image_set.made_by_ai,
        "unsupported-modality": image_set.modality not in _TRAINABLE,
        "irregular-volume": image_set.modality == "CT" and bool(geometry.get("gaps") or geometry.get("doubled")),
        "no-patient-id": not image_set.patient_id,
        "doubtful-identity": not image_set.is_primary,
        "burned-in": str(image_set.attributes.get("BurnedInAnnotation") or "").strip().upper() == "YES",
        "excluded-by-setting": store.is_excluded,
        "retired-patient": bool(gone) and platform.keys.pseudonym(image_set.patient_id) in gone,
        "patient-at-home": store.is_external and image_set.patient_id in ours,
        "low-posterior": max(posterior, 1 - posterior) < platform.settings.least_certainty,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _posterior(truth: Truth) -> float:
    """Probability of present: the readers' together, or certainty where one read or an adjudicator decided."""
    if truth.posterior is None or truth.rule in {Rule.ADJUDICATION, Rule.REVISION}:
        return float(truth.finding.present)
    return truth.posterior


def _weight(truth: Truth) -> float:
    """What a label counts: one reader's by how sure they said they were; of several the posterior tells the doubt."""
    return _WEIGHTS[truth.finding.confidence] if truth.posterior is None else 1.0


def _example(one: Verified, store: _Store, platform: Platform) -> Example:
    image_set, attributes = one.image_set, one.image_set.attributes
    return Example(
        image_set=image_set.id,
        version=image_set.version,
        patient=platform.keys.pseudonym(image_set.patient_id),
        study=platform.keys.pseudonym(f"study\0{image_set.study_uid}"),
        split=EXTERNAL if store.is_external else str(split_of(image_set.patient_id)),
        label=CLASSES.index(one.truth.finding.word),
        posterior=rounded(_posterior(one.truth)),
        weight=_weight(one.truth),
        modality=image_set.modality,
        file=f"images/{image_set.id}.npy",
        source=source_of(image_set, platform),
        scanner=scanner_of(attributes),
        sex=sex_of(attributes),
        age_band=age_band_of(attributes),
        view=view_of(attributes),
        licence=store.licence,
        reads=one.truth.reads,
    )


def source_of(image_set: ImageSet, platform: Platform) -> str:
    """Where it was made: a keyed pseudonym of its institution, or the id of its data store where none is told."""
    told = " ".join(str(image_set.attributes.get("InstitutionName") or "").casefold().split())
    return platform.keys.pseudonym(f"institution\0{told}") if told else image_set.datastore


def _unsettled(settled: AbstractSet[str], platform: Platform) -> list[str]:
    """Image sets that somebody read and that have no ground truth."""
    read = {str(row.columns["image_set"]) for row in platform.records.search(READS, columns=("image_set",))}
    return sorted(read - settled)


def _facts(
    examples: Sequence[Example],
    exclusions: Mapping[str, str],
    stores: Mapping[str, _Store],
    platform: Platform,
) -> dict[str, Any]:
    """What `snapshot.json` tells: no dates, so that the same state gives the same bytes."""
    settings = platform.settings
    patients: dict[str, set[str]] = defaultdict(set)
    for example in examples:
        patients[example.split].add(example.patient)
    projects = {identity: project_of(platform.records, identity) for identity in stores}
    return {
        "counts": counts_of(examples),
        "patients": {part: len(patients[part]) for part in PARTS},
        "exclusions": [{"image_set": name, "reason": exclusions[name]} for name in sorted(exclusions)],
        "excluded": dict(sorted(Counter(exclusions.values()).items())),
        "policy": {
            identity: {"policy": str(project.policy), "settle_at": project.settle_at}
            for identity, project in projects.items()
        },
        "readers": _readers(stores, platform),
        "licences": dict(sorted(Counter(example.licence for example in examples).items())),
        "settings": {
            "external_datastores": sorted(settings.external_datastores),
            "excluded_datastores": sorted(settings.excluded_datastores),
            "least_certainty": settings.least_certainty,
        },
    }


def counts_of(examples: Iterable[Example]) -> dict[str, dict[str, int]]:
    """Image sets by part and class."""
    counts = {part: dict.fromkeys(CLASSES, 0) for part in PARTS}
    for example in examples:
        counts[example.split][CLASSES[example.label]] += 1
    return counts


def _readers(stores: Iterable[str], platform: Platform) -> dict[str, dict[str, float]]:
    """How good each reader is held to be, by opaque id; of one who reads for several data stores, in the first."""
    found: dict[str, dict[str, float]] = {}
    for store in sorted(stores):
        for reader, quality in panel_of(platform.records, store).quality().items():
            found.setdefault(reader, {name: rounded(value) for name, value in quality._asdict().items()})
    return found


# Keeping them


def manifest_key(sha256: str) -> str:
    """Where the manifest of a snapshot lies."""
    return f"{PREFIX}/{sha256}/manifest.jsonl"


def facts_key(sha256: str) -> str:
    """Where its `snapshot.json` lies."""
    return f"{PREFIX}/{sha256}/snapshot.json"


def keep(snapshot: Snapshot, platform: Platform) -> None:
    """Store a snapshot, unless it is there: what is kept is never written again."""
    kept = set(platform.blobs.keys(f"{PREFIX}/{snapshot.sha256}/"))
    facts = json.dumps(snapshot.facts, indent=1, sort_keys=True).encode() + b"\n"
    for key, data in ((facts_key(snapshot.sha256), facts), (manifest_key(snapshot.sha256), snapshot.manifest)):
        if key not in kept:
            platform.blobs.put(key, data)


def read(sha256: str, platform: Platform) -> Snapshot:
    """A snapshot that was kept.

    Raises:
        NotFound: There is none of that name.
        Corrupt: Its manifest is not the one it is named after.
    """
    if not _is_name(sha256):
        raise NotFound("no such snapshot")
    manifest = platform.blobs.get(manifest_key(sha256))
    if hashlib.sha256(manifest).hexdigest() != sha256:
        raise Corrupt(f"the manifest of snapshot {sha256} is not the one it is named after")
    examples = tuple(read_manifest(manifest.decode()))
    try:
        facts = json.loads(platform.blobs.get(facts_key(sha256)))
    except NotFound:  # of before there was one
        facts = {"format": 0, "manifest_sha256": sha256, "counts": counts_of(examples)}
    return Snapshot(sha256, manifest, examples, facts)


def _is_name(text: str) -> bool:
    return len(text) == _SHA256_DIGITS and set(text) <= set("0123456789abcdef")


def facts_of(sha256: str, platform: Platform) -> Mapping[str, Any]:
    """What is told of a kept snapshot, without reading its lines where that can be helped; raises as `read`."""
    try:
        found: Mapping[str, Any] = json.loads(platform.blobs.get(facts_key(sha256)))
    except NotFound:
        return read(sha256, platform).facts
    return found


def kept(platform: Platform) -> list[str]:
    """Names of all snapshots that are kept, in no order that means anything."""
    keys = platform.blobs.keys(f"{PREFIX}/")
    names = (key.split("/")[-2] for key in keys if key.endswith("/manifest.jsonl"))
    return sorted(name for name in names if _is_name(name))


def difference(one: Snapshot, other: Snapshot) -> Difference:
    """What became of `one` until it was `other`."""
    before = {example.image_set: example for example in one.examples}
    after = {example.image_set: example for example in other.examples}
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
    )
