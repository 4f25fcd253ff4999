"""`radloop fsck` as a person meets it: what it prints, how it ends, and what the doors do with a damaged frame."""

import json
import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from radloop.cli import main
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.wiring import open_local
from tests.api.installation import PHANTOM, Installation, open_installation


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("homes") / "whole"
    with open_local(root) as installation:
        (name,) = {one.image_set for one in installation.images.land([Upload(f) for f in PHANTOM.files], by=OWNER)}
        assert name is not None
        installation.images.complete(name, by=OWNER)
        installation.worker().drain(("fold",))
    return root


@pytest.fixture
def home(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "home"))


def fsck(home: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["fsck", "--home", str(home), *options])


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("options", [(), ("--deep",)])
def test_a_whole_home_ends_with_0(home: Path, options: tuple[str, ...]) -> None:
    told = fsck(home, *options)
    assert told.exit_code == 0, told.output
    assert "1 image sets, 4 instances, 1 versions" in told.output
    assert "All is whole." in told.output
    facts = json.loads(fsck(home, "--json", *options).stdout)
    assert (facts["clean"], facts["faults"], facts["deep"]) == (True, [], "--deep" in options)


def test_a_damaged_home_ends_with_3_and_says_what_and_what_to_do(home: Path) -> None:
    (pack,) = (home / "objects").rglob("*.pack")
    flip(pack, pack.stat().st_size // 2)
    told = fsck(home)
    assert told.exit_code == 3
    assert "record-damaged" in told.output
    assert "send the instance again" in told.output
    assert PHANTOM.patient_id not in told.output
    facts = json.loads(fsck(home, "--json").stdout)
    assert [fault["code"] for fault in facts["faults"]] == ["record-damaged"]
    assert facts["advice"].keys() == {"record-damaged"}


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_index_ends_with_3_and_nothing_else_is_believed(home: Path, seed: int) -> None:
    index = home / "index.sqlite"
    flip(index, random.Random(seed).randrange(index.stat().st_size))
    told = fsck(home, "--json")
    assert told.exit_code == 3, told.output
    assert {fault["code"] for fault in json.loads(told.stdout)["faults"]} == {"index-damaged"}


def test_what_is_no_home_is_said_to_be_none(tmp_path: Path) -> None:
    told = fsck(tmp_path / "nothing")
    assert told.exit_code == 1
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("folded", [True, False])
def test_the_doors_answer_500_for_the_damaged_frame_and_serve_the_others(tmp_path: Path, folded: bool) -> None:
    with open_installation(tmp_path) as installation, installation.client() as client:
        identity = installation.land(folded=folded)
        damaged = harm(installation, identity)
        for index, address in enumerate(installation.images.frames(identity)):
            paths = (
                f"/api/v1/image-sets/{identity}/frames/{index}",
                (
                    f"/dicomweb/studies/{PHANTOM.study_uid}/series/{PHANTOM.series_uid}"
                    f"/instances/{address.instance.sop_uid}/frames/1"
                ),
            )
            for path in paths:
                answer = client.get(path)
                if address.instance.id == damaged:
                    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "corrupt")
                else:
                    assert answer.status_code == 200


def harm(installation: Installation, identity: str) -> str:
    """Change a byte of one instance's frame, or of its file while that is landed; returns the instance."""
    address = installation.images.frames(identity)[2]
    ref = address.instance.frames[0].full if address.instance.frames else address.instance.original
    assert ref is not None
    (pack,) = (path for path in installation.doors.platform.blobs.keys("image-sets/") if ref.pack in path)
    flip(installation.doors.platform.blobs.path(pack), ref.offset + ref.length // 2)  # type: ignore[attr-defined]
    return address.instance.id
