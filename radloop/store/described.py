"""What is told of the instances of an image set besides their bytes: attributes, and what frames were measured at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What a frame was measured at.

    Attributes:
        checksums: Width, height and CRC-32 of every resolution, base to full.
        least, greatest: Pixel values; None where no codec of ours decodes the frame.
        size_bytes: Of the frame, decoded.
    """

    checksums: tuple[tuple[int, int, int], ...]
    least: float | None
    greatest: float | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Described:
    """An instance as the store that keeps its file tells of it.

    Attributes:
        values: Of patient, study, series and instance, by keyword, as plain values.
        vrs: The VRs of what stands under its tag.
        transfer_syntax: What its frames are given out in.
        facts: Of every frame.
    """

    values: Mapping[str, Any]
    vrs: Mapping[str, str]
    transfer_syntax: str
    facts: tuple[FrameFacts, ...]


def plain_facts(facts: FrameFacts) -> list[Any]:
    """As JSON values."""
    return [[list(each) for each in facts.checksums], facts.least, facts.greatest, facts.size_bytes]


def facts_of(values: Sequence[Any]) -> FrameFacts:
    """What `plain_facts` gave, read back."""
    checksums, least, greatest, size = values
    return FrameFacts(tuple((w, h, c) for w, h, c in checksums), least, greatest, size)
