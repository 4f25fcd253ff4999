"""What image sets that change, come or go mean for the studies they are in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from radloop.core.images import ImageSet
from radloop.core.ports import Clock, Delete, Put, Records
from radloop.core.tables import STUDIES, study_key
from radloop.store.studies import ATTRIBUTES, Studies, columns_of

Move = tuple[ImageSet | None, ImageSet | None]
"""An image set before and after a change; None where there was none, or is none any more."""


class Moves:
    """Counts image sets out of studies and into others, several at a time."""

    def __init__(self, records: Records, studies: Studies, clock: Clock) -> None:
        self._records = records
        self._studies = studies
        self._clock = clock

    def writes(self, moves: Sequence[Move]) -> list[Put | Delete]:
        """The writes of every study that one of the moves concerns, one study once."""
        gone: dict[str, list[ImageSet]] = {}
        come: dict[str, list[ImageSet]] = {}
        for before, after in moves:
            if before is not None:
                gone.setdefault(_study_of(before), []).append(before)
            if after is not None:
                come.setdefault(_study_of(after), []).append(after)
        writes: list[Put | Delete] = []
        for key in dict.fromkeys((*gone, *come)):
            writes += self._written(key, gone.get(key, []), come.get(key, []))
        return writes

    def _written(self, key: str, gone: Sequence[ImageSet], come: Sequence[ImageSet]) -> list[Put | Delete]:
        """The study without some image sets and with others; the last one to go takes it with it."""
        row = self._records.get(STUDIES, key)
        if row is None:
            if not come:
                return []
            opened = self._studies.grown(come[0], new=True, instances=0)
            assert isinstance(opened, Put)
            empty = {**opened.columns, "series": 0, "instances": 0}
            return [replace(opened, columns={**empty, **_counts(empty, [], come)})]
        counts = _counts(row.columns, gone, come)
        if int(str(counts["series"])) <= 0:
            return [Put(STUDIES, key, {}, row.columns, expected=row.revision), Delete(STUDIES, key)]
        known = dict(row.document["attributes"])
        before = {one.id: one for one in gone}
        for one in come:
            was = before.get(one.id)
            for name in ATTRIBUTES:
                is_changed = was is not None and was.attributes.get(name) != one.attributes.get(name)
                if is_changed or (was is None and known[name] is None):
                    known[name] = one.attributes.get(name)
        document = {**row.document, "attributes": known}
        opening = {} if all(one.id in before for one in come) else {"is_open": 1}
        columns = {**row.columns, **columns_of(document), **counts, **opening, "updated": self._clock().timestamp()}
        return [Put(STUDIES, key, document, columns, expected=row.revision)]


def _study_of(image_set: ImageSet) -> str:
    return study_key(image_set.datastore, image_set.patient_id, image_set.study_uid)


def _counts(
    columns: Mapping[str, Any], gone: Sequence[ImageSet], come: Sequence[ImageSet]
) -> dict[str, str | int | float | None]:
    """Columns that count what is in a study, once some image sets are gone and others have come."""
    modalities = str(columns["modalities"])
    for one in come:
        modalities += "" if f"\\{one.modality}\\" in modalities else f"{one.modality}\\"
    return {
        "modalities": modalities,
        "series": int(columns["series"]) + len(come) - len(gone),
        "instances": int(columns["instances"]) + sum(i.instances for i in come) - sum(i.instances for i in gone),
    }
