"""DICOM JSON as doors answer with it (PS3.18 Annex F)."""

from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response

from radloop.api.media import accepted_by

DICOM_JSON = "application/dicom+json"
Document = dict[str, Any]

_TAKEN = frozenset({DICOM_JSON, "application/json", "application/*", "*/*"})
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def element(vr: str, value: Any) -> Document:
    """One element of a DICOM JSON object; without a value it is empty."""
    if value is None or value == "" or value == []:  # noqa: PLR1714 — a third of the time that looking into a tuple takes
        return {"vr": vr}
    if vr == "PN":
        groups = zip(_NAME_GROUPS, str(value).split("="), strict=False)
        return {"vr": vr, "Value": [{name: group for name, group in groups if group}]}
    return {"vr": vr, "Value": value if isinstance(value, list) else [value]}


def dicom_json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A DICOM JSON answer; clients compare its type to the letter."""
    return written_answer(orjson.dumps(value), status, headers)


def written_answer(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A DICOM JSON answer that is text already."""
    return Response(body, status, {"Content-Type": DICOM_JSON, **(headers or {})})


def require_json(headers: Headers) -> None:
    """Go on only where DICOM JSON is wanted.

    Raises:
        HTTPException: 406, something else is asked for.
    """
    if not any(kind.name in _TAKEN for kind in accepted_by(headers)):
        raise HTTPException(406, "This address answers with application/dicom+json.")
