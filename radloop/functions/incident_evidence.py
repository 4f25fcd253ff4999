"""The evidence of an incident in one signed archive: the report, and all of the audit of that time as it stands.

The entries follow each other without a gap, whoever made them, so that each proves the one before it, and the hash of
the last is a head that `radloop audit verify --head` finds in the chain for ever.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from typing import Any, Final

from radloop.core.errors import InvalidInput, TooLarge, Unavailable
from radloop.core.platform import Platform
from radloop.core.ports import Noted
from radloop.functions.incident_report import MOST_ENTRIES, entries_since, page_of, report_of
from radloop.registry.archive import BROKEN, Check, Files, checked, opened, sealed, written
from radloop.security.chain import GENESIS, link

FORMAT: Final = "radloop-incident/1"
AUDIT: Final = "audit.jsonl"
CHAIN: Final = "chain.json"
REPORT: Final = "report.json"


@dataclass(frozen=True, slots=True)
class Examined:
    """What became of an examination.

    Attributes:
        incident: Its id; None where that cannot be read.
        entries: Of the audit in the file.
        head: Hash of the last of them, to be looked for in the chain.
        public_key: By which the file says that it is signed.
        is_trusted: Whether that is a key the examiner brought along.
    """

    incident: str | None
    entries: int
    head: str | None
    public_key: str | None
    is_trusted: bool
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every check passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def evidence_of(identity: str, platform: Platform, *, since: str | None = None) -> bytes:
    """The evidence of an incident, from where it begins, or from `since`, until now.

    Raises:
        NotFound: There is no such incident.
        InvalidInput: `since` is no moment, or lies ahead.
        TooLarge: The audit of that time is longer than `MOST_ENTRIES`.
        Unavailable: This installation has no key to sign with.
    """
    if platform.signer is None:
        raise Unavailable("this installation has no key to sign evidence with")
    report = report_of(identity, platform, since=since)
    newest_first: list[Noted] = []
    for entry in entries_since(platform, datetime.fromisoformat(report["since"])):
        newest_first.append(entry)
        if len(newest_first) > MOST_ENTRIES:
            raise TooLarge(f"the audit of that time has more than {MOST_ENTRIES} entries; name a later since")
    entries = newest_first[::-1]
    files = {
        REPORT: written(report),
        "report.md": page_of(report).encode(),
        AUDIT: b"".join(json.dumps(asdict(entry), sort_keys=True).encode() + b"\n" for entry in entries),
        CHAIN: written(_chain(entries, platform)),
    }
    return sealed({"format": FORMAT, "incident": identity}, files, platform.signer)


def _chain(entries: list[Noted], platform: Platform) -> dict[str, Any]:
    """What the first entry follows, and where the last one ends."""
    if not entries:
        return {"before": GENESIS, "first": 0, "last": 0, "head": GENESIS}
    earlier = platform.audit.entries(before=entries[0].seq, limit=1) if entries[0].seq > 1 else []
    before = earlier[0].hash if earlier else GENESIS
    return {"before": before, "first": entries[0].seq, "last": entries[-1].seq, "head": entries[-1].hash}


def examine(data: bytes, public_key: str | None = None) -> Examined:
    """Look at every byte of such a file, and walk the entries in it.

    Args:
        data: The file.
        public_key: Of the installation, hexadecimal, known from elsewhere; None to use the one in the file, which shows
            that the file is whole and not who made it.
    """
    try:
        found = opened(data, FORMAT, public_key)
        identity = str(found.manifest["incident"])
    except (InvalidInput, KeyError):
        return Examined(None, 0, None, None, is_trusted=False, checks=(BROKEN,))
    checks, entries, head = list(found.checks), 0, None
    if all(check.passed for check in checks):
        walked, entries, head = _walked(found.files, identity)
        checks += walked
    return Examined(identity, entries, head, found.public_key, public_key is not None, tuple(checks))


def _walked(files: Files, identity: str) -> tuple[list[Check], int, str | None]:
    try:
        chain: Mapping[str, Any] = json.loads(files[CHAIN])
        entries = [Noted(**json.loads(line)) for line in files[AUDIT].splitlines()]
        named = json.loads(files[REPORT])["incident"]["id"]
        before, seq = str(chain["before"]), int(chain["first"])
        ends = (int(chain["last"]), str(chain["head"]))
    except (ValueError, KeyError, TypeError):
        return [Check("chain", passed=False, sentence="Report or audit are not there, or cannot be read.")], 0, None
    broken = None
    for place, entry in enumerate(entries):
        before = link(before, astuple(entry)[:-1])
        if broken is None and (entry.hash != before or entry.seq != seq + place):
            broken = entry.seq
    is_whole = broken is None and (not entries or ends == (entries[-1].seq, entries[-1].hash))
    checks = [
        checked("chain", is_whole, f"The {len(entries)} entries of the audit follow from each other without a gap.",
                f"The audit was changed at entry {broken}."),
        checked("report", named == identity, "The report tells of this incident.", "It tells of another incident."),
    ]  # fmt: skip
    return checks, len(entries), ends[1] if entries else None
