"""The table of checks, the parts of the wire, and the specimens."""

import io
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radloop.codec.decoders import decode_frame
from radloop.conform.model import Differs, Severity
from radloop.conform.pictures import decoded, same
from radloop.conform.run import alive_checks
from radloop.conform.table import CHECKS, GROUPS, chosen
from radloop.conform.wire import Answer, Part, kind_of, multipart
from radloop.dicom.parse import parse
from radloop.dicom.specimens import JPEG_2000, JPEG_LS, Study, bytes_of, elements_of, native, slice_of

PAGE = Path(__file__).parents[2] / "docs" / "conform.md"


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    import httpx

    return Answer(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), body)


def test_every_check_has_an_id_of_its_own_a_title_and_a_paragraph() -> None:
    assert len(CHECKS) >= 90
    assert Counter(check.id for check in CHECKS).most_common(1)[0][1] == 1
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+-[a-z0-9-]+", check.id)
        assert check.id.startswith(f"{check.group}-")
        assert check.title
        assert check.expected
        assert "None" not in check.title
        assert re.match(r"(PS3\.\d+|RFC \d+|Fetch) ?(§|C\.|Annex)", check.clause), check.clause


def test_checks_are_chosen_by_group_and_by_id() -> None:
    assert {check.group for check in chosen(("stow",))} == {"stow"}
    assert [check.id for check in chosen(("qido-limit",))] == ["qido-limit"]
    assert chosen(()) == CHECKS
    with pytest.raises(KeyError):
        chosen(("no-such",))


def test_the_page_holds_the_table_that_the_checks_make() -> None:
    text = PAGE.read_text()
    for group in GROUPS:
        assert f"\n### {group.title}: `{group.id}`\n" in text
    rows = [row(check) for check in (*CHECKS, *alive_checks())]
    missing = [each for each in rows if each not in text]
    assert not missing, "docs/conform.md lacks or changes rows; tests/conform/test_checks.py prints them:\n" + table()
    assert len(re.findall(r"^\| `", text, flags=re.MULTILINE)) == len(rows)
    for severity in Severity:
        assert f"{sum(check.severity is severity for check in CHECKS)} {severity}" in text
    assert f"{len(CHECKS)} checks" in text


def row(check: object) -> str:
    return f"| `{check.id}` | {check.severity} | {check.title} | {check.expected} | {check.clause} |"


def table() -> str:
    """The tables of the page."""
    parts = []
    alive = {check.group: check for check in alive_checks()}
    for group in GROUPS:
        rows = "\n".join(row(check) for check in (*group.checks, alive[group.id]))
        head = "| check | | what a server does that passes | expected | paragraph |\n| --- | --- | --- | --- | --- |"
        parts.append(f"### {group.title}: `{group.id}`\n\n{head}\n{rows}\n")
    return "\n".join(parts)


# The wire


def test_media_types_are_read_with_and_without_quotes() -> None:
    assert kind_of('Multipart/Related; TYPE="image/jls"; boundary=x').parameters == {
        "type": "image/jls",
        "boundary": "x",
    }
    assert kind_of("application/dicom+json;charset=utf-8").name == "application/dicom+json"
    assert kind_of(None).name == ""


def test_multipart_is_cut_by_its_boundary() -> None:
    sent = [b"one", b"two\r\n", b"a\r\n--cutter\r\n", b""]
    body = multipart(sent, kind="x/y", boundary="cut")
    parts = answer(200, body, content_type="multipart/related; boundary=cut").parts()
    assert [part.data for part in parts] == sent
    assert {part.kind.name for part in parts} == {"x/y"}


@pytest.mark.parametrize("body", [b"", b"--cut\r\n\r\nx", b"--cut\r\n\r\nx\r\n--cut\r\n", b"--cut\r\nA: b\r\n--cut--"])
def test_multipart_that_is_broken_is_a_difference(body: bytes) -> None:
    with pytest.raises(Differs):
        answer(200, body, content_type="multipart/related; boundary=cut").parts()


def test_what_is_seen_of_an_answer_holds_none_of_its_values() -> None:
    seen = answer(500, b"Mustermann", content_type="text/Mustermann^Max").seen
    assert seen == "500"
    assert answer(204).seen == "204 without a body"


def test_answers_of_another_form_are_differences() -> None:
    for broken in (answer(200, b"{"), answer(200, b"{}"), answer(200, b"[1]"), answer(500)):
        with pytest.raises(Differs):
            broken.rows()
    assert answer(204).rows() == []


# Specimens and pictures


def test_specimens_are_of_nobody_and_marked_as_test_data() -> None:
    study = Study()
    for specimen in (study.image([slice_of(1)]), study.report()):
        told = elements_of(specimen.data)
        assert told["00100020"].startswith("RADLOOP-CONFORM-")
        assert "test data" in told["00081030"]
        assert all(uid.startswith("2.25.") for uid in (specimen.study, specimen.series, specimen.instance))
    assert Study().uid != Study().uid


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.5",
    ],
)
def test_specimens_hold_the_pixels_they_say(syntax: str) -> None:
    frame = slice_of(1)
    specimen = Study().image([frame], syntax=syntax)
    read = pydicom.dcmread(io.BytesIO(specimen.data))
    assert read.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read.pixel_array, frame)
    assert parse(specimen.data).sop_uid == specimen.instance


@pytest.mark.parametrize("syntax", [JPEG_2000, JPEG_LS])
def test_compressed_specimens_hold_the_pixels_they_say(syntax: str) -> None:
    frame = (slice_of(1).astype(int) + 2000).astype(np.uint16)
    specimen = Study().image([frame], syntax=syntax)
    told = {"rows": 48, "columns": 64, "samples": 1, "bits_allocated": 16, "bits_stored": 16, "signed": False}
    assert np.array_equal(decode_frame(specimen.raw[0], syntax, **told), frame)


def test_a_picture_that_differs_in_one_sample_is_told() -> None:
    frame = bytes_of(1)
    octets = {"content-type": "application/octet-stream"}
    same(Part(octets, native(frame)), frame)
    other = frame.copy()
    other[2, 3] ^= 1
    with pytest.raises(Differs, match="1 of 1280 samples differ"):
        same(Part(octets, native(other)), frame)
    with pytest.raises(Differs, match="1279 bytes instead of 1280"):
        decoded(Part(octets, native(frame)[1:]), frame)
    with pytest.raises(Differs, match="does not decode as image/jls"):
        decoded(Part({"content-type": "image/jls"}, b"\xff\xd8nonsense"), frame)
    with pytest.raises(Differs, match="nothing that is named"):
        decoded(Part({}, native(frame)), frame)


@pytest.mark.parametrize(
    "stored", [slice_of(2), bytes_of(2), bytes_of(2, samples=3)], ids=["signed", "bytes", "colour"]
)
def test_run_lengths_are_read_back(stored: "np.ndarray") -> None:
    specimen = Study().image([stored], syntax="1.2.840.10008.1.2.5")
    same(Part({"content-type": "image/dicom-rle"}, specimen.raw[0]), stored)
