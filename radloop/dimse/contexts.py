"""What we agree to in an association: services, storage classes, and transfer syntaxes in our order of preference."""

from collections.abc import Iterable

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom.presentation import PresentationContext

from radloop.dicom.elements import DEFLATED_FRAME, DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, RLE
from radloop.dicom.identifiers import SYNTAXES as IDENTIFIER_SYNTAXES

VERIFICATION = "1.2.840.10008.1.1"

FIND = {"1.2.840.10008.5.1.4.1.2.1.1": "patient", "1.2.840.10008.5.1.4.1.2.2.1": "study"}
MOVE = {"1.2.840.10008.5.1.4.1.2.1.2": "patient", "1.2.840.10008.5.1.4.1.2.2.2": "study"}
GET = {"1.2.840.10008.5.1.4.1.2.1.3": "patient", "1.2.840.10008.5.1.4.1.2.2.3": "study"}
"""Query and retrieve classes, with the root of their information model."""

_JPEG = "1.2.840.10008.1.2.4."
_UNCOMPRESSED = (EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE, "1.2.840.10008.1.2.1.98", EXPLICIT_BE)
_LOSSLESS = (
    *(_JPEG + number for number in ("202", "201", "90", "80", "70", "57", "110", "92", "58", "65", "66")),
    RLE,
    DEFLATED_FRAME,
)
_PERHAPS_LOSSY = tuple(_JPEG + number for number in ("203", "91", "81", "93", "112", "111"))
_NEVER_KEPT = frozenset(
    {
        _JPEG + "95",
        _JPEG + "205",  # the whole data set deflated under a name of its own
        "1.2.840.10008.1.2.6.1",
        "1.2.840.10008.1.2.6.2",
        "1.2.840.10008.1.2.7.1",
        "1.2.840.10008.1.2.7.2",
        "1.2.840.10008.1.2.7.3",  # real-time streams and encodings that are no data sets
        "1.2.840.10008.1.20",
    }
)
_KNOWN = tuple(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax" and uid not in _NEVER_KEPT)
_PRIVATE = ("1.2.840.113619.5.2",)

STORAGE_SYNTAXES: tuple[str, ...] = tuple(
    dict.fromkeys((*_UNCOMPRESSED, *_LOSSLESS, *_PERHAPS_LOSSY, *_KNOWN, *_PRIVATE))
)
"""Transfer syntaxes of stored objects. Where one context offers several, the first of these is taken: what every
sender can write comes before what loses nothing, and that before what may. A sender that wants its compressed pixels
kept as they are offers them in a context of their own, as all toolkits we know do."""

_NOT_INSTANCES = frozenset({"1.2.840.10008.1.3.10", "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.2"})


def is_storage(abstract_syntax: str) -> bool:
    """Whether instances may be stored under this class: every storage class we know, and every class we do not.

    >>> is_storage("1.2.840.10008.5.1.4.1.1.2"), is_storage("1.3.46.670589.2.3.1.1"), is_storage(VERIFICATION)
    (True, True, False)
    """
    entry = UID_dictionary.get(abstract_syntax)
    if entry is None:
        return not abstract_syntax.startswith("1.2.840.10008.") or ".5.1.4.1.1." in abstract_syntax
    return entry[1] == "SOP Class" and "Storage" in entry[0] and abstract_syntax not in _NOT_INSTANCES


def contexts_for(abstract_syntaxes: Iterable[str]) -> list[PresentationContext]:
    """What we support of the abstract syntaxes that were asked for."""
    return [context for uid in dict.fromkeys(abstract_syntaxes) if (context := _context(uid)) is not None]


def _context(abstract_syntax: str) -> PresentationContext | None:
    context = PresentationContext()
    context._abstract_syntax = UID(abstract_syntax)  # noqa: SLF001 — the setter checks it again, and complains aloud
    if abstract_syntax == VERIFICATION or abstract_syntax in {*FIND, *MOVE, *GET}:
        context._transfer_syntax = [UID(uid) for uid in IDENTIFIER_SYNTAXES]  # noqa: SLF001 — the same
        return context
    if not is_storage(abstract_syntax):
        return None
    context._transfer_syntax = _STORAGE  # noqa: SLF001 — one list for all
    context.scu_role = context.scp_role = True
    return context


_STORAGE = [UID(uid) for uid in STORAGE_SYNTAXES]
