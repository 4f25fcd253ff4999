"""Who reads the images of how many different patients within a few minutes, by what the audit tells.

The audit holds ids alone, so it is read on from where it was read last, and only whoever has opened more image sets
than there may be patients is looked at more closely.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from radloop.core.ports import Audit, Clock, Noted

WINDOW: Final = timedelta(minutes=5)

LOOKED: Final = frozenset({"read", "export", "link.create", "provenance.export", "take-out"})
"""What the audit calls it when images, or what was said of them, went to somebody; its subject is the image set."""

GLANCED: Final = frozenset({"search.header", "search.thumbnail"})
"""What it calls it when a list or a search showed a small picture or a header: nobody has opened the image set."""

_FIRST_PAGE: Final = 50  # little is new where one looks often
_PAGE: Final = 1000


class Bulk(NamedTuple):
    """What one principal has read within the window.

    Attributes:
        patients: How many different ones at least; counting ends one above the highest limit.
        image_sets: How many different ones.
    """

    principal: str
    patients: int
    image_sets: int


class BulkReading:
    """Counts what is read, and remembers the window's image sets by who read them.

    Args:
        audit: Tells who read what.
        patient_of: A name for the patient of an image set; two of one patient have the same.
        clock: The present moment.
        excepted: Principals that are not counted.
    """

    def __init__(
        self, audit: Audit, patient_of: Callable[[str], str], clock: Clock, *, excepted: Collection[str] = ()
    ) -> None:
        self._audit = audit
        self._patient_of = patient_of
        self._clock = clock
        self._excepted = frozenset(excepted)
        self._last = 0
        self._read: dict[str, dict[str, datetime]] = {}
        self._patients: dict[str, str] = {}

    def look(self, *, above: int, at_most: int) -> list[Bulk]:
        """Whoever has read of more patients than `above` within the window; they are counted up to `at_most` + 1."""
        begin = self._clock() - WINDOW
        for entry in self._news(begin):
            if entry.action in LOOKED and entry.outcome == "success" and entry.principal not in self._excepted:
                self._read.setdefault(entry.principal, {})[entry.subject] = datetime.fromisoformat(entry.time)
        self._forget(begin)
        found = [
            Bulk(principal, self._different(image_sets, at_most), len(image_sets))
            for principal, image_sets in self._read.items()
            if len(image_sets) > above
        ]
        return [each for each in found if each.patients > above]

    def after(self, moment: datetime, principal: str, *, at_most: int) -> Bulk:
        """What a principal has read after a moment, of what was in the window at the last look."""
        image_sets = [each for each, at in self._read.get(principal, {}).items() if at > moment]
        return Bulk(principal, self._different(image_sets, at_most), len(image_sets))

    def _news(self, begin: datetime) -> list[Noted]:
        """Entries that were not seen yet, oldest first; none from before the window."""
        found = list(self._newest_first(begin))
        if found:
            self._last = found[0].seq
        return found[::-1]

    def _newest_first(self, begin: datetime) -> Iterator[Noted]:
        before, limit = 0, _FIRST_PAGE
        while page := self._audit.entries(before=before, limit=limit):
            for entry in page:
                if entry.seq <= self._last or datetime.fromisoformat(entry.time) < begin:
                    return
                yield entry
            before, limit = page[-1].seq, _PAGE

    def _forget(self, begin: datetime) -> None:
        for principal, image_sets in list(self._read.items()):
            left = {each: at for each, at in image_sets.items() if at >= begin}
            self._read[principal] = left
            if not left:
                del self._read[principal]
        wanted = {each for image_sets in self._read.values() for each in image_sets}
        self._patients = {each: patient for each, patient in self._patients.items() if each in wanted}

    def _different(self, image_sets: Collection[str], at_most: int) -> int:
        seen: set[str] = set()
        for each in image_sets:
            if each not in self._patients:
                self._patients[each] = self._patient_of(each)
            seen.add(self._patients[each])
            if len(seen) > at_most:
                break
        return len(seen)
