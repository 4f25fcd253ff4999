"""Shards: the same bags out of few large files, each process with a list of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radloop.core.errors import InvalidInput
from radloop.training import preprocess, shards
from radloop.training.bags import read_part
from radloop.training.distributed import Team

Dataset = Callable[..., list[dict[str, Any]]]
ARGUMENTS = ["--image-size", "32", "--tiles-per-bag", "2", "--tiles-in-evaluation", "3"]
ROOM = 10 * 32 * 32  # two studies of four planes, not three


@pytest.fixture
def part(job_root: Path, dataset: Dataset) -> Path:
    dataset(job_root)
    assert preprocess.main(ARGUMENTS) == 0
    return job_root / "processing" / "train"


def test_a_packed_part_has_the_same_bags_in_fewer_files(part: Path) -> None:
    before = read_part(part)
    bags = [before.bag(at) for at in range(6)]
    assert shards.pack(part, ROOM) == 3
    after = read_part(part)
    assert [str(item["image_set"]) for item in after.items] == [str(item["image_set"]) for item in before.items]
    assert all(np.array_equal(after.bag(at), bag) for at, bag in enumerate(bags))
    assert after.lists == (0, 0, 1, 1, 2, 2)
    assert not list(part.glob("images/*"))
    assert len(list(part.glob("shards/*.npy"))) == 3
    assert shards.pack(part, ROOM) == 3, "packed again, nothing changes"
    assert read_part(part).manifest_sha256 == after.manifest_sha256


def test_a_study_larger_than_a_shard_gets_one_for_itself(part: Path) -> None:
    assert shards.pack(part, 1) == 6
    assert read_part(part).list_count == 6


def test_the_program_packs_a_part(part: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shards.main([str(part)]) == 0
    assert capsys.readouterr().out == "1 shards\n"
    assert shards.main([str(part / "images")]) == 1
    assert "manifest.json is missing" in capsys.readouterr().err


def test_a_changed_missing_or_short_shard_is_refused(part: Path) -> None:
    shards.pack(part, ROOM)
    found = read_part(part)
    changed = np.load(found.files[0])
    changed[0, 0, 0] ^= 1
    np.save(found.files[0], changed)
    with pytest.raises(InvalidInput, match="not those its name speaks of"):
        found.planes(0)
    found.files[2].unlink()
    with pytest.raises(InvalidInput, match="missing or damaged"):
        found.planes(2)
    manifest = json.loads((part / "manifest.json").read_text())
    manifest["items"][4]["first"] = 7
    (part / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidInput, match="shorter than the manifest says"):
        read_part(part).planes(4)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_bag_is_one_process_s_and_with_enough_shards_each_reads_its_own(size: int, count: int) -> None:
    lists = [int(which) for which in np.random.default_rng(3).integers(0, count, 23)]
    shares = [Team(rank, size).share(lists, count) for rank in range(size)]
    assert sorted(place for share in shares for place in share) == list(range(23))
    if count >= size:
        read = [{lists[place] for place in share} for share in shares]
        assert sum(len(one) for one in read) == len(set(lists)), "no shard is read by two"
