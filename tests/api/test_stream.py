"""`/stream/v1` as its readers meet it. The index and the records are read here by other code than wrote them."""

import asyncio
import gzip
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop.api.app import create_app
from radloop.codec.htj2k import decode
from radloop.core.errors import InvalidInput, NotFound
from radloop.core.identity import OWNER, Principal
from radloop.core.ports import Change, Delete, Upload
from radloop.core.tables import IMAGE_SETS, INSTANCES
from radloop.dicom.parse import parse
from radloop.dicom.phantom import phantom_study
from radloop.security.links import Links
from radloop.store import folding
from radloop.streaming.records import Item, by_stride, items_of
from tests.api.installation import BASE, OTHER, PHANTOM, Installation, TestClient, now, open_installation
from tests.dicom.test_parse import enhanced, written

TEXT = {"Content-Type": "text/plain"}
MANY = phantom_study(11, consolidated=False, slices=70, size=32)
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Index:
    """An index as docs/stream.md describes it, read with numpy."""

    version: int
    per_pack: int
    packs: int
    told: dict[str, Any]
    full: np.ndarray
    preview: np.ndarray
    ends: np.ndarray
    kind: np.ndarray
    flags: np.ndarray
    places: np.ndarray

    @classmethod
    def read(cls, body: bytes) -> "Index":
        assert body[:4] == b"RLSI"
        form, header = np.frombuffer(body, "<u2", 2, 4)
        assert (form, header) == (1, 32)
        count, version, per_pack, packs = (int(each) for each in np.frombuffer(body, "<u4", 4, 8))
        levels, length = body[24], int.from_bytes(body[28:32], "little")
        assert body[25:28] == bytes(3)
        at = 32 + length
        assert at % 4 == 0
        columns = []
        shapes = {
            "full <u4": (count,),
            "preview <u4": (count,),
            "ends <u4": (count, levels),
            "kind <u2": (count,),
            "flags u1": (count,),
        }
        for name, shape in shapes.items():
            columns.append(np.frombuffer(body, name.split()[1], math.prod(shape), at).reshape(shape))
            at += columns[-1].nbytes
        assert not any(body[at : -(-at // 8) * 8])
        places = np.frombuffer(body, "<f8", 3 * count, -(-at // 8) * 8).reshape(count, 3)
        assert -(-at // 8) * 8 + places.nbytes == len(body)
        return cls(version, per_pack, packs, json.loads(body[32 : 32 + length]), *columns, places)

    def frame(self, index: int) -> dict[str, Any]:
        """What the platform API tells of the frame."""
        kept, place = self.flags[index] & 4, self.places[index]
        return {
            **self.told["kinds"][self.kind[index]],
            "index": index,
            "lossless_bytes": int(self.full[index]) if kept else None,
            "preview_bytes": int(self.preview[index]) if self.flags[index] & 2 else None,
            "position_mm": None if np.isnan(place).all() else place.tolist(),
        }


@dataclass(frozen=True)
class Record:
    frame: int
    is_preview: bool
    start: int | None
    data: bytes

    @property
    def error(self) -> dict[str, str]:
        assert self.start is None
        return dict(json.loads(self.data))


def records(body: bytes) -> list[Record]:
    found = []
    while body:
        number, start, length = (int(each) for each in np.frombuffer(body, "<u4", 3))
        assert len(body) >= 12 + length, "a record is cut"
        data, body = body[12 : 12 + length], body[12 + length :]
        found.append(Record(number & 0x7FFFFFFF, bool(number >> 31), None if start == 0xFFFFFFFF else start, data))
    return found


def index_of(client: TestClient, identity: str) -> Index:
    return Index.read(client.get(f"/stream/v1/{identity}/index").content)


def asked(client: TestClient, identity: str, items: str, **options: Any) -> list[Record]:
    answer = client.post(f"/stream/v1/{identity}/frames", content=items, headers=TEXT, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.radloop.stream"
    return records(answer.content)


def refused(client: TestClient, identity: str, items: str | bytes, status: int = 400) -> str:
    answer = client.post(f"/stream/v1/{identity}/frames", content=items, headers=TEXT)
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["message"])


@pytest.fixture
def folded(installation: Installation) -> str:
    return installation.land(folded=True)


# The index


def test_the_index_tells_of_every_frame_what_the_platform_api_tells(client: TestClient, folded: str) -> None:
    whole = client.get(f"/api/v1/image-sets/{folded}").json()
    index = index_of(client, folded)
    listed = whole.pop("frame_list")
    assert index.told["set"] == whole
    assert [index.frame(number) for number in range(len(listed))] == listed
    assert (index.version, index.per_pack, index.packs, len(index.told["kinds"])) == (1, 64, 1, 1)
    assert index.flags.tolist() == [1 | 2 | 4 | 8] * 4


def test_frames_of_one_instance_that_differ_are_of_different_kinds(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.images.land([Upload(written(enhanced(5)))], by=OWNER)[0].image_set
    assert identity is not None
    installation.images.complete(identity, by=OWNER)
    for is_folded in (False, True):
        if is_folded:
            installation.images.fold(identity)
        index = index_of(client, identity)
        listed = client.get(f"/api/v1/image-sets/{identity}").json()["frame_list"]
        assert [index.frame(number) for number in range(5)] == listed
        assert len(index.told["kinds"]) == 2
        assert len({frame["slope"] for frame in listed}) == 2


def test_an_index_of_landed_frames_knows_no_sizes_and_follows_when_they_are_folded(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    first = client.get(f"/stream/v1/{identity}/index")
    before = Index.read(first.content)
    assert not before.full.any()
    assert not before.preview.any()
    assert (before.ends.shape, before.packs, before.flags.tolist()) == ((4, 0), 0, [1 | 8] * 4)
    installation.images.fold(identity)
    second = client.get(f"/stream/v1/{identity}/index", headers={"If-None-Match": first.headers["etag"]})
    after = Index.read(second.content)
    assert after.full.all()
    assert after.version == before.version
    again = client.get(f"/stream/v1/{identity}/index", headers={"If-None-Match": second.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == second.headers["etag"]
    assert again.headers["cache-control"] == "private, no-cache"


def test_the_index_is_compressed_whoever_asks(installation: Installation, client: TestClient, folded: str) -> None:
    with client.stream("GET", f"/stream/v1/{folded}/index", headers={"Accept-Encoding": "identity"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert Index.read(gzip.decompress(raw)).version == int(answer.headers["x-radloop-version"]) == 1
    assert raw == b"".join(raw_of(client, folded)), "two processes give the same bytes under the same validator"


def raw_of(client: TestClient, identity: str) -> list[bytes]:
    client.app.state.doors.images._opened.forget()  # type: ignore[attr-defined] — as another process would find it
    with client.stream("GET", f"/stream/v1/{identity}/index") as answer:
        return list(answer.iter_raw())


def test_an_image_set_without_frames_has_an_index_and_nothing_else(
    installation: Installation, client: TestClient
) -> None:
    report = written_report()
    identity = installation.images.land([Upload(report)], by=OWNER)[0].image_set
    assert identity is not None
    index = index_of(client, identity)
    assert (index.full.size, index.packs, index.told["kinds"]) == (0, 0, [])
    assert asked(client, identity, "0:0:0")[0].error["code"] == "not-found"
    assert client.get(f"/stream/v1/{identity}/packs/0?v=1").status_code == 404


def written_report() -> bytes:
    data_set = enhanced(1)
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    data_set.Modality = "SR"
    for name in ("PixelData", "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(data_set, name)
    return written(data_set)


# Frames


def test_records_are_the_stored_frames_byte_for_byte_in_the_order_asked(
    installation: Installation, client: TestClient, folded: str
) -> None:
    items = "3:0:0,p1:0:0\n0:0:0,p3:0:0,3:0:0"
    for _ in range(2):  # the first reading in an hour goes another way
        found = asked(client, folded, items)
        assert [(each.frame, each.is_preview, each.start) for each in found] == [
            (3, False, 0), (1, True, 0), (0, False, 0), (3, True, 0), (3, False, 0)
        ]  # fmt: skip
        for each in found:
            path = f"/api/v1/image-sets/{folded}/frames/{each.frame}" + ("/preview" if each.is_preview else "")
            assert each.data == client.get(path).content
    sizes = index_of(client, folded)
    assert [len(each.data) for each in found] == [
        sizes.full[3], sizes.preview[1], sizes.full[0], sizes.preview[3], sizes.full[3]
    ]  # fmt: skip
    assert np.array_equal(decode(found[2].data), installation.images.pixels(folded, 0))


def test_parts_of_a_frame_put_together_are_the_frame(client: TestClient, folded: str) -> None:
    ends = [0, *index_of(client, folded).ends[2].tolist()]
    assert ends == sorted(set(ends))
    spans = ",".join(f"2:{start}:{end}" for start, end in zip(ends, [*ends[1:-1], 0], strict=False))
    parts = asked(client, folded, spans)
    assert [part.start for part in parts] == ends[:-1]
    whole = client.get(f"/api/v1/image-sets/{folded}/frames/2").content
    assert b"".join(part.data for part in parts) == whole
    assert ends[-1] == len(whole)
    (beyond,) = asked(client, folded, f"2:{ends[1]}:999999999")
    assert beyond.data == whole[ends[1] :]


def test_a_prefix_up_to_an_end_decodes_to_the_smaller_picture(client: TestClient, folded: str) -> None:
    ends = index_of(client, folded).ends[0]
    prefixes = asked(client, folded, ",".join(f"0:0:{end}" for end in ends))
    whole = prefixes[-1].data
    for skipped, prefix in enumerate(reversed(prefixes)):
        small = imagecodecs.htj2k_decode(prefix.data, skipres=skipped, resilient=True)
        assert small.shape == (64 >> skipped, 64 >> skipped)
        assert np.array_equal(small, imagecodecs.htj2k_decode(whole, skipres=skipped))


def test_landed_frames_are_those_of_the_platform_api_and_have_no_preview(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land()
    full, part, preview = asked(client, identity, "1:0:0,1:7:50,p1:0:0")
    assert full.data == client.get(f"/api/v1/image-sets/{identity}/frames/1").content
    assert part.data == full.data[7:50]
    assert preview.error["code"] == "not-found"


def test_a_frame_kept_as_received_is_given_as_the_platform_api_gives_it(
    installation: Installation, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = installation.land()
    honest = folding.encode_lossless
    monkeypatch.setattr(folding, "encode_lossless", lambda pixels: honest(pixels ^ 1))
    installation.images.fold(identity)
    monkeypatch.undo()
    index = index_of(client, identity)
    assert (index.flags.tolist(), index.packs) == ([8] * 4, 0)
    full, preview = asked(client, identity, "0:0:0,p0:0:0")
    assert full.data == client.get(f"/api/v1/image-sets/{identity}/frames/0").content
    assert preview.error["code"] == "not-found"
    pack = client.get(f"/stream/v1/{identity}/packs/0?v=1")
    assert "immutable" in pack.headers["cache-control"], "there will be none under this version"
    assert {each.error["code"] for each in records(pack.content)} == {"not-found"}


@pytest.mark.data
def test_a_frame_that_no_codec_decodes_is_told_in_its_place(installation: Installation, client: TestClient) -> None:
    folder = Path(os.environ.get("RADLOOP_TEST_DATA", "")) / "transfer-syntaxes"
    if not os.environ.get("RADLOOP_TEST_DATA") or not folder.is_dir():
        pytest.skip("RADLOOP_TEST_DATA names no folder with transfer-syntaxes")
    data = next(folder.glob("*1.2.840.10008.1.2.4.55.dcm")).read_bytes()
    identity = installation.images.land([Upload(data)], by=OWNER)[0].image_set
    assert identity is not None
    installation.images.complete(identity, by=OWNER)
    for is_folded in (False, True):
        if is_folded:
            installation.images.fold(identity)
            assert index_of(client, identity).flags.tolist() == [0], "not decodable, and lossy"
        code = client.get(f"/api/v1/image-sets/{identity}/frames/0").json()["error"]["code"]
        (found,) = asked(client, identity, "0:0:0")
        assert found.error["code"] == code == "unsupported-pixels"


def test_frames_follow_their_slices_and_a_version_that_is_over_is_refused(
    installation: Installation, client: TestClient
) -> None:
    files = {parse(data).sop_uid: data for data in PHANTOM.files}
    lowest = lowest_of(PHANTOM.files)
    late = files.pop(lowest)
    identity = installation.images.land([Upload(data) for data in files.values()], by=OWNER)[0].image_set
    assert identity is not None
    installation.images.complete(identity, by=OWNER)
    installation.images.fold(identity)
    (first,) = asked(client, identity, "0:0:0", params={"v": 1})
    installation.images.land([Upload(late)], by=OWNER)
    installation.images.complete(identity, by=OWNER)
    for path in (f"/stream/v1/{identity}/packs/0?v=1", f"/stream/v1/{identity}/frames?v=1"):
        method = "GET" if "packs" in path else "POST"
        answer = client.request(method, path, content=b"0:0:0", headers=TEXT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert asked(client, identity, "1:0:0", params={"v": 2})[0].data == first.data, "slice 0 is slice 1 now"


def lowest_of(files: tuple[bytes, ...]) -> str:
    """SOP instance UID of the slice that comes first."""
    heights = {found.sop_uid: found.image.position_mm[2] for found in map(parse, files)}  # type: ignore[union-attr, index]
    return min(heights, key=heights.__getitem__)


# What cannot be given


def damage(installation: Installation, identity: str, frame: int, kind: str) -> None:
    """Flip a bit in the middle of one record on the disk."""
    address = installation.images.frames(identity)[frame]
    ref = getattr(address.instance.frames[address.number], kind)
    path: Path = installation.platform.blobs.path(f"image-sets/{identity}/{ref.pack}.pack")  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    data[ref.offset + ref.length // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("is_warm", [False, True])
def test_a_corrupt_frame_is_told_in_its_place_and_the_others_come(
    installation: Installation, client: TestClient, folded: str, is_warm: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if is_warm:
        asked(client, folded, "0:0:0")
    right = [client.get(f"/api/v1/image-sets/{folded}/frames/{index}").content for index in range(4)]
    damage(installation, folded, 1, "full")
    found = asked(client, folded, "0:0:0,1:0:0,1:0:9,2:0:0,p1:0:0")
    assert [each.data for each in (found[0], found[3])] == [right[0], right[2]]
    assert [each.error["code"] for each in found[1:3]] == ["corrupt", "corrupt"], "no byte of it, not even the first"
    assert found[4].data
    assert "Corrupt at radloop/" in caplog.text


def test_a_pack_with_a_corrupt_preview_is_not_to_be_kept(
    installation: Installation, client: TestClient, folded: str
) -> None:
    damage(installation, folded, 2, "preview")
    answer = client.get(f"/stream/v1/{folded}/packs/0?v=1")
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    told = {each.frame: each for each in records(answer.content)}
    assert told.pop(2).error["code"] == "corrupt"
    assert all(each.data[:2] == b"\xff\x4f" for each in told.values())
    for key in list(installation.platform.blobs.keys(f"image-sets/{folded}/")):
        installation.platform.blobs.delete(key)
    answer = client.get(f"/stream/v1/{folded}/packs/0?v=1")
    assert answer.headers["cache-control"] == "no-store"
    assert {each.error["code"] for each in records(answer.content)} == {"not-found"}


def test_an_image_set_whose_bytes_are_gone_gives_errors_and_one_that_is_deleted_nothing(
    installation: Installation, client: TestClient, folded: str
) -> None:
    asked(client, folded, "0:0:0")
    for key in list(installation.platform.blobs.keys(f"image-sets/{folded}/")):
        installation.platform.blobs.delete(key)
    assert [each.error["code"] for each in asked(client, folded, "0:0:0,p0:0:0")] == ["not-found"] * 2
    installation.platform.records.commit(Change(writes=[Delete(IMAGE_SETS, folded)]))
    refused(client, folded, "0:0:0", 404)


def test_a_frame_that_vanishes_while_it_is_read_is_never_another(installation: Installation, folded: str) -> None:
    reading = installation.images.reading(folded)
    gone = reading.addresses[1].instance
    for key in list(installation.platform.blobs.keys(f"image-sets/{folded}/")):
        installation.platform.blobs.delete(key)
    installation.platform.records.commit(Change(writes=[Delete(INSTANCES, gone.id)]))
    assert reading.at_once(1, is_preview=False) is None
    with pytest.raises(NotFound, match="no instance"):
        reading.read(1, is_preview=False)


def test_a_frame_that_is_folded_while_it_is_read_is_found_again(installation: Installation) -> None:
    identity = installation.land()
    reading = installation.images.reading(identity)
    landed = [reading.read(index, is_preview=False) for index in range(4)]
    installation.images.fold(identity)
    assert [reading.read(index, is_preview=False) for index in range(4)] == landed
    assert reading.read(2, is_preview=True) == installation.images.preview(identity, 2)


def test_what_nobody_expected_of_one_frame_is_told_by_a_trace(
    installation: Installation, client: TestClient, folded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> bytes:
        raise ValueError("Doe^Jane")

    asked(client, folded, "0:0:0")
    monkeypatch.setattr("radloop.store.readings.Reading.at_once", broken)
    (found,) = asked(client, folded, "0:0:0")
    assert found.error["code"] == "internal"
    assert "Doe" not in found.error["message"]


def test_frames_that_are_not_there_and_parts_beyond_the_end_are_told(client: TestClient, folded: str) -> None:
    size = int(index_of(client, folded).full[0])
    items = f"4:0:0,p999999999:0:0,0:{size}:0,0:{size - 1}:0"
    missing, far, beyond, last = asked(client, folded, items)
    assert [each.error["code"] for each in (missing, far, beyond)] == ["not-found", "not-found", "invalid-input"]
    assert (far.frame, far.is_preview, len(last.data)) == (999999999, True, 1)


# Limits


@pytest.mark.parametrize(
    "items",
    ["", "\n", "0", "0:0", "0:0:0:0", "-1:0:0", "0:-1:0", "x0:0:0", "pp0:0:0", "0:0:0,,1:0:0", "0:5:5", "0:5:4",
     "0:0:1e3", "\u0660:0:0", "9999999999:0:0", "0;0;0", "p:0:0", "0:0:0 1:0:0", "0x0:0:0", "\x00"],
)  # fmt: skip
def test_a_body_that_is_not_of_its_form_is_refused(client: TestClient, folded: str, items: str) -> None:
    assert items.strip() not in refused(client, folded, items) or not items.strip() or len(items) < 3


def test_too_many_items_and_too_long_a_body_are_refused(client: TestClient, folded: str) -> None:
    assert len(asked(client, folded, ",".join(["p0:0:0"] * 512))) == 512
    assert "512" in refused(client, folded, ",".join(["p0:0:0"] * 513))
    refused(client, folded, "0:0:0," * 12_000, 413)


def test_more_than_eight_mebibytes_are_refused_and_parts_count_as_parts(
    installation: Installation, client: TestClient
) -> None:
    identity = installation.land(phantom_study(3, consolidated=True, slices=1, size=512), folded=True)
    size = int(index_of(client, identity).full[0])
    most = (8 << 20) // size
    assert most < 511
    assert len(asked(client, identity, ",".join(["0:0:0"] * most))) == most
    assert "8388608" in refused(client, identity, ",".join(["0:0:0"] * (most + 1)))
    assert len(asked(client, identity, ",".join(["0:0:1000"] * (most + 1)))) == most + 1


def test_one_item_alone_may_be_longer(client: TestClient, folded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radloop.api.stream.MOST_BYTES", 100)
    assert len(asked(client, folded, "0:0:0")[0].data) > 100
    refused(client, folded, "0:0:0,1:0:1")


def test_another_type_of_body_is_refused(client: TestClient, folded: str) -> None:
    for kind in ({}, {"Content-Type": "application/json"}):
        assert client.post(f"/stream/v1/{folded}/frames", content=b"0:0:0", headers=kind).status_code == 415


items = st.builds(
    Item,
    frame=st.integers(0, 999_999_999),
    is_preview=st.booleans(),
    start=st.integers(0, 1000),
    end=st.just(0) | st.integers(1001, 999_999_999),
)


@given(wanted=st.lists(items, min_size=1, max_size=512), between=st.sampled_from([",", "\n", "\r\n", " , "]))
def test_items_are_read_as_they_were_written(wanted: list[Item], between: str) -> None:
    text = between.join(f"{'p' if each.is_preview else ''}{each.frame}:{each.start}:{each.end}" for each in wanted)
    assert items_of(text) == wanted
    assert items_of(f"{text}\n") == wanted


@given(text=st.text() | st.text("0123456789p:,\n ") | st.lists(st.from_regex(r"p?\d{0,3}:\d*:\d*")).map(",".join))
def test_any_text_is_items_or_is_refused(text: str) -> None:
    with suppress(InvalidInput):
        found = items_of(text)
        assert 1 <= len(found) <= 512
        assert all(each.end == 0 or each.start < each.end for each in found)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=40) | st.text("0123456789p:,\n", max_size=40).map(str.encode))
def test_any_body_is_answered(client: TestClient, body: bytes, lasting: str) -> None:
    answer = client.post(f"/stream/v1/{lasting}/frames", content=body, headers=TEXT)
    assert answer.status_code in {200, 400}
    if answer.status_code == 200:
        assert records(answer.content)


@pytest.fixture
def lasting(installation: Installation) -> str:
    return installation.land(folded=True)


# Packs


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, str]]:
    with open_installation(tmp_path_factory.mktemp("many")) as installation:
        identity = installation.land(MANY, folded=True)
        with installation.client() as client:
            yield client, identity


def test_packs_hold_every_preview_once_the_coarse_ones_first(many: tuple[TestClient, str]) -> None:
    client, identity = many
    index = index_of(client, identity)
    assert index.packs == 2
    found: list[Record] = []
    for number in range(index.packs):
        answer = client.get(f"/stream/v1/{identity}/packs/{number}?v={index.version}")
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        found += records(answer.content)
        if number == 0:
            assert len(found) == 64
        again = {"If-None-Match": answer.headers["etag"]}
        kept = client.get(f"/stream/v1/{identity}/packs/{number}?v=1", headers=again)
        assert (kept.status_code, kept.content) == (304, b"")
    assert [each.frame for each in found][:15] == [0, 16, 32, 48, 64, 8, 24, 40, 56, 4, 12, 20, 28, 36, 44]
    assert [each.frame for each in found] == coarse_first(70)
    assert sorted(each.frame for each in found) == list(range(70))
    for each in found:
        assert each.is_preview
        assert len(each.data) == index.preview[each.frame]
    (one,) = asked(client, identity, "p69:0:0")
    assert one.data == found[-1].data
    assert client.get(f"/stream/v1/{identity}/packs/2?v=1").status_code == 404


def coarse_first(count: int) -> list[int]:
    """By the largest of the strides 16, 8, 4, 2, 1 that a number is a multiple of."""
    stride = {number: next(each for each in (16, 8, 4, 2, 1) if number % each == 0) for number in range(count)}
    return sorted(range(count), key=lambda number: (-stride[number], number))


@given(count=st.integers(0, 3000))
def test_the_order_of_packs_is_by_stride(count: int) -> None:
    assert list(by_stride(count)) == coarse_first(count)


@pytest.mark.parametrize("query", ["", "?v=", "?v=x", "?v=-1", "?v=1.0", "?v=\u0661"])
def test_a_pack_without_a_version_is_refused(many: tuple[TestClient, str], query: str) -> None:
    client, identity = many
    assert client.get(f"/stream/v1/{identity}/packs/0{query}").status_code == 400
    assert client.get(f"/stream/v1/{identity}/packs/0?v=2").status_code == 409


def test_a_pack_of_what_is_not_folded_is_not_to_be_kept(installation: Installation, client: TestClient) -> None:
    identity = installation.land()
    answer = client.get(f"/stream/v1/{identity}/packs/0?v=1", headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert {each.error["code"] for each in records(answer.content)} == {"not-found"}


# How it is sent


@dataclass
class Wire:
    """The application called without a server, so that what it sends can be looked at, and be left."""

    installation: Installation
    leaves_after: int | None = None

    def post(self, identity: str, items: str) -> list[bytes]:
        return asyncio.run(self._post(identity, items.encode()))

    async def _post(self, identity: str, body: bytes) -> list[bytes]:
        app, sent, gone = create_app(self.installation.doors), list[bytes](), asyncio.Event()
        heard = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in heard:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                sent.append(message["body"])
                if self.leaves_after is not None and len(sent) >= self.leaves_after:
                    gone.set()
            await asyncio.sleep(0.001)  # as long as the network takes

        path = f"/stream/v1/{identity}/frames"
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": headers, "scheme": "http", "root_path": "", "server": ("127.0.0.1", 80),
        }  # fmt: skip
        await app(scope, receive, send)
        return sent


def test_an_answer_is_sent_in_pieces_and_ends_when_the_client_goes(installation: Installation) -> None:
    identity = installation.land(phantom_study(3, consolidated=True, slices=1, size=512), folded=True)
    items = ",".join(["0:0:0"] * 25)
    whole = Wire(installation).post(identity, items)
    size = len(whole[0])
    assert len(whole) > 10
    assert max(map(len, whole)) < 256 * 1024 + size
    assert len(records(b"".join(whole))) == 25
    cut = Wire(installation, leaves_after=3).post(identity, items)
    assert len(cut) <= 4, "one more may be on its way"
    assert b"".join(whole).startswith(b"".join(cut))


# Who may


@dataclass(frozen=True)
class Closed:
    """An installation whose doors ask who comes, with two patients."""

    installation: Installation
    client: TestClient
    own: str
    other: str

    def bearer(self, *roles: str, patients: frozenset[str] | None = None) -> tuple[dict[str, str], str]:
        """The header of a new credential, and its id."""
        identities = self.installation.doors.identities
        assert identities is not None
        made = identities.create_credential(roles=roles, patients=patients, by=OWNER)
        return {"Authorization": f"Bearer {made.token}"}, made.credential.id

    def link(self, headers: dict[str, str], identity: str | None = None, seconds: int = 60) -> str:
        path = f"/stream/v1/{identity or self.own}/links"
        answer = self.client.post(path, json={"seconds": seconds}, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["query"])

    def through(
        self, query: str, identity: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and code of every address that takes a link, which must agree."""
        place, told = f"/stream/v1/{identity or self.own}", set()
        for method, path in (("GET", f"index?{query}"), ("POST", f"frames?{query}"), ("GET", f"packs/0?v=1&{query}")):
            answer = self.client.request(
                method, f"{place}/{path}", content=b"0:0:0", headers={**TEXT, **(headers or {})}
            )
            code = "" if answer.status_code == 200 else answer.json()["error"]["code"]
            told.add((answer.status_code, code))
        (one,) = told
        return one


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    with open_installation(tmp_path_factory.mktemp("closed")) as installation:
        guarded = replace(installation, doors=replace(installation.doors, is_open=False))
        own, other = guarded.land(PHANTOM, folded=True), guarded.land(OTHER, folded=True)
        with guarded.client() as client:
            yield Closed(guarded, client, own, other)


REFUSED = [
    ("GET", "index", b""),
    ("POST", "frames", b"0:0:0"),
    ("GET", "packs/0?v=1", b""),
    ("POST", "links", b'{"seconds": 9}'),
]


@pytest.mark.parametrize(("method", "path", "body"), REFUSED)
def test_nobody_and_who_lacks_the_role_are_refused(closed: Closed, method: str, path: str, body: bytes) -> None:
    kind = {"Content-Type": "application/json"} if path == "links" else TEXT
    address = f"/stream/v1/{closed.own}/{path}"
    assert closed.client.request(method, address, content=body, headers=kind).status_code == 401
    headers, _ = closed.bearer("ml")
    assert closed.client.request(method, address, content=body, headers={**kind, **headers}).status_code == 403
    headers, _ = closed.bearer("reader")
    assert closed.client.request(method, address, content=body, headers={**kind, **headers}).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), REFUSED)
def test_a_patient_out_of_scope_is_answered_in_the_words_of_what_is_not_there(
    closed: Closed, method: str, path: str, body: bytes
) -> None:
    headers, _ = closed.bearer("reader", patients=frozenset({PHANTOM.patient_id}))
    headers |= {"Content-Type": "application/json"} if path == "links" else TEXT
    owner, _ = closed.bearer("reader")
    for _ in range(2):  # read lately or not, by others or not
        told = {}
        for identity in (closed.other, "0" * 32):
            answer = closed.client.request(method, f"/stream/v1/{identity}/{path}", content=body, headers=headers)
            told[identity] = answer.status_code, answer.text.replace(identity, "it")
        assert len(set(told.values())) == 1
        assert told[closed.other][0] == 404
        closed.client.get(f"/stream/v1/{closed.other}/index", headers=owner)


def test_a_link_stands_for_its_maker_and_is_audited_as_them(closed: Closed) -> None:
    headers, identity = closed.bearer("reader")
    query = closed.link(headers)
    assert set(parse_qs(query)) == {"expires", "principal", "signature"}
    assert closed.through(query) == (200, "")
    audit = closed.installation.platform.audit
    audit.flush()  # type: ignore[attr-defined]
    mine = audit.entries(where={"principal": identity})
    assert sum(entry.count for entry in mine if (entry.action, entry.subject) == ("read", closed.own)) == 3
    assert [entry.subject for entry in mine if entry.action == "link.create"] == [closed.own]


def test_every_request_is_noted_as_one_reading_the_first_at_once(closed: Closed) -> None:
    headers, identity = closed.bearer("reader")
    audit = closed.installation.platform.audit

    def noted() -> int:
        return sum(entry.count for entry in audit.entries(where={"principal": identity}) if entry.action == "read")

    closed.client.post(f"/stream/v1/{closed.own}/frames", content="0:0:0,1:0:0", headers={**TEXT, **headers})
    assert noted() == 1, "durable before it was answered"
    closed.client.post(f"/stream/v1/{closed.own}/frames", content="0:0:0,1:0:0", headers={**TEXT, **headers})
    audit.flush()  # type: ignore[attr-defined]
    assert noted() == 2


def changed(query: str, **values: str) -> str:
    return urlencode({**{name: each[0] for name, each in parse_qs(query).items()}, **values})


def test_a_link_that_was_tampered_with_is_refused(closed: Closed) -> None:
    headers, identity = closed.bearer("reader")
    _, somebody = closed.bearer("reader")
    query = closed.link(headers)
    told = {name: each[0] for name, each in parse_qs(query).items()}
    assert told["principal"] == identity
    wrong = [
        changed(query, expires=str(int(told["expires"]) + 1)),
        changed(query, expires=f"0{told['expires']}"),
        changed(query, expires="x"),
        changed(query, principal=somebody),
        changed(query, principal=OWNER.id),
        changed(query, principal="\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
        changed(query, signature=told["signature"].upper()),
        changed(query, signature=told["signature"][:-1]),
        changed(query, signature="\u00e9"),
        changed(query, signature=""),
        f"{query}&expires={told['expires']}",
        f"{query}&signature=0",
        f"signature={told['signature']}",
        f"expires={told['expires']}&principal={identity}",
        "principal=",
    ]
    for each in wrong:
        assert closed.through(each) == (401, "invalid-link"), each
    assert closed.through(query, closed.other) == (401, "invalid-link"), "it is for one image set"
    assert closed.through(query) == (200, "")


def test_a_wrong_link_is_not_made_good_by_a_right_token(closed: Closed) -> None:
    headers, _ = closed.bearer("reader")
    query = closed.link(headers)
    assert closed.through(f"{query}0", headers=headers) == (401, "invalid-link")
    assert closed.through(query, headers={"Authorization": "Bearer wrong"}) == (200, "")


def test_a_link_ends_when_it_says(closed: Closed) -> None:
    headers, _ = closed.bearer("reader")
    answer = closed.client.post(f"/stream/v1/{closed.own}/links", json={"seconds": 3600}, headers=headers).json()
    expires = int(parse_qs(answer["query"])["expires"][0])
    assert 0 <= expires - time.time() - 3600 <= 1.1
    doors = closed.installation.doors
    for later, expected in ((3590, (200, "")), (3602, (401, "expired-link"))):
        platform = replace(doors.platform, clock=lambda later=later: now() + timedelta(seconds=later))
        with TestClient(create_app(replace(doors, platform=platform)), base_url=BASE) as client:
            assert replace(closed, client=client).through(answer["query"]) == expected


@pytest.mark.parametrize("seconds", [0, -1, 3601, 1.5, "60", True, None])
def test_a_link_lives_an_hour_at_most(closed: Closed, seconds: object) -> None:
    headers, _ = closed.bearer("reader")
    for body in ({"seconds": seconds}, {"seconds": 60, "x": 1}, {}):
        answer = closed.client.post(f"/stream/v1/{closed.own}/links", json=body, headers=headers)
        assert answer.status_code == 400


def test_a_link_of_another_home_is_refused(closed: Closed) -> None:
    principal = Principal("somebody", frozenset({"reader"}))
    foreign = Links(bytes(32)).make(closed.own, principal, seconds=60, now=now())
    assert closed.through(foreign.query) == (401, "invalid-link")


def test_a_link_opens_nothing_once_its_maker_may_not(closed: Closed) -> None:
    identities = closed.installation.doors.identities
    assert identities is not None
    headers, credential = closed.bearer("reader")
    query = closed.link(headers)
    assert closed.through(query) == (200, "")
    identities.revoke(credential, by=OWNER)
    assert closed.through(query) == (401, "revoked-link")

    user = identities.create_user("lena", PASSWORD, roles=["reader"], patients=None, by=OWNER)
    query = closed.link({"Cookie": cookie_of(closed, "lena")})
    assert closed.through(query) == (200, "")
    identities.change_user(user.id, by=OWNER, roles=["ml"])
    assert closed.through(query) == (403, "denied")
    identities.change_user(user.id, by=OWNER, roles=["verifier"])
    assert closed.through(query) == (200, "")
    identities.change_user(user.id, by=OWNER, is_disabled=True)
    assert closed.through(query) == (401, "revoked-link")


def cookie_of(closed: Closed, name: str) -> str:
    answer = closed.client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
    closed.client.cookies.clear()
    return str(answer.headers["set-cookie"].partition(";")[0])


def test_a_link_opens_no_other_address(closed: Closed) -> None:
    headers, _ = closed.bearer("admin")
    query = closed.link(headers)
    for method, path in (
        ("POST", f"/stream/v1/{closed.own}/links"),
        ("GET", f"/api/v1/image-sets/{closed.own}"),
        ("GET", f"/api/v1/image-sets/{closed.own}/frames/0"),
        ("GET", "/api/v1/worklist"),
        ("GET", "/api/v1/audit"),
    ):
        body = {"seconds": 60} if method == "POST" else None
        assert closed.client.request(method, f"{path}?{query}", json=body).status_code == 401, path


def test_open_doors_take_the_links_that_they_gave_and_no_others(client: TestClient, folded: str) -> None:
    query = client.post(f"/stream/v1/{folded}/links", json={"seconds": 60}).json()["query"]
    assert client.get(f"/stream/v1/{folded}/index?{query}").status_code == 200
    assert client.get(f"/stream/v1/{folded}/index?{query}0").json()["error"]["code"] == "invalid-link"


def test_no_part_of_a_link_is_ever_logged(
    closed: Closed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, _ = closed.bearer("reader")
    query = closed.link(headers)
    signature = parse_qs(query)["signature"][0]

    def broken(*arguments: object, **options: object) -> None:
        raise ValueError(query)

    with caplog.at_level(logging.DEBUG, "radloop"):
        closed.through(query)
        closed.through(f"{query}0")
        monkeypatch.setattr("radloop.api.stream._reading", broken)
        assert closed.through(query)[0] == 500
    assert "trace" in caplog.text
    assert signature not in "".join(record.getMessage() for record in caplog.records if record.name[:7] == "radloop")


# Pages of other origins


def test_pages_of_listed_origins_may_read_streams_and_no_others(installation: Installation, folded: str) -> None:
    home, stranger = "https://viewer.example.org", "https://evil.example"
    platform = replace(installation.platform, settings=replace(installation.platform.settings, cors_origins=(home,)))
    with TestClient(create_app(replace(installation.doors, platform=platform)), base_url=BASE) as client:
        path = f"/stream/v1/{folded}/frames"
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        allowed = client.options(path, headers={"Origin": home, **asks})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, home)
        assert "access-control-allow-origin" not in client.options(path, headers={"Origin": stranger, **asks}).headers
        sent = client.post(path, content="0:0:0", headers={"Origin": home, "Sec-Fetch-Site": "cross-site", **TEXT})
        assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (200, home)
        assert "X-Radloop-Version" in sent.headers["access-control-expose-headers"]
        assert client.post(path, content="0:0:0", headers={"Origin": stranger, **TEXT}).status_code == 403
