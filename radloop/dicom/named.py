"""What a file says it is, where it cannot be taken for an instance: for telling the sender which one it was."""

from radloop.core.errors import InvalidInput
from radloop.dicom.elements import Part10, read_part10
from radloop.dicom.values import is_uid, text

_META_BYTES = 4096
_CLASS, _INSTANCE = (0x00080016, 0x00020002), (0x00080018, 0x00020003)
_EXPLICIT_UID = b"UI"


def named_instance(data: bytes) -> tuple[str, str] | None:
    """SOP class and SOP instance UID of a file that may be damaged; None where it names none.

    A file whose structure makes sense is asked; of any other, the file meta information before the damage is.
    """
    try:
        part = read_part10(data)
    except InvalidInput:
        return _named(*(_meta_uid(data[:_META_BYTES], tags[1]) for tags in (_CLASS, _INSTANCE)))
    return _named(_uid(part, _CLASS), _uid(part, _INSTANCE))


def _uid(part: Part10, tags: tuple[int, int]) -> str:
    return text(part, part.elements, tags[0]) or ("" if part.is_inflated else text(part, part.meta, tags[1]))


def _meta_uid(head: bytes, tag: int) -> str:
    """A UID of the file meta information, found by its header: group and element, VR UI, two bytes of length."""
    header = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + _EXPLICIT_UID
    at = head.find(header)
    if at < 0:
        return ""
    start = at + len(header) + 2
    length = int.from_bytes(head[start - 2 : start], "little")
    return head[start : start + length].decode("ascii", "replace").strip(" \0")


def _named(sop_class: str, instance: str) -> tuple[str, str] | None:
    if not is_uid(instance):
        return None
    return (sop_class if is_uid(sop_class) else ""), instance
