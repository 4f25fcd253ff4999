"""Log lines: JSON, one object a line, in groups, without patient data.

Everything of a server goes to standard error as it did; what functions, the bus and the guard at the door say goes into
files of the home besides, a folder a group and a file a day, each line sealed by itself. A trace id follows one study
through all groups. `contracts/log-line.json` is the schema of a line.
"""

import base64
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from radloop.core.errors import Corrupt
from radloop.core.ports import Cipher

GROUPS: Final = (
    (re.compile(r"radloop\.functions\.([a-z_]+)"), "lambda/{}"),
    (re.compile(r"radloop\.events"), "events/radloop"),
    (re.compile(r"radloop\.iam"), "iam"),
    (re.compile(r"radloop\.(api|dimse)"), "healthimaging"),
)
"""Loggers and their groups, named as the log groups of AWS; whatever is none of them goes to `platform`."""

_OTHERS = "platform"
_SUFFIX = ".log"


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Send the lines of every radloop logger to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.setLevel(level)
    logger = logging.getLogger("radloop")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


def log_to_files(folder: Path, cipher: Cipher) -> None:
    """Keep the lines of every radloop logger in files below `folder` besides."""
    logger = logging.getLogger("radloop")
    logger.addHandler(LogFiles(folder, cipher))
    logger.setLevel(min(logger.level or logging.INFO, logging.INFO))


def tell(logger: logging.Logger, message: str, *, trace: str = "", **fields: str | float | list[str]) -> None:
    """One line of what goes well, with ids and codes of ours beside it."""
    logger.info(message, extra={"trace": trace, "fields": fields})


class JsonLines(logging.Formatter):
    """One JSON object a line, as `contracts/log-line.json` has it. Messages are ours and hold no patient data."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "group": group_of(record.name),
            "logger": record.name,
            "message": record.getMessage(),
            "trace": getattr(record, "trace", ""),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line)


class LogFiles(logging.Handler):
    """Appends each line, sealed, to the file of its group and day; several processes may write to the same.

    A line is written in one piece. What cannot be written is left out: no work may fail because its log does.
    """

    def __init__(self, folder: Path, cipher: Cipher) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonLines())
        self._folder = folder
        self._cipher = cipher
        self._files: dict[str, tuple[str, int]] = {}
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        group = group_of(record.name)
        sealed = self._cipher.seal(self.format(record).encode(), group.encode())
        try:
            with self._guard:
                os.write(self._file(group, record.created), base64.b64encode(sealed) + b"\n")
        except OSError:
            return

    def close(self) -> None:
        """See `logging.Handler.close`."""
        with self._guard:
            for _, descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()
        super().close()

    def _file(self, group: str, created: float) -> int:
        """The open file of a group, which changes at midnight UTC."""
        day = datetime.fromtimestamp(created, UTC).date().isoformat()
        known = self._files.get(group)
        if known is not None and known[0] == day:
            return known[1]
        if known is not None:
            os.close(known[1])
        folder = self._folder / group
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / f"{day}{_SUFFIX}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._files[group] = day, descriptor
        return descriptor


def group_of(logger: str) -> str:
    """The group of a logger.

    >>> group_of("radloop.functions.image_ingestion"), group_of("radloop.worker")
    ('lambda/image-ingestion', 'platform')
    """
    for pattern, group in GROUPS:
        found = pattern.fullmatch(logger)
        if found is not None:
            return group.format(*(part.replace("_", "-") for part in found.groups()))
    return _OTHERS


def lines_of(folder: Path, cipher: Cipher, *, group: str | None = None) -> Iterator[Mapping[str, Any]]:
    """The lines that were kept, day by day; of one group, or of all.

    Raises:
        Corrupt: A line was changed, or sealed under another key.
    """
    files = sorted(folder.rglob(f"*{_SUFFIX}"), key=lambda path: (path.name, str(path.parent)))
    for path in files:
        named = path.parent.relative_to(folder).as_posix()
        if group in {None, named}:
            yield from _opened(path, named, cipher)


def purge(folder: Path, days: float, now: datetime) -> int:
    """Remove the files of days that lie further back; returns how many."""
    oldest = (now - timedelta(days=days)).date().isoformat()
    old = [path for path in folder.rglob(f"*{_SUFFIX}") if path.name.removesuffix(_SUFFIX) < oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _opened(path: Path, group: str, cipher: Cipher) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            yield json.loads(cipher.open(base64.b64decode(line, validate=True), group.encode()))
        except (Corrupt, ValueError):
            raise Corrupt(f"line {number} of the log {group}/{path.name} does not open") from None
