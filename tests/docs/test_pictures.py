"""The architecture pictures: drawn from their descriptions, readable, and of what there is."""

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs/pictures").glob("*.toml"))

of_each = pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)


def program() -> ModuleType:
    """tools/diagrams.py, which is a program and no package."""
    spec = importlib.util.spec_from_file_location("diagrams", ROOT / "tools/diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["diagrams"] = module
    spec.loader.exec_module(module)
    return module


diagrams = program()


def described(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / f"docs/pictures/{name}.toml").read_text())


def names(name: str, kind: str) -> set[str]:
    return {node["text"] for node in described(name)["nodes"] if node["kind"] == kind}


@of_each
def test_a_picture_is_what_its_description_says(path: Path) -> None:
    assert path.with_suffix(".svg").read_text() == diagrams.svg_of(path), "python tools/diagrams.py"


@of_each
def test_a_picture_is_text_for_light_and_dark_that_can_be_selected(path: Path) -> None:
    svg = path.with_suffix(".svg").read_text()
    written = {element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {node["text"] for node in tomllib.loads(path.read_text())["nodes"]} <= written
    assert "@media (prefers-color-scheme: dark)" in svg
    assert not re.search(r"<(script|foreignObject|image)|href=|url\((?!#head)", svg), "it stands alone"


@of_each
def test_a_picture_stands_in_a_document(path: Path) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(f"pictures/{path.stem}.svg)" in page.read_text() for page in pages)


def test_every_function_and_every_lane_is_in_the_picture_of_aws() -> None:
    contract = json.loads((ROOT / "contracts/functions.json").read_text())
    missing = {each["name"] for each in contract["functions"]} - names("aws", "function")
    missing |= {each["name"] for each in contract["lanes"]} - names("aws", "queue")
    assert not missing, f"docs/pictures/aws.toml does not name {missing}; then python tools/diagrams.py"


def test_every_function_and_every_lane_in_the_picture_of_aws_is_there() -> None:
    contract = json.loads((ROOT / "contracts/functions.json").read_text())
    assert names("aws", "function") <= {each["name"] for each in contract["functions"]}
    assert names("aws", "queue") <= {each["name"] for each in contract["lanes"]}


def test_the_steps_in_the_picture_of_the_loop_are_those_of_the_pipeline() -> None:
    from radloop.pipeline.pipeline_builder import definition

    steps = re.findall(
        r'"Name": "(\w+)", "Type": "(?:Processing|Training|Condition|RegisterModel)"', json.dumps(definition())
    )
    assert names("loop", "step") == set(steps)


NODES = [{"id": "a", "at": [0, 0], "text": "a"}, {"id": "b", "at": [1, 0], "text": "b"}]


@pytest.mark.parametrize(
    ("nodes", "edges", "said"),
    [
        ([{"id": "c", "at": [0.2, 0], "text": "c"}], [], "a lies on c"),
        ([{"id": "c", "at": [2, 0], "text": "words that are far too long for it"}], [], "does not fit into c"),
        ([{"id": "c", "at": [2, 0], "text": "c"}], [{"from": "a", "to": "c"}], "the line a -> c runs through b"),
        ([], [{"from": "a", "to": "b", "text": "words longer than the gap"}], "the words of a -> b lie on"),
        ([], [{"from": "a", "to": "z"}], "no boxes"),
        ([], [{"from": "a", "to": "b", "out": "up"}], "up is no side"),
        ([{"id": "c", "at": [2, 0], "text": "c", "kind": "thing"}], [], "unknown kind thing"),
        (
            [{"id": "c", "at": [0, 1], "text": "c"}, {"id": "d", "at": [1, 1], "text": "d"}],
            [
                {"from": "a", "to": "d", "out": "right", "in": "left"},
                {"from": "c", "to": "b", "out": "right", "in": "left"},
            ],
            "run on each other",
        ),
    ],
)
def test_a_picture_that_could_not_be_read_is_not_drawn(
    nodes: list[dict[str, Any]], edges: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(diagrams.BadPicture, match=said):
        diagrams.drawn(diagrams.laid_out({"title": "t", "nodes": NODES + nodes, "edges": edges}))


def test_a_title_over_a_box_is_found() -> None:
    group = {"title": "a group", "at": [1, 0.4, 1, 1]}
    with pytest.raises(diagrams.BadPicture, match="half in 'a group'"):
        diagrams.drawn(diagrams.laid_out({"title": "t", "nodes": NODES, "edges": [], "groups": [group]}))
