"""What an operation is asked and answers, as docs/examples.md shows it: real, without what differs every time."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from radloop.api.openapi import OPERATIONS

WIDTH = 116
DEEPEST = 3
INTRODUCTION = """# Examples

Every operation of the platform API and of the streams once: what is sent, and what comes back. They were recorded from
a walk through a real installation by `tests/api/test_openapi.py`, which fails when a request here, or what its answer
holds, is no longer so. What differs every time is put as `ID`, `SHA256`, `SECRET`, a date or 0.5; `...` stands for more
of the same, or for bytes.

`radloop up` prints the address; the header `Authorization: Bearer TOKEN` says who asks:
`curl -H "Authorization: Bearer $RADLOOP_TOKEN" --cacert my-home/keys/ca.pem https://127.0.0.1:8080/api/v1/worklist`.
Routes, parameters and errors stand in [api](api.md), examples of the 18 HealthImaging operations in
[healthimaging](healthimaging.md), of DICOMweb in [dicomweb](dicomweb.md), of reading a stream in [stream](stream.md).
"""

_EVERY_TIME = (
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)", "2026-11-23T10:00:00+00:00"),
    (r"\b\d{4}-\d\d-\d\d(?!T)\b", "2026-11-23"),
    (r"\b(1\.2|2\.25)\.[\d.]{6,}\b", "1.2.3.4"),
    (r"\b[0-9a-z]{32}\b", "ID"),
    (r"\bAK[A-Z0-9]{14,}\b", "ACCESS-KEY"),
    (r"[A-Za-z0-9+/_~=-]{40,}", "SECRET"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """One operation asked once. `answer` is JSON, or None where it is something else."""

    operation: str
    request: str
    status: int
    kind: str
    answer: Any

    def held(self) -> tuple[str, str]:
        """What of it the page must show as it is: request, and status with media type and names of what it holds."""
        names = f" {' '.join(sorted(self.answer))}" if isinstance(self.answer, Mapping) else ""
        return self.request, f"{self.status} {self.kind}".strip() + names


def example(operation: str, address: str, options: Mapping[str, Any], answer: Any) -> Example:
    """Of a request that was answered as it should be.

    Args:
        operation: Its name in the OpenAPI document.
        address: Where it was sent, with its query.
        options: What else went to the client: `json`, `files`, or `content` with `headers`.
        answer: What httpx made of the answer.
    """
    row = next(each for each in OPERATIONS if each.id == operation)
    query = address.partition("?")[2]
    shown = re.sub(r":\w+}", "}", row.address) + (f"?{_constant(query)}" if query else "")
    lines = [f"{row.method} {shown}", *(f"{name}: {_constant(value)}" for name, value in _sent(options))]
    if "json" in options:
        lines += ["", _short(options["json"])]
    elif "files" in options:
        lines += ["", *(f"files: {name}" for _, (name, _) in options["files"][:1]), "..."]
    elif options.get("content"):
        lines += ["", _constant(options["content"].decode())]
    kind = answer.headers.get("content-type", "").partition(";")[0]
    return Example(
        operation, "\n".join(lines), answer.status_code, kind, answer.json() if kind == "application/json" else None
    )


def _sent(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "json" in options:
        return [("Content-Type", "application/json")]
    if "files" in options:
        return [("Content-Type", "multipart/form-data")]
    return sorted((options.get("headers") or {}).items())


def page_of(examples: Iterable[Example]) -> str:
    """The whole page, in the order of the document."""
    order = {each.id: place for place, each in enumerate(OPERATIONS)}
    summary = {each.id: each.summary for each in OPERATIONS}
    parts = [INTRODUCTION]
    for each in sorted(examples, key=lambda one: order[one.operation]):
        answered = f"{each.status} {each.kind}".strip()
        body = "" if not each.kind else "\n..." if each.answer is None else f"\n{_short(each.answer)}"
        parts.append(
            f"## {each.operation}\n\n{summary[each.operation]}.\n\n```http\n{each.request}\n\n{answered}{body}\n```\n"
        )
    return "\n".join(parts)


def held_in(page: str) -> dict[str, tuple[str, str]]:
    """What every section of the page holds, as `Example.held` tells it."""
    found = {}
    for name, block in re.findall(r"^## (\w+)$.*?^```http\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        request, answered, body = re.fullmatch(r"(.*?)\n\n(\d{3}[^\n]*)\n(.*)", block, flags=re.DOTALL).groups()
        names = sorted(re.findall(r'^ "([^"]+)":', body, flags=re.MULTILINE))
        found[name] = (request, " ".join([answered, *names]))
    return found


def _constant(text: str) -> str:
    for pattern, instead in _EVERY_TIME:
        text = re.sub(pattern, instead, text)
    return text


def _short(value: Any) -> str:
    """JSON that a reader sees at a glance: a member a line, and of what is long only the beginning."""
    if not isinstance(value, dict):
        return json.dumps(_cut(value))
    lines = [f" {json.dumps(name)}: {json.dumps(_cut(each))}" for name, each in value.items()]
    return "{\n" + ",\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..." for line in lines) + "\n}"


def _cut(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict):
        return {name: _cut(each, depth + 1) for name, each in value.items()} if depth < DEEPEST else "..."
    if isinstance(value, list):
        return [_cut(value[0], depth + 1), *["..."][: len(value) - 1]] if value else []
    if isinstance(value, float):
        return 0.5
    return _constant(value) if isinstance(value, str) else value
