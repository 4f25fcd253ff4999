"""tools/test.sh reads for a group of tests only the files that name its marker; so the marker must stand there."""

import re
from pathlib import Path

from tests.order import SECONDS

TESTS = Path(__file__).parent
OF_A_GROUP = re.compile(r"mark\.(slow|browser|alone)\b")


def test_no_marker_of_a_group_comes_from_another_file() -> None:
    naming = [path for path in TESTS.rglob("*.py") if OF_A_GROUP.search(path.read_text())]
    assert len(naming) > 30
    assert [path.name for path in naming if not path.name.startswith("test_")] == []


def test_no_file_takes_marked_tests_from_another() -> None:
    marked = {path.stem for path in TESTS.rglob("test_*.py") if OF_A_GROUP.search(path.read_text())}
    for path in TESTS.rglob("*.py"):
        for module, names in re.findall(
            r"^from tests\.[\w.]*?(test_\w+) import ([^\n]+)", path.read_text(), re.MULTILINE
        ):
            assert module not in marked or not re.search(r"\bTest\w+|\btest_\w+", names), f"{path.name} takes {names}"


def test_what_begins_first_is_there() -> None:
    for name in SECONDS:
        file, _, test = name.partition("::")
        text = (TESTS.parent / file).read_text()
        assert not test or f"def {test.partition('[')[0]}(" in text, name
