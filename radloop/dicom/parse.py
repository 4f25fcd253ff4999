"""What a Part 10 file is: its identity, its indexed attributes, its image, and whether it holds together.

`parse` is what every door runs before anything is stored. It raises `InvalidInput` for what cannot be kept as an
instance, and tells in `warnings` what can be kept but should be known. No message carries an attribute's value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from pydicom._uid_dict import UID_dictionary

from radloop.core.errors import InvalidIdentity, MissingAttribute, PixelDataMismatch
from radloop.core.images import Notice
from radloop.dicom.elements import (
    DEFLATED_FRAME,
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    RLE,
    Data,
    Element,
    Elements,
    Part10,
    read_part10,
)
from radloop.dicom.image import FrameDescription, ImageDescription, describe, pixel_element
from radloop.dicom.values import encodings_of, integer, is_uid, text, texts

__all__ = ["FrameDescription", "ImageDescription", "Instance", "Notice", "Value", "instance_of", "parse"]

Value = str | int | float | list[str] | None

HOT: Mapping[str, int] = {
    "ImageType": 0x00080008,
    "StudyDate": 0x00080020,
    "SeriesDate": 0x00080021,
    "AcquisitionDate": 0x00080022,
    "ContentDate": 0x00080023,
    "StudyTime": 0x00080030,
    "SeriesTime": 0x00080031,
    "AcquisitionTime": 0x00080032,
    "ContentTime": 0x00080033,
    "AccessionNumber": 0x00080050,
    "Modality": 0x00080060,
    "Manufacturer": 0x00080070,
    "InstitutionName": 0x00080080,
    "ReferringPhysicianName": 0x00080090,
    "StudyDescription": 0x00081030,
    "SeriesDescription": 0x0008103E,
    "ManufacturerModelName": 0x00081090,
    "PatientName": 0x00100010,
    "PatientID": 0x00100020,
    "IssuerOfPatientID": 0x00100021,
    "PatientBirthDate": 0x00100030,
    "PatientSex": 0x00100040,
    "PatientAge": 0x00101010,
    "BodyPartExamined": 0x00180015,
    "ProtocolName": 0x00181030,
    "ViewPosition": 0x00185101,
    "StudyID": 0x00200010,
    "SeriesNumber": 0x00200011,
    "InstanceNumber": 0x00200013,
    "FrameOfReferenceUID": 0x00200052,
    "Laterality": 0x00200060,
    "BurnedInAnnotation": 0x00280301,
}
"""Attributes that lists show and searches ask for, by keyword."""

VALUE_LIMIT = 1024
"""Characters of a hot attribute that are kept; the longest VR among them allows 64 per component."""

_IDENTITY = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
}
_NUMBERS = frozenset({"SeriesNumber", "InstanceNumber"})
_NAMES = frozenset({"ReferringPhysicianName", "PatientName"})
_LISTS = frozenset({"ImageType"})
_OF_OTHER_KINDS = _NUMBERS | _LISTS

_BIG_ENDIAN_PIXELS = "1.2.840.113619.5.2"
_NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, _BIG_ENDIAN_PIXELS})
_ONE_STREAM = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))

_ALWAYS_LOSSY = frozenset(
    f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 52, 53, 54, 55, 56, 59, 60, 63, 64, 111, *range(100, 109))
)
_MAYBE_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (81, 91, 93, 112, 203))

_IMAGE_TYPE_1 = {
    "PhotometricInterpretation": 0x00280004,
    "SamplesPerPixel": 0x00280002,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
}
_PLANE_TYPE_1 = {
    "PixelSpacing": 0x00280030,
    "ImageOrientationPatient": 0x00200037,
    "ImagePositionPatient": 0x00200032,
    "FrameOfReferenceUID": 0x00200052,
}
_ROWS, _PROVIDER_URL = 0x00280010, 0x00287FE0
_IMAGE_CLASSES = frozenset(uid for uid, entry in UID_dictionary.items() if entry[0].endswith("Image Storage"))
_CLASS_TYPE_1: Mapping[str, Mapping[str, int]] = {
    "1.2.840.10008.5.1.4.1.1.2": {
        "ImageType": 0x00080008,
        "RescaleIntercept": 0x00281052,
        "RescaleSlope": 0x00281053,
        **_PLANE_TYPE_1,
    },
    "1.2.840.10008.5.1.4.1.1.4": {"ImageType": 0x00080008, **_PLANE_TYPE_1},
    "1.2.840.10008.5.1.4.1.1.128": {"Units": 0x00541001, **_PLANE_TYPE_1},
    "1.2.840.10008.5.1.4.1.1.1.1": {"PresentationIntentType": 0x00080068, "ImagerPixelSpacing": 0x00181164},
}
_ODDITIES = {
    "vr-encoding": "value representations are not written as the transfer syntax says",
    "trailing-zeros": "zeros follow the data set",
    "duplicate-element": "an element stands there more than once; the last one counts",
    "element-order": "elements do not ascend",
}


@dataclass(frozen=True, slots=True)
class Instance:
    """One SOP instance, without its pixels.

    Attributes:
        attributes: Those of `HOT` that the file has, by keyword; None where it has them empty. Patient data.
        image: None for what has no pixels (reports, PDF, plans).
        pixel_span: Offset and length of the uncompressed little endian pixels in the file, the pad byte left out, so
            that the file is `data[:offset] + pixels + data[offset + length:]`; None where there are none such.
        lossy: The pixels were compressed with loss some time before they came here.
        warnings: What a reader or an operator should know; codes are stable, messages carry no values.
    """

    sop_uid: str
    sop_class: str
    study_uid: str
    series_uid: str
    transfer_syntax: str
    attributes: dict[str, Value]
    image: ImageDescription | None
    pixel_span: tuple[int, int] | None
    lossy: bool
    warnings: tuple[Notice, ...]


def parse(data: Data) -> Instance:
    """Read and validate a Part 10 file without touching its pixels.

    Args:
        data: The whole file, held or fetched as it is looked at.

    Raises:
        NotDicom: It is something else.
        TruncatedFile: It ends before its own lengths, at any depth.
        MissingAttribute: SOPInstanceUID, SOPClassUID, StudyInstanceUID, SeriesInstanceUID or TransferSyntaxUID.
        InvalidIdentity: One of them is no legal UID; trailing spaces and zeros are not held against it.
        PixelDataMismatch: Rows, columns, samples, bits and frames do not give the length of the pixel data.
        TooManyElements: It holds more elements than are read.
        InvalidInput: A deflated file is damaged or expands beyond reason.
    """
    return instance_of(read_part10(data))


def instance_of(part: Part10) -> Instance:
    """The instance in a file that is taken apart already; raises what `parse` raises of the data set."""
    elements = part.elements
    identity = {keyword: _identity(part, keyword, tag) for keyword, tag in _IDENTITY.items()}
    encodings = encodings_of(part, elements)
    attributes, notices = _attributes(part, encodings)
    notices += [Notice(code, _ODDITIES[code]) for code in part.oddities]
    notices += _meta_notices(part, identity)
    if not attributes.get("PatientID"):
        notices.append(Notice("missing-patient-id", "PatientID is absent or empty"))
    image: ImageDescription | None = None
    span: tuple[int, int] | None = None
    found = pixel_element(elements)
    if found is not None:
        tag, pixels = found
        image, more = describe(part, tag, sop_uid=identity["SOPInstanceUID"])
        notices += more
        image, more = _fitted(image, pixels, part.transfer_syntax)
        notices += more
        if part.transfer_syntax in {IMPLICIT_LE, EXPLICIT_LE}:
            span = (pixels.start, _native_length(image))
    else:
        _refuse_a_lost_image(part, identity["SOPClassUID"])
    notices += _missing(part, identity["SOPClassUID"], image)
    return Instance(
        sop_uid=identity["SOPInstanceUID"],
        sop_class=identity["SOPClassUID"],
        study_uid=identity["StudyInstanceUID"],
        series_uid=identity["SeriesInstanceUID"],
        transfer_syntax=part.transfer_syntax,
        attributes=attributes,
        image=image,
        pixel_span=span,
        lossy=image is not None and _is_lossy(part),
        warnings=tuple(notices),
    )


def _identity(part: Part10, keyword: str, tag: int) -> str:
    uid = text(part, part.elements, tag).strip()
    if not uid:
        raise MissingAttribute(keyword)
    if not is_uid(uid):
        raise InvalidIdentity(keyword)
    return uid


def _attributes(part: Part10, encodings: Sequence[str]) -> tuple[dict[str, Value], list[Notice]]:
    """The hot attributes that are there, and what is wrong with them."""
    attributes: dict[str, Value] = {}
    notices: list[Notice] = []
    elements, data = part.elements, part.data
    for keyword, tag in HOT.items():
        element = elements.get(tag)
        if element is None:
            continue
        if element.length <= VALUE_LIMIT and keyword not in _OF_OTHER_KINDS:
            value = data[element.start : element.start + element.length]
            if value.isascii() and b"\\" not in value and b"\x1b" not in value:  # nearly all of them
                attributes[keyword] = value.decode("ascii").strip(" \0") or None
                continue
        attributes[keyword] = _hot_value(part, keyword, element, encodings, notices)
    return attributes, notices


def _hot_value(part: Part10, keyword: str, element: Element, encodings: Sequence[str], notices: list[Notice]) -> Value:
    if element.length > 4 * VALUE_LIMIT:
        element = element._replace(length=4 * VALUE_LIMIT)  # the longest encodings take four bytes a character
    values = texts(part, element, encodings, is_name=keyword in _NAMES)
    if keyword in _LISTS:
        return values[:VALUE_LIMIT] if any(values) else None
    value = values[0] if keyword in _NUMBERS else "\\".join(values)
    if not value:
        return None
    if keyword in _NUMBERS:
        number = integer(value)
        if number is None:
            notices.append(Notice("not-a-number", f"{keyword} is not a number"))
        return number
    if len(value) > VALUE_LIMIT:
        notices.append(Notice("attribute-too-long", f"{keyword} is cut after {VALUE_LIMIT} characters for search"))
    return value[:VALUE_LIMIT]


def _meta_notices(part: Part10, identity: Mapping[str, str]) -> list[Notice]:
    """Where the file meta information tells another identity than the data set, which is the one that counts."""
    notices = []
    for keyword, tag in (("SOPClassUID", 0x00020002), ("SOPInstanceUID", 0x00020003)):
        if text(part, part.meta, tag) != identity[keyword] and not part.is_inflated:
            notices.append(Notice("meta-differs", f"the file meta information names another {keyword} or none"))
    return notices


def _native_length(image: ImageDescription) -> int:
    """Bytes of all frames uncompressed, without padding."""
    return -(-image.frame_bits * image.frames // 8)


def _fitted(image: ImageDescription, pixels: Element, transfer_syntax: str) -> tuple[ImageDescription, list[Notice]]:
    """Hold the image description against the pixel data that came with it.

    Raises:
        PixelDataMismatch: They contradict each other.
    """
    if pixels.fragments is not None:
        return image, _check_fragments(image, len(pixels.fragments) - 1, transfer_syntax)
    if transfer_syntax not in _NATIVE and transfer_syntax.startswith("1.2.840.10008."):
        raise PixelDataMismatch("the transfer syntax is a compressed one, the pixel data are not encapsulated")
    if _fits(image, pixels.length):
        return image, []
    if image.photometric == "YBR_FULL_422":
        full = replace(image, photometric="YBR_FULL")
        if _fits(full, pixels.length):
            return full, [Notice("photometric", "pixels said to share their colour by twos each have their own")]
    raise PixelDataMismatch(
        f"the image description asks for {_native_length(image)} bytes of pixels, there are {pixels.length}"
    )


def _fits(image: ImageDescription, length: int) -> bool:
    wanted = _native_length(image)
    return length in {wanted, wanted + wanted % 2}


def _check_fragments(image: ImageDescription, fragments: int, transfer_syntax: str) -> list[Notice]:
    if transfer_syntax in _NATIVE:
        raise PixelDataMismatch("the transfer syntax is an uncompressed one, the pixel data are encapsulated")
    if fragments < 1:
        raise PixelDataMismatch("encapsulated pixel data hold no fragment")
    if transfer_syntax in _ONE_STREAM:
        return []
    if fragments < image.frames:
        raise PixelDataMismatch(f"{fragments} fragments cannot hold {image.frames} frames")
    if transfer_syntax in {RLE, DEFLATED_FRAME} and fragments != image.frames:
        raise PixelDataMismatch(f"{fragments} fragments stand for {image.frames} frames, each must have one")
    return []


def _is_lossy(part: Part10) -> bool:
    told = text(part, part.elements, 0x00282110)
    if told == "01" or part.transfer_syntax in _ALWAYS_LOSSY:
        return True
    return part.transfer_syntax in _MAYBE_LOSSY and told != "00"


def _missing(part: Part10, sop_class: str, image: ImageDescription | None) -> list[Notice]:
    """Type 1 attributes of the main modules that are absent or empty, identity apart."""
    kind = (None, None) if image is None else (image.is_float, image.samples > 1)
    elements = part.elements
    return [
        Notice("missing-type-1", f"{keyword} is required and is absent or empty")
        for keyword, tag in _required(sop_class if sop_class in _CLASS_TYPE_1 else "", *kind)
        if _is_empty(elements, tag)
    ]


@lru_cache(maxsize=64)
def _required(sop_class: str, is_float: bool | None, is_colour: bool | None) -> tuple[tuple[str, int], ...]:
    """Keywords and tags of what such an instance must have; no colour and no numbers where it has no pixels."""
    wanted = {"Modality": 0x00080060}
    if is_float is not None:
        wanted |= {} if is_float else _IMAGE_TYPE_1
        wanted |= {"PlanarConfiguration": 0x00280006} if is_colour else {}
        wanted |= _CLASS_TYPE_1.get(sop_class, {})
    return tuple(wanted.items())


def _refuse_a_lost_image(part: Part10, sop_class: str) -> None:
    """Refuse an image that has no pixels: a file cut just before them looks whole, and a slice would go missing.

    Pixels that are to be fetched from elsewhere (PixelDataProviderURL, PS3.3 C.7.6.3) are not lost.
    """
    is_image = sop_class in _IMAGE_CLASSES or not _is_empty(part.elements, _ROWS)
    if is_image and _is_empty(part.elements, _PROVIDER_URL):
        raise PixelDataMismatch("an instance of an image class without pixel data; the file may have been cut")


def _is_empty(elements: Elements, tag: int) -> bool:
    element = elements.get(tag)
    return element is None or not element.length
