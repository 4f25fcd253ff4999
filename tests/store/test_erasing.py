"""Of everything that is stored it is declared whether it goes with an image set that is deleted."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import radloop
from radloop.core.tables import TABLES
from radloop.local.buckets import OURS
from radloop.store import erasing
from radloop.store.erasing import BLOBS, HANGING, By, Goes, Stays, fate_of

NAMES_IT = "image_set"
KEY = re.compile(r"(image-sets|stream|archive|drafts|training-data|preprocessed-data|model-artifacts)/[a-z-]+(/|$)")
"""How the text of a blob's key begins, down to the folder below its bucket."""


def keys_in(source: Path) -> Iterator[str]:
    """Text in a module that is the key of a blob, or the beginning of one; docstrings are none."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
        if is_text and KEY.match(node.value) and " " not in node.value:
            yield node.value


def test_every_table_is_declared_and_none_that_is_gone() -> None:
    assert set(erasing.TABLES) == set(TABLES)


def test_every_table_that_names_image_sets_in_a_column_goes() -> None:
    for table in TABLES:
        if NAMES_IT in table.columns:
            assert erasing.TABLES[table] in {Goes(By.COLUMN), Goes(By.ITSELF)}, table.name


def test_what_goes_by_a_column_has_it_indexed() -> None:
    assert [
        table.name for table in HANGING if erasing.TABLES[table] == Goes(By.COLUMN) and NAMES_IT not in table.indexed
    ] == []


def test_labels_go_last_because_copies_are_found_by_them() -> None:
    assert HANGING[-1].name == "labels"


@pytest.mark.parametrize("fates", [erasing.TABLES, erasing.BESIDE, BLOBS, erasing.FOLDERS])
def test_what_stays_has_a_reason_that_is_a_sentence(fates: dict[object, Goes | Stays]) -> None:
    for what, fate in fates.items():
        assert isinstance(fate, Goes) or re.fullmatch(r"[A-Z][^.]{10,}\..*|[A-Z].{10,}\.", fate.why), what


def test_every_place_of_blobs_that_the_code_names_is_declared() -> None:
    root = Path(radloop.__file__).parent
    found = {key for source in root.rglob("*.py") if source.name != "erasing.py" for key in keys_in(source)}
    assert len(found) > 8, "the search finds the keys that are there"
    assert sorted(key for key in found if fate_of(f"{key.rstrip('/')}/x") is None) == []


def test_every_bucket_of_a_home_is_declared() -> None:
    places = {place.split("/")[0] for place in BLOBS}
    assert places >= OURS


@pytest.mark.parametrize(
    ("key", "by"),
    [
        ("image-sets/i/p.pack", By.PACK),
        ("stream/packs/i/1/frames/0", By.FOLDER),
        ("archive/originals/a.dcm", By.INSTANCE),
        ("training-data/snapshots/abc/images/i.npy", By.FILE),
        ("training-data/snapshots/abc/manifest.jsonl", None),
        ("preprocessed-data/e/train/images/i.npy", By.FILE),
        ("preprocessed-data/e/train/manifest.json", None),
        ("model-artifacts/models/e/pictures/i.png", By.FILE),
        ("model-artifacts/models/e/report.html", By.PAGE),
        ("model-artifacts/models/e/model.tar.gz", None),
    ],
)
def test_the_longest_place_that_fits_decides(key: str, by: By | None) -> None:
    fate = fate_of(key)
    assert isinstance(fate, Stays) if by is None else fate == Goes(by)


def test_what_is_declared_nowhere_has_no_fate() -> None:
    assert fate_of("elsewhere/a") is None
    assert fate_of("training-data/elsewhere/a") is None
