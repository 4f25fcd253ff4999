"""The same with dcmtk's own programs, which speak DICOM as most of the world's scanners do."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from radloop.core.tables import IMAGE_SETS
from radloop.dicom.parse import parse
from radloop.dimse.peers import Peer
from tests.dimse.door import Door, data_set_of, open_door
from tests.store.house import of_patient, phantom

PROGRAMS = ("echoscu", "storescu", "findscu", "movescu", "getscu", "storescp", "dcmdump")

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in PROGRAMS), reason=f"dcmtk is not installed: {', '.join(PROGRAMS)}"
)


def run(*command: str, status: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) is (status == 0), done.stdout + done.stderr
    return done.stdout + done.stderr


def call(program: str, door: Door, *rest: str, status: int = 0) -> str:
    return run(program, "-v", "-aet", "DCMTK", "-aec", "RADLOOP", "127.0.0.1", str(door.port), *rest, status=status)


def written(folder: Path, files: tuple[bytes, ...]) -> list[str]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{place:03d}.dcm" for place in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


@pytest.fixture
def filled(door: Door, tmp_path: Path) -> Door:
    call("storescu", door, *written(tmp_path / "in", phantom()))
    return door


@contextmanager
def storescp(folder: Path) -> Iterator[Peer]:
    """dcmtk's receiver, which writes what it gets bit by bit into `folder`."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = subprocess.Popen(["storescp", "-aet", "STORESCP", "+B", "+xa", "-od", str(folder), str(port)])
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield Peer("STORESCP", "127.0.0.1", port)
    finally:
        process.terminate()
        process.wait(timeout=10)


def received(folder: Path) -> list[bytes]:
    return sorted(data_set_of(path.read_bytes()) for path in folder.iterdir())


def test_echoscu_is_answered(door: Door) -> None:
    assert "Received Echo Response (Success)" in call("echoscu", door)


def test_echoscu_with_a_wrong_title_is_told_why(door: Door) -> None:
    told = run("echoscu", "-aec", "WRONG", "127.0.0.1", str(door.port), status=1)
    assert "Called AE Title Not Recognized" in told


def test_storescu_sends_what_is_kept_byte_for_byte(filled: Door) -> None:
    assert sorted(map(data_set_of, filled.exported().values())) == sorted(map(data_set_of, phantom()))


def test_storescu_is_told_of_what_cannot_be_kept(door: Door, tmp_path: Path) -> None:
    study = parse(phantom()[0]).study_uid
    paths = written(tmp_path / "in", (phantom()[0].replace(study.encode(), b"x" * len(study)),))
    assert "DataSetDoesNotMatchSOPClass" in call("storescu", door, *paths, status=1)


def test_findscu_finds(filled: Door) -> None:
    told = call(
        "findscu", filled, "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=PHANTOM*", "-k", "StudyDate"
    )
    assert told.count("Find Response: ") + told.count("# Dicom-Data-Set") >= 1
    assert "PHANTOM-00001" in told
    none = call("findscu", filled, "-P", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=NOBODY")
    assert "PHANTOM" not in none


def test_getscu_gets_the_very_bytes(filled: Door, tmp_path: Path) -> None:
    (tmp_path / "got").mkdir()
    study = parse(phantom()[0]).study_uid
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    call("getscu", filled, "-S", "-B", "-od", str(tmp_path / "got"), *keys)
    assert received(tmp_path / "got") == sorted(map(data_set_of, phantom()))


def test_movescu_has_them_sent_to_storescp(tmp_path: Path) -> None:
    study = parse(phantom()[0]).study_uid
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
    with storescp(tmp_path / "moved") as peer, open_door(tmp_path / "home", peers=[peer]) as door:
        call("storescu", door, *written(tmp_path / "in", phantom()))
        call("movescu", door, "-S", "-aem", "STORESCP", *keys)
        assert received(tmp_path / "moved") == sorted(map(data_set_of, phantom()))
        told = call("movescu", door, "-S", "-aem", "NOBODY", *keys, status=1)
        assert "MoveDestinationUnknown" in told.replace(" ", "")


def test_many_storescu_at_once_lose_nothing(door: Door, tmp_path: Path) -> None:
    files = {number: of_patient(number) for number in range(1, 9)}
    senders = []
    for number, each in files.items():
        paths = written(tmp_path / str(number), each)
        command = ["storescu", "-aet", "DCMTK", "-aec", "RADLOOP", "127.0.0.1", str(door.port), *paths]
        senders.append(subprocess.Popen(command))
    assert [sender.wait(timeout=60) for sender in senders] == [0] * len(senders)
    images, records = door.installation.images, door.installation.platform.records
    kept = [images.export(each) for row in records.find(IMAGE_SETS) for each in images.instances(row.key)]
    assert sorted(map(data_set_of, kept)) == sorted(data_set_of(file) for each in files.values() for file in each)
