"""A byte changed anywhere is found, told with its place, and never served."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radloop.core.errors import Corrupt
from radloop.core.identity import OWNER
from radloop.core.ports import Change, Delete, Job, Put
from radloop.core.tables import IMAGE_SETS, INSTANCES, STUDIES, VERSIONS, image_set_of, put_image_set
from radloop.store.fsck import ADVICE, Fault, Inspection, Report
from radloop.store.instances import instance_of, put_instance
from radloop.store.packs import pack_key
from tests.dicom.files import ct, written
from tests.store.house import House, open_house, phantom
from tests.store.test_inputs import CASES


def inspected(house: House, *, deep: bool = False) -> Report:
    return Inspection(house.blobs, house.records, house.keys, deep=deep).run(house.jobs.unfinished)


def codes(report: Report) -> set[str]:
    assert report.plain()["advice"].keys() == {fault.code for fault in report.faults}
    return {fault.code for fault in report.faults}


def folded(house: House, *files: bytes) -> str:
    name = house.land_one_set(*files)
    house.images.complete(name, by=OWNER)
    house.images.fold(name)
    return name


def packs(house: House) -> list[Path]:
    return sorted((house.root / "objects" / "image-sets").rglob("*.pack"))


def change(path: Path, place: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= mask
    path.write_bytes(data)


@pytest.fixture(autouse=True)
def _damaged(request: pytest.FixtureRequest) -> None:
    """What is done to a store here is told by the tests themselves."""
    if "house" in request.fixturenames:
        request.getfixturevalue("house").is_damaged = True


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterable[House]:
    """Folded, kept, landed, compressed and without pixels, all in one store."""
    with open_house(tmp_path_factory.mktemp("mixed")) as house:
        folded(house, *phantom())
        names = ("jpeg 2000 multi-frame", "a report", "32 bits", "1 bit", "enhanced")
        for place, case in enumerate(names):
            folded(house, CASES[case].file.replace(b"1.2.3.1\0", b"1.2.3.%d\0" % (place + 2)))
        house.land(written(ct(np.zeros((9, 9), np.uint16), PatientID="LANDED")))
        house.land(b"junk that ends in quarantine")
        yield house


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_whole_is_clean(mixed: House, deep: bool) -> None:
    report = inspected(mixed, deep=deep)
    assert (report.faults, report.leftovers, report.is_clean) == ((), (), True)
    assert report.instances == mixed.records.count(INSTANCES) == 10
    assert report.bytes == sum(int(row.document["stored_bytes"]) for row in mixed.records.find(IMAGE_SETS))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), which=st.integers(0, 1000), mask=st.integers(1, 255))
def test_a_byte_changed_anywhere_in_any_pack_is_found_and_never_served(
    mixed: House, where: float, which: int, mask: int
) -> None:
    paths = packs(mixed)
    path = paths[which % len(paths)]
    place = int(where * path.stat().st_size)
    change(path, place, mask)
    try:
        report = inspected(mixed)
        assert {fault.image_set for fault in report.faults} == {path.parent.name}
        assert codes(report) <= {"record-damaged", "pack-damaged"}
        nothing_wrong_is_served(mixed, path.parent.name)
    finally:
        change(path, place, mask)
    assert inspected(mixed).is_clean


def nothing_wrong_is_served(house: House, name: str) -> None:
    """Every frame and file is right or refused as corrupt; at most one record is."""
    refused = set()
    for instance in house.images.instances(name):
        try:
            house.images.export(instance)
        except Corrupt:
            refused.add(instance.id)
    frames = house.images.frames(name)
    dark = 0
    for index in range(len(frames)):
        try:
            house.images.pixels(name, index)
        except Corrupt:
            dark += 1
            assert frames[index].instance.id in refused or frames[index].instance.frames
    assert len(refused) <= 1
    assert dark <= max((one.frame_count for one in house.images.instances(name)), default=0)


def test_one_damaged_frame_leaves_the_others(house: House) -> None:
    name = folded(house, *phantom())
    victim = house.images.frames(name)[1].instance
    change(packs(house)[0], victim.frames[0].full.offset + 40)
    (fault,) = inspected(house).faults
    assert fault == Fault("record-damaged", name, victim.id, f"frame 1 of pack {victim.frames[0].full.pack}")
    with pytest.raises(Corrupt):
        house.images.frame(name, 1)
    for index in (0, 2, 3):
        assert house.images.frame(name, index)[1] == "lossless"


def test_a_pack_that_is_gone_or_cut_is_told(house: House) -> None:
    name = folded(house, *phantom())
    (path,) = packs(house)
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    assert codes(inspected(house)) == {"record-damaged"}
    path.unlink()
    report = inspected(house)
    assert codes(report) == {"pack-missing", "record-damaged"}
    assert Fault("pack-missing", name, path.stem) in report.faults


def test_a_pack_that_nobody_names_is_a_leftover_and_no_damage(house: House) -> None:
    name = folded(house, *phantom())
    house.blobs.put(pack_key(name, "left"), b"RLPACK1\n...")
    report = inspected(house)
    assert (report.is_clean, report.leftovers) == (True, (pack_key(name, "left"),))
    house.images.sweep()
    assert inspected(house).leftovers == ()


def test_a_quarantined_file_that_is_damaged_is_told(house: House) -> None:
    house.land(b"junk")
    assert inspected(house).is_clean
    (path,) = (house.root / "objects" / "training-data" / "quarantine").rglob("file.sealed")
    change(path, 20)
    assert codes(inspected(house)) == {"quarantine-damaged"}


def rewritten(house: House, name: str, **changes: object) -> None:
    row = house.records.get(IMAGE_SETS, name)
    assert row is not None
    house.records.commit(Change([put_image_set(replace(image_set_of(row), **changes), expected=None)]))


def instance_changed(house: House, name: str, **changes: object) -> None:
    row = house.records.find(INSTANCES, {"image_set": name})[0]
    house.records.commit(Change([put_instance(replace(instance_of(row), **changes), expected=None)]))


DAMAGE: dict[str, tuple[Callable[[House, str], object], set[str]]] = {
    "a count": (lambda house, name: rewritten(house, name, instances=9), {"count-differs", "study-differs"}),
    "bytes": (lambda house, name: rewritten(house, name, stored_bytes=9), {"count-differs"}),
    "the key": (lambda house, name: rewritten(house, name, wrapped_key=bytes(40)), {"key-damaged"}),
    "a digest": (lambda house, name: instance_changed(house, name, digest="0" * 64), {"file-differs"}),
    "an instance": (
        lambda house, name: house.records.commit(
            Change([Delete(INSTANCES, house.records.find(INSTANCES, {"image_set": name})[0].key)])
        ),
        {"count-differs", "version-damaged"},
    ),
    "the version": (
        lambda house, name: house.records.commit(Change([Delete(VERSIONS, f"{name}/00000001")])),
        {"version-damaged"},
    ),
    "the order of a version": (
        lambda house, name: house.records.commit(
            Change(
                [
                    Put(
                        VERSIONS,
                        f"{name}/00000001",
                        {**house.records.find(VERSIONS)[0].document, "frames": [[99, 0]]},
                        {"image_set": name},
                    )
                ]
            )
        ),
        {"version-damaged"},
    ),
    "the image set": (
        lambda house, name: house.records.commit(Change([Delete(IMAGE_SETS, name)])),
        {"image-set-missing", "series-astray", "study-differs"},
    ),
    "the study": (
        lambda house, _: house.records.commit(Change([Delete(STUDIES, house.records.find(STUDIES)[0].key)])),
        {"study-differs"},
    ),
    "a job": (
        lambda house, _: house.records.commit(Change(jobs=[Job("j1", "fold", "fold", {"image_set": "gone"})])),
        {"job-astray"},
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_record_that_is_wrong_is_told(house: House, what: str) -> None:
    name = folded(house, *phantom())
    claim = house.jobs.claim("fold")
    assert claim is not None
    house.jobs.done(claim)
    assert inspected(house, deep=True).is_clean
    damage, wanted = DAMAGE[what]
    damage(house, name)
    found = codes(inspected(house, deep=True))
    assert wanted <= found <= wanted | {"job-astray"}


def test_what_nobody_will_fold_is_told(house: House) -> None:
    name = house.land_one_set(*phantom())
    house.images.complete(name, by=OWNER)
    assert inspected(house).is_clean, "its job waits"
    claim = house.jobs.claim("fold")
    assert claim is not None
    house.jobs.done(claim)
    assert codes(inspected(house)) == {"never-folds"}


def test_every_code_says_what_to_do() -> None:
    assert all(len(sentence) > 30 for sentence in ADVICE.values())
