"""Static layers: what is written as files is what `/stream/v1` gives, whatever interrupts the writing."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radloop.api.app import create_app
from radloop.api.shapes import for_good
from radloop.core.errors import Conflict, Corrupt, Unavailable
from radloop.core.identity import OWNER
from radloop.core.images import ImageSet
from radloop.core.ports import Blobs, Change, Upload
from radloop.functions.layers import LayDown
from radloop.local.blobs import FileBlobs
from radloop.local.jobs import SqliteJobs
from radloop.security.edge import Edge
from radloop.store import folding
from radloop.store.layers import KIND, LANE, LayersPlace, asked_for, discard
from radloop.store.revisions import Revisions
from radloop.streaming.index import index_of, retold
from radloop.streaming.layers import Layers, Written, of_store
from radloop.streaming.standing import StandingLayers
from tests.api.installation import BASE, PHANTOM, Installation, TestClient, open_installation
from tests.api.test_stream import MANY, TEXT, Index, records

ROOT = "there/"


class Interrupted(Exception):
    """The process ended."""


@dataclass
class Ending:
    """Blobs whose process ends at one of its writes, before or behind it."""

    inner: FileBlobs
    left: int
    is_done: bool
    written: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> None:
        self._step(key, lambda: self.inner.put(key, data))

    @contextmanager
    def writer(self, key: str, *, is_unnamed: bool = False) -> Iterator[Any]:
        if self.left == 1 and not self.is_done:
            raise Interrupted
        with self.inner.writer(key, is_unnamed=is_unnamed) as blob:
            yield blob
        self._step(key, lambda: None)

    def delete(self, key: str) -> None:
        self._step(key, lambda: self.inner.delete(key))

    def _step(self, key: str, do: Any) -> None:
        self.left -= 1
        if self.left == 0 and not self.is_done:
            raise Interrupted
        do()
        self.written.append(key)
        if self.left == 0:
            raise Interrupted

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass(frozen=True)
class Many:
    """An image set of two pieces, and its layers."""

    installation: Installation
    identity: str
    files: dict[str, bytes]

    def written(self) -> Written:
        return written(self.installation, self.identity)

    def client(self, **more: Any) -> TestClient:
        return TestClient(create_app(replace(self.installation.doors, **more)), base_url=BASE)


def written(installation: Installation, identity: str) -> Written:
    reading = installation.images.reading(identity)
    told = for_good(reading.image_set, len(reading.addresses), installation.platform.records)
    return of_store(reading, told)


def files_of(blobs: Blobs, prefix: str = "") -> dict[str, bytes]:
    return {key: blobs.get(key) for key in blobs.keys(prefix)}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    folder = tmp_path_factory.mktemp("many")
    with open_installation(folder) as installation:
        identity = installation.land(MANY, folded=True)
        blobs = FileBlobs(folder / "layers")
        told: list[int] = []
        Layers(blobs, ROOT).write(written(installation, identity), told.append)
        assert told == [64, 6]
        yield Many(installation, identity, files_of(blobs))


def test_files_lie_where_a_viewer_looks_for_them_and_nothing_besides(many: Many) -> None:
    folder = f"{ROOT}packs/{many.identity}/1/"
    names = {"index", "previews/0", "previews/1", "frames/0", "frames/1"}
    assert many.files.keys() == {folder + name for name in names}
    place = LayersPlace(many.identity, 1, ROOT)
    assert {place.index, place.previews(1), place.frames(0)} < many.files.keys()


def test_packs_of_frames_hold_every_frame_where_the_index_says(many: Many) -> None:
    with many.client() as client:
        index = Index.read(gzip.decompress(many.files[f"{ROOT}packs/{many.identity}/1/index"]))
        whole = Index.read(client.get(f"/stream/v1/{many.identity}/index").content)
        assert (index.full == whole.full).all()
        for pack in (0, 1):
            data = many.files[f"{ROOT}packs/{many.identity}/1/frames/{pack}"]
            lengths = [int(each) for each in index.full[64 * pack : 64 * (pack + 1)]]
            assert sum(lengths) == len(data)
            for place, end in enumerate(accumulate(lengths)):
                frame = 64 * pack + place
                wanted = client.get(f"/api/v1/image-sets/{many.identity}/frames/{frame}").content
                assert data[end - lengths[place] : end] == wanted, frame


def test_packs_of_previews_are_those_of_the_api_byte_for_byte(many: Many) -> None:
    with many.client() as client:
        for pack in (0, 1):
            answer = client.get(f"/stream/v1/{many.identity}/packs/{pack}?v=1")
            assert many.files[f"{ROOT}packs/{many.identity}/1/previews/{pack}"] == answer.content
            sizes = Index.read(client.get(f"/stream/v1/{many.identity}/index").content).preview
            assert all(len(each.data) == sizes[each.frame] for each in records(answer.content))


def test_the_index_is_that_of_the_api_and_tells_of_static_packs_besides(many: Many) -> None:
    index = gzip.decompress(many.files[f"{ROOT}packs/{many.identity}/1/index"])
    with many.client() as client:
        plain = client.get(f"/stream/v1/{many.identity}/index").content
    told, wanted = Index.read(index), Index.read(plain)
    static = told.told.pop("static")
    assert static == {"frames": 64, "hole": 12 + len(b'{"code":"not-found","message":"the frame has no preview"}')}
    assert told.told == wanted.told
    for name in ("full", "preview", "ends", "kind", "flags"):
        assert (getattr(told, name) == getattr(wanted, name)).all(), name
    assert np.array_equal(told.places, wanted.places)
    assert retold(index, wanted.told["set"], is_static=False) == plain


def test_an_index_that_is_cut_or_of_another_form_is_none(many: Many) -> None:
    index = gzip.decompress(many.files[f"{ROOT}packs/{many.identity}/1/index"])
    for damaged in (b"", index[:-1], index + b"\0", b"XXXX" + index[4:], index[:4] + b"\2" + index[5:]):
        with pytest.raises(Corrupt):
            retold(damaged, {}, is_static=True)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "behind"])
def test_writing_that_ends_anywhere_shows_no_half_and_goes_on_to_the_same_bytes(
    many: Many, tmp_path: Path, is_done: bool
) -> None:
    index = f"{ROOT}packs/{many.identity}/1/index"
    for step in range(1, 100):
        blobs = Ending(FileBlobs(tmp_path / f"{step}"), step, is_done)
        try:
            Layers(blobs, ROOT).write(many.written())
        except Interrupted:
            found = files_of(blobs.inner, f"{ROOT}packs/")
            assert index not in found or found == many.files, step
            Layers(blobs.inner, ROOT).write(many.written())
            assert files_of(blobs.inner) == many.files, step
        else:
            break
    assert step > 9, "two packs of frames with their drafts, two of previews, the index, two drafts that go"
    assert blobs.written.index(index) > max(blobs.written.index(key) for key in many.files if key != index)


def test_pieces_may_be_written_in_any_order_and_twice(many: Many, tmp_path: Path) -> None:
    layers, job = Layers(FileBlobs(tmp_path), ROOT), many.written()
    for piece in (1, 0, 1):
        assert not layers.is_ready(job)
        layers.piece(job, piece)
        if piece == 0:
            break
    layers.piece(job, 1)
    assert layers.is_ready(job)
    layers.finish(job)
    layers.finish(job)
    layers.piece(job, 0)  # a message that came again
    assert files_of(FileBlobs(tmp_path)) == many.files


def test_a_frame_that_cannot_be_given_stands_empty_and_the_others_where_they_would(many: Many, tmp_path: Path) -> None:
    job = many.written()

    def frames(numbers: Any) -> Iterator[Any]:
        for number, found in zip(numbers, job.frames(numbers), strict=True):
            yield None if number == 3 else replace(found, preview=None) if number == 5 else found

    Layers(FileBlobs(tmp_path), ROOT).write(replace(job, frames=frames))
    found, place = files_of(FileBlobs(tmp_path)), LayersPlace(many.identity, 1, ROOT)
    index = Index.read(gzip.decompress(found[place.index]))
    whole = Index.read(gzip.decompress(many.files[place.index]))
    assert (index.full[3], index.preview[3], index.preview[5], index.flags[3]) == (0, 0, 0, 1 | 8)
    start, end = (int(whole.full[:number].sum()) for number in (3, 4))
    assert found[place.frames(0)] == many.files[place.frames(0)][:start] + many.files[place.frames(0)][end:]
    told = {each.frame: each for pack in (0, 1) for each in records(found[place.previews(pack)])}
    assert len(told) == 70
    for frame in (3, 5):
        assert told[frame].error == {"code": "not-found", "message": "the frame has no preview"}
        assert 12 + len(told[frame].data) == index.told["static"]["hole"]
    assert told[4].data == next(
        each.data for each in records(many.files[place.previews(0)] + many.files[place.previews(1)]) if each.frame == 4
    )


def test_frames_without_previews_have_no_packs_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        folding, "framed", lambda pixels, full, photometric: folding.FoldedFrame(full, None, (len(full),))
    )
    with open_installation(tmp_path / "home") as installation:
        identity = installation.land(folded=True)
        Layers(FileBlobs(tmp_path / "out"), ROOT).write(written(installation, identity))
    found = files_of(FileBlobs(tmp_path / "out"))
    assert [key.rpartition("/1/")[2] for key in found] == ["frames/0", "index"]
    assert Index.read(gzip.decompress(found[f"{ROOT}packs/{identity}/1/index"])).packs == 0


def test_what_is_arriving_or_not_folded_is_not_written(tmp_path: Path) -> None:
    with open_installation(tmp_path) as installation:
        identity = installation.land(closed=False)
        with pytest.raises(Conflict):
            written(installation, identity)
        installation.images.complete(identity, by=OWNER)
        with pytest.raises(Conflict):
            written(installation, identity)
        installation.images.fold(identity)
        assert written(installation, identity).pieces == 1


# Jobs


@dataclass
class Lane:
    """The lane of these jobs on an embedded home, where a worker is what Lambda is on AWS."""

    installation: Installation
    work: LayDown
    done: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, identity: str) -> None:
        jobs = [asked_for(self.installation.images.get(identity))]
        self.installation.platform.records.commit(Change(jobs=jobs))

    def run(self, most: int = 100) -> int:
        jobs, count = self.installation.platform.jobs, 0
        while count < most and (claim := jobs.claim(LANE)) is not None:
            assert claim.job.kind == KIND
            self.work.run(claim.job.payload)
            jobs.done(claim)
            self.done.append(dict(claim.job.payload))
            count += 1
        return count


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    with open_installation(tmp_path) as installation:
        assert isinstance(installation.platform.jobs, SqliteJobs)

        def opened(image_set: ImageSet) -> Written:
            return written(installation, image_set.id)

        yield Lane(installation, LayDown(installation.platform.blobs, installation.platform.records, opened))


def test_jobs_write_piece_by_piece_and_the_last_one_ends_it(lane: Lane, many: Many) -> None:
    identity = lane.installation.land(MANY, folded=True)
    lane.ask(identity)
    lane.ask(identity)
    assert lane.run() == 4
    assert [each.get("piece") for each in lane.done] == [None, "0", "1", "end"]
    found = files_of(lane.installation.platform.blobs, "stream/")
    assert {key.rpartition("/1/")[2] for key in found} == {key.rpartition("/1/")[2] for key in many.files}
    for payload in lane.done:  # SQS may deliver any of them again
        lane.work.run(payload)
    assert lane.run() == 0
    assert files_of(lane.installation.platform.blobs, "stream/") == found


def test_a_late_slice_makes_a_version_of_its_own_and_the_older_goes_when_it_stands(lane: Lane) -> None:
    store = lane.installation.images
    blobs = lane.installation.platform.blobs
    landed = store.land([Upload(data) for data in PHANTOM.files[1:]], by=OWNER)
    identity = landed[0].image_set
    assert identity is not None
    store.complete(identity, by=OWNER)
    store.fold(identity)
    lane.ask(identity)
    assert lane.run() == 1
    first = LayersPlace(identity, 1)
    assert set(files_of(blobs, "stream/")) == {first.index, first.previews(0), first.frames(0)}
    store.land([Upload(PHANTOM.files[0])], by=OWNER)
    store.complete(identity, by=OWNER)
    store.fold(identity)
    lane.work.run({"image_set": identity, "version": 1})  # again, and too late
    assert set(files_of(blobs, "stream/")) == {first.index, first.previews(0), first.frames(0)}
    lane.ask(identity)
    assert lane.run() == 1
    second = LayersPlace(identity, 2)
    assert set(files_of(blobs, "stream/")) == {second.index, second.previews(0), second.frames(0)}
    assert Index.read(gzip.decompress(blobs.get(second.index))).full.shape == (4,)
    lane.work.run({"image_set": identity, "version": 1})
    assert set(files_of(blobs, "stream/")) == {second.index, second.previews(0), second.frames(0)}


def test_a_version_that_passes_while_its_pieces_are_written_never_gets_an_index(lane: Lane) -> None:
    blobs = lane.installation.platform.blobs
    identity = lane.installation.land(replace(MANY, files=MANY.files[1:]), folded=True)
    lane.ask(identity)
    assert lane.run(most=2) == 2
    lane.installation.images.land([Upload(MANY.files[0])], by=OWNER)
    lane.installation.images.complete(identity, by=OWNER)
    lane.installation.images.fold(identity)
    lane.run()
    assert LayersPlace(identity, 1).index not in files_of(blobs, "stream/")
    lane.ask(identity)
    lane.run()
    version = lane.installation.images.get(identity).version
    assert version > 1
    assert {key.split("/")[3] for key in blobs.keys("stream/")} == {str(version)}, "drafts of the other are gone too"


def test_an_image_set_that_is_deleted_takes_its_layers_with_it(lane: Lane) -> None:
    platform = lane.installation.platform
    identity, other = lane.installation.land(folded=True), lane.installation.land(MANY, folded=True)
    for each in (identity, other):
        lane.ask(each)
    lane.run()
    revisions = Revisions(platform.blobs, platform.records, platform.clock, lane.installation.images)
    revisions.delete(identity, by=OWNER)
    assert {key.split("/")[2] for key in platform.blobs.keys("stream/")} == {other}
    platform.blobs.put(f"stream/drafts/{identity}/1/0", b"a piece that was on its way")
    lane.work.run({"image_set": identity, "version": 1, "piece": "0"})
    assert {key.split("/")[2] for key in platform.blobs.keys("stream/")} == {other}


def test_discarding_spares_what_is_as_new_or_newer(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    for version in (1, 2, 9, 10, 11):
        blobs.put(LayersPlace("a", version).index, b"x")
        blobs.put(LayersPlace("a", version).draft(0), b"x")
    blobs.put(LayersPlace("ab", 1).index, b"x")
    assert discard(blobs, "a", before=10) == 6
    assert {key.split("/")[3] for key in blobs.keys("stream/packs/a/")} == {"10", "11"}
    assert discard(blobs, "a") == 4
    assert list(blobs.keys()) == [LayersPlace("ab", 1).index]


# What the doors make of them


def test_without_layers_the_doors_answer_as_they_do_today_and_ask_for_them_once(lane: Lane) -> None:
    identity = lane.installation.land(folded=True)
    asked: list[str] = []
    standing = StandingLayers(lane.installation.platform.blobs, ask=lambda image_set: asked.append(image_set.id))
    with TestClient(create_app(replace(lane.installation.doors, layers=standing)), base_url=BASE) as client:
        told = [client.get(f"/stream/v1/{identity}/index") for _ in range(2)]
        pack = client.get(f"/stream/v1/{identity}/packs/0?v=1")
        assert client.get(f"/stream/v1/{identity}/packs/9?v=1").status_code == 404
    with lane.installation.client() as client:
        assert told[0].content == told[1].content == client.get(f"/stream/v1/{identity}/index").content
        assert pack.content == client.get(f"/stream/v1/{identity}/packs/0?v=1").content
    assert "x-radloop-packs" not in told[0].headers
    assert asked == [identity]


def test_layers_that_stand_are_read_instead_of_the_frames(lane: Lane, signer: Edge) -> None:
    identity = lane.installation.land(MANY, folded=True)
    lane.ask(identity)
    lane.run()
    standing = StandingLayers(lane.installation.platform.blobs, signer)
    with TestClient(create_app(replace(lane.installation.doors, layers=standing)), base_url=BASE) as client:
        answer = client.get(f"/stream/v1/{identity}/index")
        index = Index.read(answer.content)
        with lane.installation.client() as plainly:
            wanted = Index.read(plainly.get(f"/stream/v1/{identity}/index").content)
            packs = [plainly.get(f"/stream/v1/{identity}/packs/{pack}?v=1") for pack in (0, 1)]
        assert index.told.pop("static")["frames"] == 64
        assert index.told == wanted.told
        assert (index.full == wanted.full).all()
        assert answer.headers["x-radloop-packs"].startswith(f"https://edge.example/packs/{identity}/1/?for=")
        assert answer.headers["x-radloop-version"] == "1"
        again = client.get(f"/stream/v1/{identity}/index", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert again.headers["x-radloop-packs"].startswith("https://edge.example/packs/"), "a query that was over"
        for pack, plain in enumerate(packs):
            found = client.get(f"/stream/v1/{identity}/packs/{pack}?v=1")
            assert found.content == plain.content
            assert "immutable" in found.headers["cache-control"]
        assert client.get(f"/stream/v1/{identity}/packs/0?v=2").status_code == 409
        assert client.get(f"/stream/v1/{identity}/packs/0").status_code == 400
        frame = client.post(f"/stream/v1/{identity}/frames", content="0:0:0", headers=TEXT)
        assert records(frame.content)[0].data
    audit = lane.installation.platform.audit.entries(where={"action": "link.create", "subject": identity})
    assert [entry.principal for entry in audit] == ["owner", "owner"]


def test_without_a_signature_the_index_tells_of_no_static_packs(lane: Lane) -> None:
    identity = lane.installation.land(folded=True)
    lane.ask(identity)
    lane.run()

    def broken() -> bytes:
        raise Unavailable("nobody is there")

    for edge in (None, Edge("https://edge.example/packs", "K1", broken), Edge("/packs", "K1", lambda: b"no key")):
        standing = StandingLayers(lane.installation.platform.blobs, edge)
        with TestClient(create_app(replace(lane.installation.doors, layers=standing)), base_url=BASE) as client:
            answer = client.get(f"/stream/v1/{identity}/index")
        assert "x-radloop-packs" not in answer.headers
        assert "static" not in Index.read(answer.content).told


def test_a_link_makes_no_links(lane: Lane, signer: Edge) -> None:
    identity = lane.installation.land(folded=True)
    lane.ask(identity)
    lane.run()
    standing = StandingLayers(lane.installation.platform.blobs, signer)
    with TestClient(create_app(replace(lane.installation.doors, layers=standing)), base_url=BASE) as client:
        query = client.post(f"/stream/v1/{identity}/links", json={"seconds": 60}).json()["query"]
        answer = client.get(f"/stream/v1/{identity}/index?{query}")
        assert answer.status_code == 200
        assert "x-radloop-packs" not in answer.headers


def test_layers_that_are_damaged_are_as_if_they_were_not(
    lane: Lane, signer: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    identity = lane.installation.land(folded=True)
    blobs = lane.installation.platform.blobs
    for data in (b"no gzip", gzip.compress(b"no index")):
        blobs.put(LayersPlace(identity, 1).index, data)
        standing = StandingLayers(blobs, signer)
        with TestClient(create_app(replace(lane.installation.doors, layers=standing)), base_url=BASE) as client:
            answer = client.get(f"/stream/v1/{identity}/index")
            assert answer.status_code == 200
            assert "x-radloop-packs" not in answer.headers
            assert Index.read(answer.content).full.all()
        assert "Corrupt at radloop/" in caplog.text


def test_the_index_tells_of_the_image_set_as_it_is_now(lane: Lane, signer: Edge) -> None:
    identity = lane.installation.land(folded=True)
    lane.ask(identity)
    lane.run()
    standing = StandingLayers(lane.installation.platform.blobs, signer)
    with TestClient(create_app(replace(lane.installation.doors, layers=standing)), base_url=BASE) as client:
        before = Index.read(client.get(f"/stream/v1/{identity}/index").content).told["set"]
        body = {"version": 1, "finding": "absent", "site": None, "confidence": "high", "note": ""}
        seen = {"frame": 0, "quality": "lossless"}
        client.get(f"/api/v1/image-sets/{identity}/frames/0")
        told = client.post(f"/api/v1/image-sets/{identity}/verification", json={**body, "seen": seen})
        assert told.status_code == 200, told.text
        after = Index.read(client.get(f"/stream/v1/{identity}/index").content).told["set"]
    assert (before["state"], after["state"]) == ("INGESTED", "VERIFIED")
    assert after["finding"]["present"] is False
    stored = json.loads(
        gzip.decompress(lane.installation.platform.blobs.get(LayersPlace(identity, 1).index))[32:].split(b',"kinds"')[0]
        + b"}"
    )
    assert stored["set"]["finding"] is None


@pytest.fixture(scope="module")
def signer() -> Edge:
    from tests.security.test_edge import pem_of, rsa_key

    return Edge("https://edge.example/packs", "K1", lambda: pem_of(rsa_key()))


def test_an_index_without_frames_is_told_anew() -> None:
    index = index_of({"id": "a"}, 3, [])
    told = Index.read(retold(index, {"id": "b"}, is_static=False))
    assert (told.version, told.told["set"], told.full.size) == (3, {"id": "b"}, 0)
