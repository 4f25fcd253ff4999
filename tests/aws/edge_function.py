"""A CloudFront function as it stands in infra/, run by Node: CloudFront's own runtime knows a subset of it."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

FUNCTIONS = Path(__file__).parents[2] / "infra" / "modules" / "cdn"

_LOOP = """
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  console.log(JSON.stringify(handler(JSON.parse(line))));
});
"""


class EdgeFunction:
    """One running function."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lock = Lock()

    def __call__(
        self, headers: Mapping[str, str], cookies: Mapping[str, str], *, method: str = "GET", uri: str = "/"
    ) -> dict[str, Any]:
        """What it gives for the event of a viewer's request (structure as in CloudFront's guide, `request` object)."""
        request = {
            "method": method,
            "uri": uri,
            "querystring": {},
            "headers": {name.lower(): {"value": value} for name, value in headers.items()},
            "cookies": {name: {"value": value} for name, value in cookies.items()},
        }
        event = {"version": "1.0", "context": {"eventType": "viewer-request"}, "request": request}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(event) + "\n")
            self._process.stdin.flush()
            told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


@contextmanager
def edge_function(name: str) -> Iterator[EdgeFunction]:
    """The function of this file, such as `cookie.js`."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    code = (FUNCTIONS / name).read_text() + _LOOP
    process = subprocess.Popen([node, "-e", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield EdgeFunction(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()
