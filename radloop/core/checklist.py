"""The deployment checklist: a list of boxes, and what was found about each."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from radloop.core.errors import RadloopError

OK: Final = "ok"
FAILED: Final = "failed"
NOT_APPLICABLE: Final = "not applicable"


class Found(NamedTuple):
    """What was found: `ok`, `failed` or `not applicable`, and why, in a sentence without patients' data."""

    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Box:
    """One box of the checklist, in its own words."""

    id: str
    section: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A box and what was found about it."""

    box: Box
    found: Found

    def to_json(self) -> dict[str, str]:
        """As facts."""
        return {
            "id": self.box.id,
            "section": self.box.section,
            "box": self.box.text,
            "state": self.found.state,
            "reason": self.found.reason,
        }


Check = Callable[[], Found]


def ok(reason: str) -> Found:
    """The box holds."""
    return Found(OK, reason)


def failed(reason: str) -> Found:
    """The box does not hold; the reason says what to do."""
    return Found(FAILED, reason)


def not_applicable(reason: str) -> Found:
    """The box has no meaning here, or nobody but a person can tell."""
    return Found(NOT_APPLICABLE, reason)


def either(holds: object, good: str, bad: str) -> Found:
    """`ok` for one reason or `failed` for the other."""
    return ok(good) if holds else failed(bad)


def load_boxes(text: str | bytes) -> tuple[Box, ...]:
    """The boxes of `contracts/checklist.json`, in order."""
    return tuple(Box(one["id"], one["section"], one["box"]) for one in json.loads(text)["boxes"])


def answers(
    boxes: Sequence[Box], checks: Mapping[str, Check], silent: tuple[type[Exception], ...] = ()
) -> list[Answer]:
    """An answer for every box; one whose check breaks has failed, for that reason.

    Args:
        boxes: All of them.
        checks: One for each, by its id.
        silent: What else than our own errors a check may break of.
    """
    return [Answer(box, _found(checks[box.id], silent)) for box in boxes]


def _found(check: Check, silent: tuple[type[Exception], ...]) -> Found:
    try:
        return check()
    except RadloopError as error:
        return failed(f"could not be looked at: {error} [{error.code}]")
    except silent as error:
        return failed(f"could not be looked at: {type(error).__name__}")
