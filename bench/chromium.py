"""Debian's Chromium without a screen, with the switches that make its figures steady, and what it takes in memory."""

import json
import os
import shutil
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from peers import family
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

PHONE = {"width": 412, "height": 915}
DESKTOP = {"width": 1280, "height": 800}
SMALL_RASTER = 0.16  # device pixels per CSS pixel: without a GPU, painting a whole phone is what would be measured
_SWITCHES = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu-compositing",  # software puts the page together faster without a GPU made of software
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--enable-precise-memory-info",
]
_WATCH = Path(__file__).with_name("watch.js")
_MB = 1e6
_ANSWERED_S = 10.0


def missing() -> str | None:
    """Why no browser can be driven here."""
    return None if shutil.which("chromium") else "Chromium is not installed (make browser)"


@contextmanager
def chromium(certificate: Path) -> Iterator[Browser]:
    """A browser that takes a server's certificate, PEM, for good, and no other that it would not."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    trusted = b64encode(sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()
    switches = [*_SWITCHES, f"--ignore-certificate-errors-spki-list={trusted}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=switches)
        yield browser
        browser.close()


@contextmanager
def fresh_page(browser: Browser, *, is_phone: bool = True, is_small: bool = False) -> Iterator[Page]:
    """A page with nothing in its caches and no connection open, which is watched."""
    scale = SMALL_RASTER if is_small else 1.0
    context: BrowserContext = browser.new_context(
        viewport=PHONE if is_phone else DESKTOP,  # type: ignore[arg-type] — a TypedDict of the same
        is_mobile=is_phone,
        has_touch=is_phone,
        device_scale_factor=scale,
    )
    context.add_init_script(path=_WATCH)
    page = context.new_page()
    page.set_default_timeout(60_000)
    try:
        yield page
    finally:
        context.close()


def slow_down(page: Page, times: float) -> None:
    """Let the page's main thread have that much less of the processor; its workers are not slowed."""
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": times})


@dataclass(frozen=True, slots=True)
class Memory:
    """What a tab takes, in MB.

    Attributes:
        script: JavaScript heaps in use, of the page and its workers.
        buffers: ArrayBuffers and the memory of WebAssembly.
        resident: Resident set of the whole renderer process.
        workers: How many were counted.
    """

    script: float
    buffers: float
    resident: float
    workers: int

    @property
    def heap(self) -> float:
        """What counts against a tab's limit."""
        return self.script + self.buffers


def memory(page: Page) -> Memory:
    """Of the tab that shows `page`; other tabs should be closed.

    No figure of a heap counts WebAssembly. That of the page is looked up there. A worker that decodes does not answer
    such questions, so that of ours is what our viewer tells, and of another viewer's workers none.
    """
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    wasm = _wasm(session) + page.evaluate("() => window.radloopStats?.().heap?.wasm ?? 0")
    told = [session.send("Runtime.getHeapUsage"), *(ask("Runtime.getHeapUsage") for ask in _workers(session))]
    session.detach()
    script = sum(each["usedSize"] + each["embedderHeapUsedSize"] for each in told)
    buffers = sum(each["backingStorageSize"] for each in told) + wasm
    return Memory(script / _MB, buffers / _MB, resident_mb(), len(told) - 1)


def _wasm(session: CDPSession) -> float:
    """Bytes of all WebAssembly memories of a page."""
    prototype = session.send("Runtime.evaluate", {"expression": "WebAssembly.Memory.prototype"})["result"]["objectId"]
    memories = session.send("Runtime.queryObjects", {"prototypeObjectId": prototype})["objects"]["objectId"]
    total = "function () { return this.reduce((sum, each) => sum + each.buffer.byteLength, 0); }"
    asked = {"objectId": memories, "functionDeclaration": total, "returnByValue": True}
    return float(session.send("Runtime.callFunctionOn", asked)["result"]["value"])


def _workers(session: CDPSession) -> list[Callable[[str], dict[str, Any]]]:
    """How to ask each dedicated worker of a page: their messages travel within those of the page."""
    ids: list[str] = []
    answers: dict[tuple[str, int], dict[str, Any]] = {}

    def received(event: dict[str, Any]) -> None:
        answer = json.loads(event["message"])
        if "id" in answer:
            answers[event["sessionId"], answer["id"]] = answer

    session.on("Target.attachedToTarget", lambda event: ids.append(event["sessionId"]))
    session.on("Target.receivedMessageFromTarget", received)
    session.send("Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False})
    numbers = count(1)

    def ask(worker: str, method: str) -> dict[str, Any]:
        key = worker, next(numbers)
        message = json.dumps({"id": key[1], "method": method})
        session.send("Target.sendMessageToTarget", {"sessionId": worker, "message": message})
        until = time.monotonic() + _ANSWERED_S
        while key not in answers and time.monotonic() < until:
            session.send("Runtime.evaluate", {"expression": "0"})  # lets events come in
            time.sleep(0.01)
        found: dict[str, Any] = answers.pop(key)["result"]
        return found

    return [partial(ask, worker) for worker in ids]


def resident_mb() -> float:
    """Resident set of the largest renderer below this process."""
    return max((_resident_kb(pid) for pid in family(os.getpid()) if _is_renderer(pid)), default=0) * 1024 / _MB


def _is_renderer(pid: int) -> bool:
    try:
        return b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
