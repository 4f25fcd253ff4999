"""Damage to DICOM files and multipart bodies, from noise to lies that know the format, all of it from a seed."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence

from radloop.core.errors import InvalidInput
from radloop.dicom.elements import DEFLATED_LE, Element, Part10, read_part10

Dice = random.Random
Mutation = Callable[[bytes, Dice], bytes]

LENGTHS = (0, 1, 2, 7, 0x7F, 0xFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
WORDS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 32, 64, 255, 256, 4096, 32767, 32768, 65534, 65535)
VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT XX 0".split()
SYNTAXES = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.8.1",
    "1.2.3.4",
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 100, 102, 201, 202, 203)),
]
TEXTS = (
    b"", b" ", b"\0", b"-1", b"0", b"1e999", b"NaN", b"99999999999999999999", b"1\\2\\3\\4\\5\\6\\7", b"\\\\\\",
    b"ISO 2022 IR 87", b"ISO_IR 192", b"\\ISO 2022 IR 149", b"GB18030", b"\x1b$B", b"\xff\xfe\xfd", b"A" * 300,
    b"../../etc/passwd", b"<script>", b"%s%n", b"1.2.840.", b"1..2",
)  # fmt: skip
SHAPE = {0x00280010, 0x00280011, 0x00280002, 0x00280006, 0x00280100, 0x00280101, 0x00280102, 0x00280103}
DELIMITERS = (
    struct.pack("<HHL", 0xFFFE, 0xE000, 0),
    struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF),
    struct.pack("<HHL", 0xFFFE, 0xE00D, 0),
    struct.pack("<HHL", 0xFFFE, 0xE0DD, 0),
)


def damaged(file: bytes, others: Sequence[bytes], dice: Dice) -> bytes:
    """A file with one to four mutations, or one after which most files still parse."""
    if dice.random() < 0.4:
        return dice.choice(GENTLE)(file, dice)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 4))):
        mutate = dice.choice(MUTATIONS)
        if mutate is spliced:
            file = spliced(file, dice, dice.choice(others))
        else:
            file = inside(file, mutate, dice) if dice.random() < 0.5 else mutate(file, dice)
    return file


def inside(file: bytes, mutate: Mutation, dice: Dice) -> bytes:
    """The mutation of what a deflated file inflates to; of any other file, of itself."""
    part = taken_apart(file)
    if part is None or part.transfer_syntax != DEFLATED_LE:
        return mutate(file, dice)
    start = max(element.start + element.length for element in part.meta.values())
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    return file[:start] + squeeze.compress(mutate(part.data, dice)) + squeeze.flush()


def taken_apart(file: bytes) -> Part10 | None:
    try:
        return read_part10(file)
    except InvalidInput:
        return None


def elements_of(file: bytes) -> list[tuple[int, Element, int]]:
    """Tag, element and offset of its header, nested ones too; of a file that does not parse, none."""
    part = taken_apart(file)
    if part is None or part.is_inflated:
        return []
    found: list[tuple[int, Element, int]] = []
    waiting = [(part.elements, part.is_explicit), (part.meta, True)]
    while waiting:
        elements, explicit = waiting.pop()
        for tag, element in elements.items():
            long = explicit and element.vr in {
                "OB",
                "OD",
                "OF",
                "OL",
                "OV",
                "OW",
                "SQ",
                "SV",
                "UC",
                "UN",
                "UR",
                "UT",
                "UV",
            }
            found.append((tag, element, element.start - (12 if long else 8)))
            waiting += [(item, explicit) for item in element.items or ()]
    return found


def flipped(file: bytes, dice: Dice) -> bytes:
    data = bytearray(file)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        if data:
            data[dice.randrange(len(data))] = dice.choice(
                (0, 0xFF, dice.randrange(256), data[0] ^ 1 << dice.randrange(8))
            )
    return bytes(data)


def truncated(file: bytes, dice: Dice) -> bytes:
    return file[: dice.randrange(len(file) + 1)]


def cut(file: bytes, dice: Dice) -> bytes:
    start = dice.randrange(len(file) + 1)
    return file[:start] + file[start + dice.choice((1, 2, 3, 8, 64, 1000)) :]


def doubled(file: bytes, dice: Dice) -> bytes:
    start = dice.randrange(len(file) + 1)
    piece = file[start : start + dice.choice((1, 2, 8, 64, 1000))]
    return file[:start] + piece * dice.choice((2, 3, 50)) + file[start:]


def noised(file: bytes, dice: Dice) -> bytes:
    start = dice.randrange(len(file) + 1)
    return file[:start] + dice.randbytes(dice.choice((1, 2, 8, 100))) + file[start:]


def spliced(file: bytes, dice: Dice, other: bytes = b"") -> bytes:
    return file[: dice.randrange(len(file) + 1)] + other[dice.randrange(len(other) + 1) :]


def lying_about_length(file: bytes, dice: Dice) -> bytes:
    elements = elements_of(file)
    if not elements:
        return flipped(file, dice)
    _, element, header = dice.choice(elements)
    length = dice.choice((*LENGTHS, element.length + 1, element.length + 2, max(0, element.length - 1)))
    if element.start - header == 12 or not element.vr:
        return file[: element.start - 4] + struct.pack("<L", length & 0xFFFFFFFF) + file[element.start :]
    return file[: element.start - 2] + struct.pack("<H", length & 0xFFFF) + file[element.start :]


def of_another_vr(file: bytes, dice: Dice) -> bytes:
    elements = elements_of(file)
    if not elements:
        return flipped(file, dice)
    _, _, header = dice.choice(elements)
    return file[: header + 4] + dice.choice(VRS).ljust(2, b"\0") + file[header + 6 :]


def reordered(file: bytes, dice: Dice) -> bytes:
    elements = elements_of(file)
    if len(elements) < 2:
        return flipped(file, dice)
    (_, one, start), (_, two, begin) = sorted(dice.sample(elements, 2), key=lambda found: found[2])
    end, stop = one.start + one.length, two.start + two.length
    if end > begin:
        return file
    return file[:start] + file[begin:stop] + file[end:begin] + file[start:end] + file[stop:]


def nested(file: bytes, dice: Dice) -> bytes:
    """Sequences of undefined or lying length, one in another, perhaps without their ends."""
    depth = dice.choice((1, 2, 5, 49, 50, 51, 300))
    length = dice.choice((0xFFFFFFFF, 0xFFFFFFFF, 8, 1000))
    opened = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, length) + struct.pack("<HHL", 0xFFFE, 0xE000, length)
    closed = (DELIMITERS[2] + DELIMITERS[3]) * dice.choice((depth, depth, depth - 1, 0))
    elements = elements_of(file)
    place = dice.choice(elements)[2] if elements else dice.randrange(len(file) + 1)
    return file[:place] + opened * depth + closed + file[place:]


def delimited(file: bytes, dice: Dice) -> bytes:
    elements = elements_of(file)
    place = dice.choice(elements)[2] if elements else dice.randrange(len(file) + 1)
    return file[:place] + dice.choice(DELIMITERS) + file[place:]


def of_another_shape(file: bytes, dice: Dice) -> bytes:
    """Another number for rows, columns, bits, samples and the like."""
    found = [element for tag, element, _ in elements_of(file) if tag in SHAPE and element.length == 2]
    if not found:
        return flipped(file, dice)
    element = dice.choice(found)
    return file[: element.start] + struct.pack("<H", dice.choice(WORDS)) + file[element.start + 2 :]


def of_another_text(file: bytes, dice: Dice) -> bytes:
    """Another value, as long as the one that stood there or with the length told rightly."""
    found = [
        (element, header) for _, element, header in elements_of(file) if element.vr and element.start - header == 8
    ]
    if not found:
        return flipped(file, dice)
    element, _ = dice.choice(found)
    text = dice.choice(TEXTS)
    text += b" " * (len(text) % 2)
    told = struct.pack("<H", len(text))
    return file[: element.start - 2] + told + text + file[element.start + element.length :]


def of_another_syntax(file: bytes, dice: Dice) -> bytes:
    part = taken_apart(file)
    if part is None or 0x00020010 not in part.meta:
        return flipped(file, dice)
    element = part.meta[0x00020010]
    syntax = dice.choice(SYNTAXES).encode()
    syntax += b"\0" * (len(syntax) % 2)
    return file[: element.start - 2] + struct.pack("<H", len(syntax)) + syntax + file[element.start + element.length :]


def damaged_in_the_pixels(file: bytes, dice: Dice) -> bytes:
    """Noise in the pixel data alone, the beginnings of codestreams most of all."""
    part = taken_apart(file)
    pixels = None if part is None or part.is_inflated else part.elements.get(0x7FE00010)
    if pixels is None or not pixels.length:
        return flipped(file, dice)
    data = bytearray(file)
    start, length = dice.choice(pixels.fragments) if pixels.fragments else (pixels.start, pixels.length)
    for _ in range(dice.choice((1, 1, 2, 5, 40))):
        if length:
            reach = min(length, dice.choice((20, 100, length)))
            data[start + dice.randrange(reach)] = dice.choice((0, 0xFF, dice.randrange(256)))
    return bytes(data)


MUTATIONS: tuple[Mutation, ...] = (
    flipped,
    truncated,
    cut,
    doubled,
    noised,
    spliced,
    lying_about_length,
    lying_about_length,
    of_another_vr,
    reordered,
    nested,
    delimited,
    of_another_shape,
    of_another_shape,
    of_another_text,
    of_another_text,
    of_another_syntax,
    damaged_in_the_pixels,
    damaged_in_the_pixels,
    damaged_in_the_pixels,
)

GENTLE: tuple[Mutation, ...] = (
    damaged_in_the_pixels,
    damaged_in_the_pixels,
    damaged_in_the_pixels,
    of_another_text,
    of_another_syntax,
    of_another_vr,
    reordered,
)


def multipart(files: Sequence[bytes], dice: Dice) -> tuple[bytes, str]:
    """A STOW body and its Content-Type, sound or with damage to its boundaries and headers."""
    boundary = dice.choice(("b", "----x-y-z", "a" * 70, "b" * 71, "=_?", "é", "", 'q"', "b\r\n"))
    if dice.random() < 0.7:
        boundary = "b1"
    kind = dice.choice(("application/dicom", "application/dicom", "application/dicom", "text/plain", "", "\xff;;="))
    parts = []
    for file in files:
        headers = f"Content-Type: {kind}\r\n" if dice.random() < 0.9 else dice.choice(("", "x" * 17000, ":\r\n: :\r\n"))
        parts.append(f"--{boundary}\r\n{headers}\r\n".encode("latin-1", "replace") + file + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode("latin-1", "replace")
    if dice.random() < 0.4:
        body = dice.choice((flipped, truncated, cut, doubled, noised))(body, dice)
    told = boundary.replace("\r\n", "").encode("latin-1", "replace").decode("latin-1")
    content_type = f'multipart/related; type="application/dicom"; boundary={told}'
    if dice.random() < 0.1:
        content_type = dice.choice(
            ("multipart/related", "application/dicom", "multipart/related; boundary=", ";;;", "a/b")
        )
    return body, content_type
