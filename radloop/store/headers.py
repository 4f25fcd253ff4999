"""The header of an instance as DICOM JSON text (PS3.18 Annex F), as its file tells it.

It depends on the file alone and stays true for as long as that: where its values are fetched, and what was edited since
it arrived, is laid over it when it is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from radloop.dicom.document import dicom_json
from radloop.dicom.elements import Data
from radloop.store.edits import Edits

Address = Callable[[str], str]
"""From a SOP instance UID to the address below which the values of the instance are."""

_URI = b'"BulkDataURI":"'  # inside a text its quotes would be escaped, so that this is always the name of an entry


@dataclass(frozen=True, slots=True)
class Header:
    """A header that is not told yet.

    Attributes:
        id: Of the instance.
        sop_uid: As received.
        text: A DICOM JSON object whose every BulkDataURI is the mere path of its value.
    """

    id: str
    sop_uid: str
    text: bytes

    def told(self, edits: Edits, address: Address) -> bytes:
        """The DICOM JSON object as it is to be given out."""
        edit = edits.of_instance(self.id) if edits else None
        sop_uid = self.sop_uid if edit is None else str(edit.values.get("SOPInstanceUID", self.sop_uid))
        text = self.text.replace(_URI, _URI + orjson.dumps(f"{address(sop_uid)}/")[1:-1])
        return orjson.dumps(edit.over_document(orjson.loads(text))) if edit else text

    def document(self, edits: Edits) -> dict[str, Any]:
        """The DICOM JSON object without the values that it would only tell the address of."""
        document = _without_bulk(orjson.loads(self.text))
        edit = edits.of_instance(self.id) if edits else None
        return edit.over_document(document) if edit else document

    def line(self) -> bytes:
        """One line of text; `header_of` reads it back."""
        return orjson.dumps([self.id, self.sop_uid]) + b"\t" + self.text


def header_of(line: bytes) -> Header:
    """The header that `Header.line` wrote."""
    names, _, text = line.partition(b"\t")
    identity, sop_uid = orjson.loads(names)
    return Header(identity, sop_uid, text)


def text_of(data: Data) -> bytes:
    """What stands in `Header.text`, by the file.

    Raises:
        InvalidInput: What `dicom_json` raises.
    """
    return orjson.dumps(dicom_json(data, lambda path: path))


def _without_bulk(document: dict[str, Any]) -> dict[str, Any]:
    return {tag: _entry_without_bulk(entry) for tag, entry in document.items() if "BulkDataURI" not in entry}


def _entry_without_bulk(entry: dict[str, Any]) -> dict[str, Any]:
    if entry["vr"] != "SQ" or "Value" not in entry:
        return entry
    return {**entry, "Value": [_without_bulk(item) for item in entry["Value"]]}
