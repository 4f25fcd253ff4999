# ruff: noqa: INP001, T201 — a program that is run by itself and tells what it drew
"""Draw the architecture pictures: docs/pictures/NAME.toml becomes docs/pictures/NAME.svg.

    .venv/bin/python tools/diagrams.py            draw all of them
    .venv/bin/python tools/diagrams.py --check    only say which is not what its description says

A description places boxes on a grid and names the lines between them; this program turns that into rectangles, paths
and text that can be selected, in colours for a light and a dark page. It refuses to draw what cannot be read: boxes or
words that lie on each other, and lines that run through a box that is not theirs.

    title = "what the picture shows, for who cannot see it"
    [[groups]]   title, at = [column, row, column, row]                     a frame around cells, both corners included
    [[nodes]]    id, at = [column, row], text, note = "", kind = "service"  a box; `|` breaks the note
    [[edges]]    from, to, text = "", out = "right", in = "left", shift = 0, bend = 0.5, at = 0.5, dashed = false

`out` and `in` are sides, if need be with an offset along them in pixels: "right+10". A line between facing sides turns
at the share `bend` of its way, and its words stand at the share `at` of its longest part.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
KINDS = {
    "person": "a person",
    "outside": "not radloop",
    "service": "a service",
    "function": "our code",
    "queue": "a queue",
    "bus": "events",
    "store": "what is kept",
    "step": "a step of the pipeline",
}
"""What a box may be, and what the legend says of it."""

_CELL = (196, 92)
_BOX = (158, 56)
_MARGIN = 26
_FRAME = (16, 26)  # around the boxes of a group: on the left and right, and above for its title
_BELOW = 12
_APART = 3
_LETTER = {"text": 7.6, "note": 6.1, "edge": 6.0, "title": 7.0}  # pixels a letter takes at most, measured in Chromium
_LINE = 14
_LEGEND = 34
_SIDES = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}

_HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 L10 5 L0 10 z" style="fill: var(--line)"/></marker>'
)
_STYLE = """
    svg { --page: #ffffff; --ink: #1d2733; --soft: #4a5866; --line: #5b7083; --frame: #c3ced8; --pane: #f7f9fb;
      --person: #fdf3dd; --outside: #ffffff; --service: #eef1f4; --function: #dceefb; --queue: #ece4fa;
      --store: #dff3e4; --bus: #ffe6d6; --step: #e6f1f6; }
    @media (prefers-color-scheme: dark) {
      svg { --page: #0f151b; --ink: #e8eef4; --soft: #a9b8c6; --line: #8ba0b3; --frame: #36434f; --pane: #151d25;
        --person: #4a3a14; --outside: #0f151b; --service: #27313a; --function: #12384f; --queue: #35264f;
        --store: #17402a; --bus: #55301a; --step: #1d3743; }
    }
    text { font: 600 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink); text-anchor: middle; }
    .note { font: 11px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--soft); }
    .edge { font: 11px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; paint-order: stroke;
      stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
    .legend { text-anchor: start; }
    .title { font-size: 12px; fill: var(--soft); text-anchor: start; }
    .box { stroke: var(--line); stroke-width: 1.3; }
    .outside, .dashed { stroke-dasharray: 5 4; }
    .group { fill: var(--pane); stroke: var(--frame); stroke-width: 1.2; }
    .line { fill: none; stroke: var(--line); stroke-width: 1.6; marker-end: url(#head); }
    .page { fill: var(--page); }
"""


class BadPicture(Exception):
    """A description that cannot be drawn so that it can be read; tells every fault of it."""


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle, pixels; its edges belong to it."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Area") -> bool:
        """Whether the two share more than an edge."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def around(self, other: "Area") -> bool:
        """Whether the other lies inside."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )

    def grown(self, by: float) -> "Area":
        """The same with `by` pixels more on every side."""
        return Area(self.left - by, self.top - by, self.right + by, self.bottom + by)


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text around a middle; `kind` says how large it is."""

    text: str
    x: float
    y: float
    kind: str

    @property
    def area(self) -> Area:
        """What it covers at most. A title begins at `x`."""
        width = len(self.text) * _LETTER[self.kind]
        left = self.x if self.kind == "title" else self.x - width / 2
        return Area(left, self.y - 11, left + width, self.y + 3)


@dataclass(frozen=True, slots=True)
class Box:
    """A box with its words."""

    id: str
    kind: str
    area: Area
    words: tuple[Words, ...]

    def port(self, side: str, offset: float) -> tuple[float, float]:
        """The point on a side, `offset` pixels from its middle to the right or down."""
        across, down = _SIDES[side]
        x = (self.area.left + self.area.right) / 2 + across * _BOX[0] / 2
        y = (self.area.top + self.area.bottom) / 2 + down * _BOX[1] / 2
        return (x + offset, y) if across == 0 else (x, y + offset)


@dataclass(frozen=True, slots=True)
class Line:
    """A line from box to box, and its words."""

    ends: tuple[str, str]
    points: tuple[tuple[float, float], ...]
    words: tuple[Words, ...]
    is_dashed: bool

    def areas(self) -> Iterator[Area]:
        """Its parts, each as thick as nothing."""
        for (x, y), (u, v) in pairwise(self.points):
            yield Area(min(x, u), min(y, v), max(x, u), max(y, v)).grown(0.5)


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything of a picture at its place."""

    title: str
    groups: tuple[tuple[Area, Words], ...]
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]

    def page(self) -> Area:
        """What all of it covers, without a margin."""
        areas = [
            *(area for area, _ in self.groups),
            *(box.area for box in self.boxes),
            *(area for line in self.lines for area in line.areas()),
            *(words.area for line in self.lines for words in line.words),
        ]
        return Area(
            min(area.left for area in areas),
            min(area.top for area in areas),
            max(area.right for area in areas),
            max(area.bottom for area in areas),
        )


def laid_out(description: Mapping[str, Any]) -> Picture:
    """A description with every part at its place.

    Raises:
        BadPicture: A line leads to a box that is not there, a kind or a side is unknown.
    """
    boxes = tuple(_box(each) for each in description["nodes"])
    known = {box.id: box for box in boxes}
    missing = {each[end] for each in description["edges"] for end in ("from", "to")} - known.keys()
    if missing or len(known) < len(boxes):
        raise BadPicture(f"no boxes {sorted(missing)}" if missing else "two boxes have one id")
    groups = tuple(_group(each) for each in description.get("groups", ()))
    return Picture(description["title"], groups, boxes, tuple(_line(each, known) for each in description["edges"]))


def _middle(at: Sequence[float]) -> tuple[float, float]:
    return (
        _MARGIN + _FRAME[0] + _BOX[0] / 2 + at[0] * _CELL[0],
        _MARGIN + _FRAME[1] + _BOX[1] / 2 + at[1] * _CELL[1],
    )


def _box(node: Mapping[str, Any]) -> Box:
    kind = node.get("kind", "service")
    if kind not in KINDS:
        raise BadPicture(f"{node['id']} is of the unknown kind {kind}")
    x, y = _middle(node["at"])
    notes = [part for part in node.get("note", "").split("|") if part]
    first = y + 4.5 - len(notes) * _LINE / 2
    words = [Words(node["text"], x, first, "text")]
    words += [Words(note, x, first + _LINE * (place + 1), "note") for place, note in enumerate(notes)]
    area = Area(x - _BOX[0] / 2, y - _BOX[1] / 2, x + _BOX[0] / 2, y + _BOX[1] / 2)
    return Box(node["id"], kind, area, tuple(words))


def _group(group: Mapping[str, Any]) -> tuple[Area, Words]:
    (left, top), (right, bottom) = _middle(group["at"][:2]), _middle(group["at"][2:])
    area = Area(
        left - _BOX[0] / 2 - _FRAME[0],
        top - _BOX[1] / 2 - _FRAME[1],
        right + _BOX[0] / 2 + _FRAME[0],
        bottom + _BOX[1] / 2 + _BELOW,
    )
    return area, Words(group["title"], area.left + 10, area.top + 17, "title")


def _line(edge: Mapping[str, Any], boxes: Mapping[str, Box]) -> Line:
    out, into = _side(edge.get("out", "right")), _side(edge.get("in", "left"))
    points = _route(boxes[edge["from"]].port(*out), out[0], boxes[edge["to"]].port(*into), into[0], edge)
    words = _beside(points, str(edge.get("text", "")), float(edge.get("at", 0.5)), float(edge.get("shift", 0)))
    return Line((edge["from"], edge["to"]), points, words, bool(edge.get("dashed", False)))


def _side(text: str) -> tuple[str, float]:
    found = re.fullmatch(r"(left|right|top|bottom)([+-]\d+)?", text)
    if found is None:
        raise BadPicture(f"{text} is no side of a box")
    return found[1], float(found[2] or 0)


def _route(
    start: tuple[float, float], out: str, end: tuple[float, float], into: str, edge: Mapping[str, Any]
) -> tuple[tuple[float, float], ...]:
    """A way in right angles: straight, round one corner, or round two."""
    (x, y), (u, v) = start, end
    leaves_across, comes_across = out in {"left", "right"}, into in {"left", "right"}
    bend = float(edge.get("bend", 0.5))
    if leaves_across and comes_across:
        turn = x + (u - x) * bend if out != into else (max(x, u) if out == "right" else min(x, u)) + _out(out, edge)
        way = [start, (turn, y), (turn, v), end]
    elif not leaves_across and not comes_across:
        turn = y + (v - y) * bend if out != into else (max(y, v) if out == "bottom" else min(y, v)) + _out(out, edge)
        way = [start, (x, turn), (u, turn), end]
    else:
        way = [start, (u, y) if leaves_across else (x, v), end]
    return tuple(_without_stops(way))


def _out(side: str, edge: Mapping[str, Any]) -> float:
    """How far a line leaves that comes back to the same side, pixels with their sign."""
    away = float(edge.get("away", 18))
    return away if side in {"right", "bottom"} else -away


def _without_stops(way: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The corners of a way, without points that lie on a straight part of it."""
    for place, point in enumerate(way):
        if 0 < place < len(way) - 1:
            (x, y), (u, v) = way[place - 1], way[place + 1]
            if x == point[0] == u or y == point[1] == v:
                continue
        yield point


def _beside(points: Sequence[tuple[float, float]], text: str, at: float, shift: float) -> tuple[Words, ...]:
    """The words of a line: above its longest part where that lies, on it where that stands."""
    if not text:
        return ()
    (x, y), (u, v) = max(pairwise(points), key=lambda part: abs(part[0][0] - part[1][0]) + abs(part[0][1] - part[1][1]))
    middle, height = x + (u - x) * at, y + (v - y) * at
    rows = text.split("|")
    if y == v:
        return tuple(
            Words(row, middle, height - 6 - (len(rows) - 1 - place) * 12 + shift, "edge")
            for place, row in enumerate(rows)
        )
    return tuple(Words(row, middle + shift, height + 4 + place * 12, "edge") for place, row in enumerate(rows))


def faults(picture: Picture) -> Iterator[str]:
    """What would make the picture unreadable, in words."""
    for box in picture.boxes:
        yield from (
            f"{words.text!r} does not fit into {box.id}" for words in box.words if not box.area.around(words.area)
        )
    for one, other in combinations(picture.boxes, 2):
        if one.area.grown(_APART).meets(other.area):
            yield f"{one.id} lies on {other.id}"
    for area, title in picture.groups:
        yield from _faults_of_group(area, title, picture.boxes)
    for line in picture.lines:
        yield from _faults_of_line(line, picture)
    for one, other in combinations(picture.lines, 2):
        yield from _faults_of_two(one, other)


def _faults_of_group(area: Area, title: Words, boxes: Sequence[Box]) -> Iterator[str]:
    for box in boxes:
        if area.meets(box.area) and not area.around(box.area):
            yield f"{box.id} lies half in {title.text!r}"
        if title.area.meets(box.area):
            yield f"the title {title.text!r} lies on {box.id}"


def _faults_of_line(line: Line, picture: Picture) -> Iterator[str]:
    name = " -> ".join(line.ends)
    for box in picture.boxes:
        if box.id not in line.ends and any(part.meets(box.area.grown(_APART)) for part in line.areas()):
            yield f"the line {name} runs through {box.id}"
        if any(words.area.meets(box.area) for words in line.words):
            yield f"the words of {name} lie on {box.id}"
    for _, title in picture.groups:
        if any(part.meets(title.area) for part in line.areas()):
            yield f"the line {name} runs through the title {title.text!r}"
        if any(words.area.meets(title.area) for words in line.words):
            yield f"the words of {name} lie on the title {title.text!r}"


def _faults_of_two(one: Line, other: Line) -> Iterator[str]:
    names = f"{' -> '.join(one.ends)} and {' -> '.join(other.ends)}"
    if any(mine.area.meets(theirs.area) for mine in one.words for theirs in other.words):
        yield f"the words of {names} lie on each other"
    is_one_trunk = bool({*one.ends} & {*other.ends})
    if not is_one_trunk and any(_overlap(a, b) for a in one.areas() for b in other.areas()):
        yield f"{names} run on each other"


def _overlap(one: Area, other: Area) -> bool:
    """Whether two parts of lines run on each other for more than they cross."""
    return (
        one.meets(other)
        and min(one.right, other.right)
        - max(one.left, other.left)
        + min(one.bottom, other.bottom)
        - max(one.top, other.top)
        > 8  # noqa: PLR2004 — a crossing of two lines is two pixels
    )


def drawn(picture: Picture) -> str:
    """The picture as SVG.

    Raises:
        BadPicture: It could not be read.
    """
    wrong = list(faults(picture))
    if wrong:
        raise BadPicture("\n".join(wrong))
    page = picture.page()
    legend = list(_legend(picture, page))
    page = Area(page.left, page.top, page.right, page.bottom + _LEGEND).grown(_MARGIN)
    size = f'width="{_short(page.right - page.left)}" height="{_short(page.bottom - page.top)}"'
    corner = f"{_short(page.left)} {_short(page.top)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(picture.title)}"',
        f'     viewBox="{corner} {_short(page.right - page.left)} {_short(page.bottom - page.top)}">',
        f"  <title>{escape(picture.title)}</title>",
        f"  <style>{_STYLE}  </style>",
        f"  <defs>{_HEAD}</defs>",
        f'  <rect class="page" {_place(page)}/>',
    ]
    for area, title in picture.groups:
        parts += [f'  <rect class="group" {_place(area)} rx="10"/>', _text(title)]
    parts += [
        f'  <path class="line{" dashed" if line.is_dashed else ""}" d="{_way(line.points)}"/>' for line in picture.lines
    ]
    for box in picture.boxes:
        parts.append(f'  <rect class="box {box.kind}" style="fill: var(--{box.kind})" {_place(box.area)} rx="7"/>')
        parts += map(_text, box.words)
    parts += [_text(words) for line in picture.lines for words in line.words]
    parts += legend
    return "\n".join([*parts, "</svg>", ""])


def _legend(picture: Picture, page: Area) -> Iterator[str]:
    """A patch and a word for every kind of box there is, in a row below the picture."""
    used = {box.kind for box in picture.boxes}
    x, y = page.left, page.bottom + _LEGEND - 14
    for kind, name in KINDS.items():
        if kind in used:
            patch = Area(x, y, x + 18, y + 12)
            yield f'  <rect class="box {kind}" style="fill: var(--{kind})" {_place(patch)} rx="3"/>'
            yield f'  <text class="note legend" x="{_short(x + 25)}" y="{_short(y + 10)}">{escape(name)}</text>'
            x += 46 + len(name) * _LETTER["note"]


def _place(area: Area) -> str:
    return (
        f'x="{_short(area.left)}" y="{_short(area.top)}" width="{_short(area.right - area.left)}"'
        f' height="{_short(area.bottom - area.top)}"'
    )


def _way(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{_short(x)} {_short(y)}" for x, y in points)


def _text(words: Words) -> str:
    kind = "" if words.kind == "text" else f' class="{words.kind}"'
    return f'  <text x="{_short(words.x)}" y="{_short(words.y)}"{kind}>{escape(words.text, quote=False)}</text>'


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def svg_of(path: Path) -> str:
    """What a description looks like.

    Raises:
        BadPicture: It could not be read.
    """
    return drawn(laid_out(tomllib.loads(path.read_text())))


def main() -> int:
    """Draw all pictures; 1 where one cannot be drawn, or with `--check` is not what it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say which is not what its description says")
    is_check = parser.parse_args().check
    failed = 0
    for path in sorted(PICTURES.glob("*.toml")):
        out = path.with_suffix(".svg")
        try:
            svg = svg_of(path)
        except BadPicture as error:
            print(f"{path.name}:\n  " + str(error).replace("\n", "\n  "))
            failed = 1
            continue
        if is_check and (not out.exists() or out.read_text() != svg):
            print(f"{out.name} is not what {path.name} says: python tools/diagrams.py")
            failed = 1
        elif not is_check:
            out.write_text(svg)
            print(f"{out.name}: {len(svg):,} bytes")
    return failed


if __name__ == "__main__":
    sys.exit(main())
