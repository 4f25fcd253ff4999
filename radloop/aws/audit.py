"""The Audit port on the chain in the table, sealed piece by piece where nobody can change it.

The chain is written with the records, in their transaction. What a thief of the database's rights could do, write the
table anew with a chain that holds again, the sealed segments show: every entry is held against the one that was sealed.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple
from datetime import datetime

from radloop.aws.changes import AUDIT
from radloop.aws.records import DynamoRecords
from radloop.aws.seals import Seals
from radloop.core.errors import Unavailable
from radloop.core.ports import Noted, Row, Term, Verdict
from radloop.security.chain import GENESIS, link
from radloop.security.counting import CountedAudit

_PAGE = 1000
_SEGMENT = 5000
_NOTED_AT_ONCE = 10  # entries in a transaction of at most a hundred items
_TRIES = 20
_LOOK_AGAIN_S = 0.05


class DynamoAudit(CountedAudit):
    """The Audit port on the table's chain.

    Args:
        records: Write the chain.
        seals: Keep it where it cannot be changed; `seal` fills them.
    """

    def __init__(self, records: DynamoRecords, seals: Seals) -> None:
        super().__init__(records, records.note, most_at_once=_NOTED_AT_ONCE)
        self._seals = seals
        self._knows_end = False
        self._tried_since: float | None = None

    def seal(self) -> int:
        """Seal what was noted since the last time; returns how many entries. Several may do it at the same time.

        Raises:
            Corrupt: The chain in the table does not go on from what is sealed, or breaks; nothing of that is sealed.
            Unavailable: Others were faster every time, or AWS does not answer.
        """
        sealed, lost = 0, 0
        self._tried_since = self._tried_since or time.time()
        while lost < _TRIES:
            end = self._seals.end()
            self._knows_end = True
            entries = self._page(end.seq, _SEGMENT)
            if not entries:
                return sealed
            if self._seals.add(end, entries):
                sealed += len(entries)
            else:
                lost += 1
        raise Unavailable("others sealed the audit every time")

    def unsealed_since(self) -> float | None:
        """Since when the oldest entry that is not sealed has waited, in seconds since 1970; None where none does.

        S3 is not asked, so that this can be told when it does not answer: what is sealed is what `seal` saw last. Where
        it never saw anything, the first try counts.
        """
        if not self._knows_end:
            return self._tried_since
        waiting = self._read(self._seals.known.seq, 1)
        return datetime.fromisoformat(waiting[0].time).timestamp() if waiting else None

    def entries(self, *, before: int = 0, limit: int = 100, where: Mapping[str, str] | None = None) -> list[Noted]:
        """See `Audit.entries`."""
        named = [column for column in AUDIT.columns if where and column in where]
        terms = [Term(column, "is", (where[column],)) for column in named] if where else []
        return [_noted(row) for row in self._records.search(AUDIT, terms, descending=True, after=before, limit=limit)]

    def verify(self, head: str | None = None) -> Verdict:
        """See `Audit.verify`; an entry that is not the one that was sealed breaks the chain too."""
        sealed = self._seals.walk()  # knows what is sealed now, all of which the table holds already
        before, count, holds = GENESIS, 0, head in {None, GENESIS}
        for entry in self._chain():
            count += 1
            before = link(before, astuple(entry)[:-1])
            if entry.hash != before or entry.seq != count or next(sealed, entry) != entry:
                return Verdict(entries=count, head=before, broken_at=count, holds_head=holds)
            holds = holds or before == head
        is_cut = next(sealed, _NOTHING) is not _NOTHING
        return Verdict(entries=count, head=before, broken_at=count + 1 if is_cut else None, holds_head=holds)

    def _chain(self) -> Iterator[Noted]:
        """All entries as they stand in the table, those that are added meanwhile too."""
        last = 0
        while page := self._page(last, _PAGE):
            yield from page
            last = page[-1].seq

    def _page(self, after: int, limit: int) -> list[Noted]:
        """Entries that follow each other; a reader beside a writer may see the second of two before the first."""
        page = self._read(after, limit)
        if [entry.seq for entry in page] != [*range(after + 1, after + 1 + len(page))]:
            time.sleep(_LOOK_AGAIN_S)
            page = self._read(after, limit)
        return page

    def _read(self, after: int, limit: int) -> list[Noted]:
        return [_noted(row) for row in self._records.search(AUDIT, after=after, limit=limit)]


_NOTHING = object()


def _noted(row: Row) -> Noted:
    return Noted(seq=row.order, **row.document)
