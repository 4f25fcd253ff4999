"""In which form pixels and files are sent: what a request accepts held against what we can make (PS3.18 §8.7).

A form is a media type with a transfer syntax. Requests name a media type alone, in `multipart/related; type=`, or a
range of them; a `transfer-syntax` narrows it down, `*` asks for the pixels as they came.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from starlette.exceptions import HTTPException

from radloop.api.media import MediaType
from radloop.store.instances import StoredInstance
from radloop.store.transcoding import NATIVE, can_make

EXPLICIT_LE = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
RAW = "application/octet-stream"
DICOM = "application/dicom"
ANY = "*/*"

_J = "1.2.840.10008.1.2.4."
MEDIA = {
    RLE: "image/dicom-rle",
    **dict.fromkeys((f"{_J}{number}" for number in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"{_J}{number}" for number in (80, 81)), "image/jls"),
    **dict.fromkeys((f"{_J}{number}" for number in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"{_J}{number}" for number in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"{_J}{number}" for number in (100, 101)), "video/mpeg"),
    **dict.fromkeys((f"{_J}{number}" for number in range(102, 107)), "video/mp4"),
    **dict.fromkeys((f"{_J}{number}" for number in (110, 111, 112)), "image/jxl"),
    **dict.fromkeys((f"{_J}{number}" for number in (201, 202, 203)), "image/jphc"),
}
"""Media type of frames by transfer syntax (PS3.18 table 8.7.3-5); all others are application/octet-stream."""

_ALSO = {
    "image/x-jls": "image/jls",
    "image/x-dicom-rle": "image/dicom-rle",
    "image/j2c": "image/jp2",
    "image/x-j2c": "image/jp2",
}
"""Other names of the same types."""


class Form(NamedTuple):
    """How pixels or a file are sent; `is_original` where they are sent as they came."""

    media: str
    syntax: str
    is_original: bool = False

    @property
    def content_type(self) -> str:
        """As Content-Type tells it."""
        return f"{self.media}; transfer-syntax={self.syntax}"


class Choice(NamedTuple):
    """A form, and whether it is sent without multipart around it."""

    form: Form
    is_single: bool


def frame_forms(instance: StoredInstance) -> list[Form]:
    """The forms in which the frames of an instance can be had, the one for who does not care first."""
    original = instance.transfer_syntax
    forms = []
    if can_make(instance, EXPLICIT_LE):
        forms.append(Form(RAW, EXPLICIT_LE, original in NATIVE))
    if original not in NATIVE:
        media = MEDIA.get(original, RAW)
        forms += [Form(media, original, True), *([Form("image/jph", original, True)] if media == "image/jphc" else [])]
    image = instance.image or {}
    if image.get("samples") != 1 and original in NATIVE and image.get("photometric") != "RGB":
        return forms  # a codec would have to say YBR, which none of these can
    made = [(media, syntax) for syntax in (HTJ2K_RPCL, HTJ2K) for media in ("image/jphc", "image/jph")]
    made += [("image/jls", JPEG_LS), ("image/jp2", JPEG_2000)]
    forms += [Form(media, syntax) for media, syntax in made if syntax != original and can_make(instance, syntax)]
    return forms


def frames_choice(ranges: Iterable[MediaType], forms: Sequence[Form], count: int) -> Choice:
    """The form for `count` frames.

    Raises:
        HTTPException: 406, none of what is accepted can be made.
    """
    for kind in ranges:
        inner, is_single = _wanted(kind)
        if inner is None or (is_single and count != 1):
            continue
        found = _frame_form(inner, kind.parameters.get("transfer-syntax"), forms)
        if found is not None:
            return Choice(found, is_single)
    raise HTTPException(406, "The frames cannot be sent in what is accepted.")


def files_choice(ranges: Iterable[MediaType], instances: Sequence[StoredInstance]) -> Choice:
    """The transfer syntax for whole files and whether the one comes alone; `*` where they are sent as they came.

    Who names application/dicom without a transfer syntax gets Explicit VR Little Endian, as PS3.18 §8.7.3.5.2 has it,
    unless an instance cannot be had in it; who names nothing gets the files as they came.

    Raises:
        HTTPException: 406, none of what is accepted can be made.
    """
    for kind in ranges:
        inner, is_single = _wanted(kind)
        if inner is None or not _covers(inner, DICOM) or (is_single and len(instances) != 1):
            continue
        syntax = kind.parameters.get("transfer-syntax")
        if syntax == "*" or (syntax is None and inner != DICOM):
            return Choice(Form(DICOM, "*", True), is_single)
        wanted = syntax or EXPLICIT_LE
        if all(can_make(instance, wanted) for instance in instances):
            return Choice(Form(DICOM, wanted), is_single)
        if syntax is None:
            return Choice(Form(DICOM, "*", True), is_single)
    raise HTTPException(406, "The instances cannot be sent in what is accepted.")


def value_choice(ranges: Iterable[MediaType]) -> bool:
    """Whether a value comes without multipart around it.

    Raises:
        HTTPException: 406, neither way is accepted.
    """
    for kind in ranges:
        inner, is_single = _wanted(kind)
        if kind.name == ANY:
            return True
        if inner is not None and _covers(inner, RAW):
            return is_single
    raise HTTPException(406, f"Bulk data is sent as {RAW}.")


def picture_choice(ranges: Iterable[MediaType], kinds: Sequence[str]) -> str:
    """The first of `kinds` that is accepted.

    Raises:
        HTTPException: 406, none is.
    """
    for kind in ranges:
        for media in kinds:
            if _covers(kind.name, media):
                return media
    raise HTTPException(406, f"Pictures are sent as {' or '.join(kinds)}.")


def _wanted(kind: MediaType) -> tuple[str | None, bool]:
    """The media type of the content itself, and whether it is wanted without multipart around it."""
    if kind.name in {ANY, "multipart/*"}:
        return ANY, False
    if kind.name == "multipart/related":
        inner = kind.parameters.get("type", ANY).strip().lower()
        return _ALSO.get(inner, inner), False
    if kind.name.startswith("multipart/"):
        return None, False
    return _ALSO.get(kind.name, kind.name), True


def _covers(wanted: str, media: str) -> bool:
    """Whether a media range takes a media type; some clients write `image/` for `image/*`."""
    return wanted in {ANY, media} or (wanted.rstrip("*").endswith("/") and media.startswith(wanted.rstrip("*")))


def _frame_form(inner: str, syntax: str | None, forms: Sequence[Form]) -> Form | None:
    original = next((form for form in forms if form.is_original), None)
    if inner == RAW and original is not None and syntax in {"*", original.syntax}:
        return original._replace(media=RAW)  # viewers ask so for whatever there is, and read the transfer syntax
    fitting = [form for form in forms if _covers(inner, form.media)]
    if syntax == "*":
        return next((form for form in fitting if form.is_original), fitting[0] if fitting else None)
    return next((form for form in fitting if syntax in {None, form.syntax}), None)
