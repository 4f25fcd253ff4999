"""What stands before the data set of a Part 10 file: preamble, prefix and file meta information (PS3.10 §7.1)."""

import struct

from radloop.core.errors import MissingAttribute
from radloop.dicom.elements import read_meta
from radloop.dicom.make import IMPLEMENTATION

VERSION_NAME = "RADLOOP"

_LONG_HEADER = frozenset({"OB"})


def file_header(*, sop_class: str, sop_uid: str, transfer_syntax: str, source: str = "") -> bytes:
    """The bytes that make a data set, as it came over a network, a file.

    Args:
        sop_class: SOP class UID the sender named.
        sop_uid: SOP instance UID the sender named.
        transfer_syntax: What the data set is encoded in.
        source: Title of the application entity that sent it, for SourceApplicationEntityTitle; left out where empty.
    """
    values = [
        (0x0001, "OB", b"\x00\x01"),
        (0x0002, "UI", _padded(sop_class, b"\0")),
        (0x0003, "UI", _padded(sop_uid, b"\0")),
        (0x0010, "UI", _padded(transfer_syntax, b"\0")),
        (0x0012, "UI", _padded(IMPLEMENTATION, b"\0")),
        (0x0013, "SH", _padded(VERSION_NAME, b" ")),
    ]
    if source:
        values.append((0x0016, "AE", _padded(source, b" ")))
    elements = b"".join(_element(*value) for value in values)
    return bytes(128) + b"DICM" + _element(0x0000, "UL", struct.pack("<L", len(elements))) + elements


def data_set_start(data: bytes) -> tuple[str, int]:
    """Transfer syntax of a file, and the offset its data set begins at.

    Raises:
        NotDicom: It is something else.
        TruncatedFile: It ends inside the file meta information.
        MissingAttribute: The file meta information names no transfer syntax.
    """
    syntax, start = read_meta(data)
    if not syntax:
        raise MissingAttribute("TransferSyntaxUID")
    return syntax, start


def _padded(text: str, pad: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    return value + pad * (len(value) % 2)


def _element(number: int, vr: str, value: bytes) -> bytes:
    header = struct.pack("<HH", 0x0002, number) + vr.encode("ascii")
    length = struct.pack("<HL", 0, len(value)) if vr in _LONG_HEADER else struct.pack("<H", len(value))
    return header + length + value
