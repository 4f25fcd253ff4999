"""What SQLite and DynamoDB answer to the same changes and the same questions is the same."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import Conflict, NotFound
from radloop.core.ports import Adjust, Change, Delete, Put, Records, Row, Table, Term
from radloop.local.database import Database
from radloop.local.records import SqliteRecords
from tests.aws.substrate import Substrate

THINGS = Table("things", ("name", "size", "day"), facts=("kind", "weight"))
NAMES = [None, "", "a", "ab", "a\0b", "a\x01", "b", "Ä", "ä", "z" * 1100, "\U0001f600", "\\CT\\SR\\"]
SIZES = [None, -(2**40), -3, -0.5, 0, 0.25, 1, 2, 10, 2**53 + 1, 1e300, "text"]
DAYS = [None, "20240101", "20240229", "20250101", 1767312000.125]
KINDS = [None, "x", "y", 3]


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteRecords]:
    database = Database(tmp_path / "index.sqlite", bytes(32), (THINGS,))
    yield SqliteRecords(database, Substrate("").watch)
    database.close()


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 6))])
def test_both_answer_alike(seed: int, sqlite: SqliteRecords, records: Records) -> None:
    dice = random.Random(seed)
    for turn in range(30):
        change = Change(writes=[_write(dice) for _ in range(dice.randint(1, 4))])
        assert _outcome(sqlite, change) == _outcome(records, change), f"turn {turn}"
    for turn in range(80):
        ask = _question(dice)
        assert ask(records) == ask(sqlite), f"question {turn}"


def test_texts_that_begin_alike_for_long_are_told_apart(records: Records) -> None:
    long = "z" * 1100
    records.commit(Change(writes=[Put(THINGS, each, {}, {"name": long + each}) for each in "ab"]))
    for terms in ([Term("name", "is", (f"{long}a",))], [Term("name", "in", (f"{long}a", "z"))]):
        assert [row.key for row in records.search(THINGS, terms)] == ["a"]
        assert records.search_count(THINGS, terms) == 1


def _write(dice: random.Random) -> Any:
    key = dice.choice("abcdefghij")
    columns = {
        "name": dice.choice(NAMES),
        "size": dice.choice(SIZES),
        "day": dice.choice(DAYS),
        "kind": dice.choice(KINDS),
        "weight": dice.randint(-5, 5),
    }
    return dice.choice(
        [
            Put(THINGS, key, {"n": dice.random()}, columns),
            Put(THINGS, key, {"n": dice.random()}, columns),
            Put(THINGS, key, {"n": dice.random()}, columns, expected=dice.choice([0, 1, 2, 3])),
            Adjust(THINGS, key, {"weight": dice.randint(-9, 9)}, {"name": dice.choice(NAMES)}),
            Delete(THINGS, key),
        ]
    )


def _outcome(records: Records, change: Change) -> str:
    try:
        records.commit(change)
    except (Conflict, NotFound) as error:
        return error.code
    return "made"


def _question(dice: random.Random) -> Callable[[Records], Any]:
    terms = [_term(dice) for _ in range(dice.randint(0, 2))]
    order = dice.choice([None, None, "name", "size", "weight"])
    options = {
        "columns": dice.choice([None, (), ("name", "kind")]),
        "order": order,
        "descending": dice.random() < 0.4,
        "limit": dice.choice([None, 0, 1, 3]),
        "offset": dice.choice([0, 0, 2]),
        "after": 0 if order else dice.choice([0, 0, 3, 8]),
    }

    def ask(records: Records) -> tuple[list[Row], int]:
        return records.search(THINGS, terms, **options), records.search_count(THINGS, terms)

    return ask


def _term(dice: random.Random) -> Term:
    column, values = dice.choice([("name", NAMES), ("size", SIZES), ("day", DAYS), ("kind", KINDS)])
    relation = dice.choice(["is", "in", "between", "between"] + ["prefix", "glob", "has"] * (column == "name"))
    texts = ["a", "z" * 1000, "ä", "a\0", "C", "CT"]
    match relation:
        case "in":
            return Term(column, "in", tuple(dice.choices([v for v in values if v is not None], k=dice.randint(0, 3))))
        case "between":
            return Term(column, "between", (dice.choice(values), dice.choice(values)))
        case "prefix" | "has":
            return Term(column, relation, (dice.choice(texts),))
        case "glob":
            return Term(column, "glob", (dice.choice(["a*", "?", "*b", "z*y", "a?b", "*"]),))
    return Term(column, "is", (dice.choice(values),))
