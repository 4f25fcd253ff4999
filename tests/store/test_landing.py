"""Files become durable instances, known duplicates, or quarantined."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from radloop.core.identity import OWNER
from radloop.core.images import Storage
from radloop.core.ports import Landing
from radloop.core.tables import IMAGE_SETS, INSTANCES, PACKS, QUARANTINE, SERIES
from tests.store.house import House, phantom

BAD = {
    "not-dicom": [b"", b"just a letter\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(100)],
    "truncated-file": [phantom()[0][:-1000], phantom()[0][:200]],
}


def test_files_of_one_series_become_one_image_set(house: House) -> None:
    name = house.land_one_set(*phantom())
    image_set = house.images.get(name)
    assert (image_set.instances, image_set.frames, image_set.version) == (4, 4, 1)
    assert image_set.storage is Storage.LANDED
    assert len(name) == 32


def test_the_same_upload_twice_is_one_image_set(house: House) -> None:
    name = house.land_one_set(*phantom())
    again = house.land(*phantom(), phantom()[0])
    assert {(landing.outcome, landing.image_set) for landing in again} == {("duplicate", name)}
    assert house.images.get(name).instances == 4
    assert house.records.count(INSTANCES) == 4


def test_a_file_twice_in_one_batch_is_one_instance(house: House) -> None:
    assert [landing.outcome for landing in house.land(phantom()[0], phantom()[0])] == ["ingested", "duplicate"]


def test_one_bad_file_never_blocks_the_others(house: House) -> None:
    good = phantom()
    landings = house.land(good[0], b"letter", good[1], good[2][:300], good[3])
    assert [landing.outcome for landing in landings] == [
        "ingested",
        "quarantined",
        "ingested",
        "quarantined",
        "ingested",
    ]
    assert [landing.reason for landing in landings][1::2] == ["not-dicom", "truncated-file"]


@pytest.mark.parametrize(("code", "data"), [(code, data) for code, files in BAD.items() for data in files])
def test_a_bad_file_is_kept_sealed_with_its_reason_beside_it(house: House, code: str, data: bytes) -> None:
    (landing,) = house.land(data)
    assert (landing.outcome, landing.reason) == ("quarantined", code)
    folder = f"training-data/quarantine/{landing.quarantine_id}"
    assert list(house.blobs.keys(folder)) == [f"{folder}/file.sealed", f"{folder}/reason.json"]
    reason = orjson.loads(house.blobs.get(f"{folder}/reason.json"))
    assert (reason["code"], reason["size_bytes"]) == (code, len(data))
    if data:
        assert data[:64] not in house.blobs.get(f"{folder}/file.sealed")
    assert house.told() == ["ImageQuarantined"]


def test_the_same_bad_file_at_once_from_several_is_one_entry_that_opens(house: House) -> None:
    letter = b"letter" * 50_000
    with ThreadPoolExecutor(6) as pool:
        landed = [landings[0] for landings in pool.map(lambda _: house.land(letter), range(12))]
    (identity,) = {landing.quarantine_id for landing in landed}
    assert identity is not None
    row = house.records.get(QUARANTINE, identity)
    assert row is not None
    assert row.revision == 1
    sealed = house.blobs.get(f"training-data/quarantine/{identity}/file.sealed")
    wrapped = bytes.fromhex(row.document["wrapped_key"])
    assert house.keys.cipher(wrapped).open(sealed, identity.encode()) == letter


def test_the_same_bad_file_twice_is_quarantined_once(house: House) -> None:
    first, again = house.land(b"letter")[0], house.land(b"letter")[0]
    assert first == again
    assert house.records.count(QUARANTINE) == 1
    assert house.told() == ["ImageQuarantined"]


def test_a_file_whose_dimensions_lie_is_quarantined(house: House) -> None:
    data = bytearray(phantom()[0])
    place = data.index(b"\x28\x00\x10\x00US\x02\x00") + 8  # Rows
    data[place : place + 2] = (63).to_bytes(2, "little")
    (landing,) = house.land(bytes(data))
    assert landing.reason == "pixel-data-mismatch"


def test_landed_frames_are_served_and_exported_at_once(house: House) -> None:
    files = phantom()
    name = house.land_one_set(*files)
    assert house.images.pixels(name, 0).shape == (64, 64)
    codestream, quality = house.images.frame(name, 0)
    assert quality == "lossless"
    assert codestream.startswith(b"\xff\x4f")
    assert sorted(house.images.export(instance) for instance in house.images.instances(name)) == sorted(files)


def test_the_same_series_uid_under_another_patient_is_another_image_set(house: House) -> None:
    first = house.land_one_set(phantom()[0])
    stranger = phantom()[1].replace(b"PHANTOM-00001", b"PHANTOM-99999")
    assert stranger != phantom()[1]
    assert house.land_one_set(stranger) != first


def test_another_object_under_the_same_uid_is_kept_beside_the_first_and_flagged(house: House) -> None:
    files = list(phantom())
    name = house.land_one_set(*files)
    house.images.complete(name, by=OWNER)
    changed = bytearray(files[0])
    changed[-1] ^= 1  # one pixel
    assert house.land(bytes(changed))[0].outcome == "ingested"
    image_set = house.images.complete(name, by=OWNER)
    assert (image_set.version, image_set.instances, image_set.frames) == (2, 4, 4)
    assert "sop-uid-reused" in {notice.code for notice in image_set.notices}
    current = {house.images.export(instance) for instance in house.images.instances(name)}
    assert bytes(changed) in current
    assert house.records.count(INSTANCES, {"image_set": name}) == 5  # nothing was overwritten


def test_late_instances_open_the_next_version(house: House) -> None:
    files = phantom()
    name = house.land_one_set(*files[:2])
    assert house.images.complete(name, by=OWNER).version == 1
    house.land(*files[2:])
    assert not house.images.get(name).is_closed
    assert house.images.complete(name, by=OWNER).version == 2
    assert house.told() == ["ImageIngested", "ImageIngested"]


def test_many_threads_landing_into_one_series_lose_nothing(house: House) -> None:
    files = phantom(3, slices=16)
    threads = [threading.Thread(target=house.land, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (row,) = house.records.find(IMAGE_SETS)
    assert row.document["instances"] == 16
    assert 1 <= house.records.count(PACKS) <= 16, "those that waited for each other are landed together"
    assert sorted(house.images.export(i) for i in house.images.instances(row.key)) == sorted(files)


def test_callers_that_wait_for_the_same_series_are_landed_together(house: House) -> None:
    first, *rest = phantom(4, slices=6)
    name = house.land_one_set(first)
    landings = house.images._landings
    (row,) = house.records.find(SERIES, {"image_set": name}, limit=1)
    threads = [threading.Thread(target=house.land, args=(file,)) for file in (*rest, rest[0])]
    with landings._stripes[hash(row.key) % len(landings._stripes)]:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while sum(map(len, landings._waiting.values())) < len(threads):
            assert time.monotonic() < deadline, "somebody never came to wait"
            time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert house.images.get(name).instances == 6
    assert house.records.get(IMAGE_SETS, name).revision == 2  # the first file, and all the others at once
    assert landings._waiting == {}


def test_one_that_fails_in_company_harms_only_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = phantom(5, slices=4)
    name = house.land_one_set(first)
    landings = house.images._landings
    retried = landings._retried

    def failing(key: str, arrivals: list[Any], *args: Any, **options: Any) -> dict[int, Landing]:
        if any(arrival.data == rest[0] for arrival in arrivals):
            raise ZeroDivisionError
        return retried(key, arrivals, *args, **options)

    monkeypatch.setattr(landings, "_retried", failing)
    (row,) = house.records.find(SERIES, {"image_set": name}, limit=1)
    with ThreadPoolExecutor(len(rest)) as pool:
        with landings._stripes[hash(row.key) % len(landings._stripes)]:
            told = [pool.submit(house.land, file) for file in rest]
            deadline = time.monotonic() + 20
            while sum(map(len, landings._waiting.values())) < len(rest):
                assert time.monotonic() < deadline, "somebody never came to wait"
                time.sleep(0.01)
        with pytest.raises(ZeroDivisionError):
            told[0].result()
        assert [each.result()[0].outcome for each in told[1:]] == ["ingested", "ingested"]


def test_nothing_of_a_patient_lies_readable_in_the_home(house: House) -> None:
    house.land(*phantom(), b"PHANTOM-00001 and a letter")
    for path in house.files():
        assert b"PHANTOM" not in path.read_bytes()
        assert "PHANTOM" not in str(path.relative_to(house.root))


def test_packs_that_no_record_names_are_swept(house: House) -> None:
    name = house.land_one_set(*phantom())
    house.blobs.put(f"image-sets/{name}/{'x' * 32}.pack", b"left by a crash")
    house.blobs.put(f"image-sets/{'y' * 32}/{'x' * 32}.pack", b"left by a crash")
    assert (house.images.sweep(), house.images.sweep()) == (2, 0)
    assert house.images.pixels(name, 0).shape == (64, 64)
