"""The drill: an incident from the first reading to the last word, in a home that is made for it and thrown away.

All parts are those of an installation: the store, its doors' guard, the audit, the worker with its watch, the accounts,
the key that signs. Only the patients and the reader are made up.
"""

import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from radloop.core.errors import Unauthenticated
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.dicom.make import xray_instance
from radloop.functions.incident_evidence import evidence_of, examine
from radloop.functions.incident_report import page_of, report_of
from radloop.functions.incidents import close, incidents, release, tell
from radloop.registry.archive import written
from radloop.security.accounts import Session
from radloop.security.incidents import Incident, Which
from radloop.wiring import Installation, open_local

NOTICED_WITHIN_S: Final = 60.0

_SETTINGS: Final = "mlflow = false\npredict_new = false\n"
_READER: Final = "drill"
_SIDE: Final = 32  # pixels


@dataclass
class _Steps:
    told: list[dict[str, Any]] = field(default_factory=list)

    def note(self, step: str, found: str, *, ok: bool) -> None:
        self.told.append({"step": step, "ok": ok, "found": found})


def walk(out: Path | None = None) -> list[dict[str, Any]]:
    """Every step with whether it was as it should be, and what was found; the first that fails ends the drill.

    Args:
        out: A folder in which report and evidence are kept; None keeps nothing.
    """
    steps = _Steps()
    with tempfile.TemporaryDirectory(prefix="radloop-drill-") as folder:
        root = Path(folder) / "home"
        root.mkdir(mode=0o700)
        (root / "settings.toml").write_text(_SETTINGS)
        with open_local(root) as installation:
            files = _drilled(installation, steps)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (out / name).write_bytes(data)
    return steps.told


def _drilled(installation: Installation, steps: _Steps) -> dict[str, bytes]:
    """The walk itself; returns the files that it leaves."""
    platform, people = installation.platform, installation.identities
    password = secrets.token_urlsafe(16)
    user = people.create_user(_READER, password, roles=["reader"], patients=None, by=OWNER)
    session = people.sign_in(_READER, password)
    image_sets = _made_up(installation, platform.settings.isolate_patients + 1)
    with _watched(installation):
        images = installation.doors().images_of(people.of_session(session.token))
        for each in image_sets:
            images.look(each)
        read_at = platform.clock()
        steps.note("read", f"a reader opened {len(image_sets)} patients", ok=True)
        noticed = _noticed(installation, user.id)
    if noticed is None or noticed.isolated_at is None:
        steps.note("noticed", f"not within {NOTICED_WITHIN_S:g} s", ok=False)
        return {}
    seconds = (datetime.fromisoformat(noticed.isolated_at) - read_at).total_seconds()
    steps.note("noticed", f"incident {noticed.id} after {max(seconds, 0):.1f} s", ok=seconds <= NOTICED_WITHIN_S)
    _kept_out(installation, session, password, steps)
    names = [told.event.detail["alarm"] for told in platform.bus.events(limit=100, newest_first=True)
             if told.event.detail_type == "AlarmStateChanged"]  # fmt: skip
    steps.note("told", f"event AlarmStateChanged of {', '.join(names)}", ok="incident-many-patients" in names)
    ends = ", ".join(f"{name} {clock.ends_at}" for name, clock in noticed.clocks.items())
    steps.note("clocks", ends, ok=len(noticed.clocks) == len(Which))
    report = report_of(noticed.id, platform)
    steps.note(
        "report",
        f"{report['patients_affected']} patients affected, {len(report['open_points'])} points open",
        ok=report["patients_affected"] == len(image_sets),
    )
    evidence = evidence_of(noticed.id, platform)
    _examined(installation, evidence, steps)
    release(user.id, platform, by=OWNER.id)
    steps.note("released", "the reader signs in again", ok=_signs_in(installation, password))
    for which in Which:
        tell(noticed.id, which, platform, by=OWNER.id)
    ended = close(noticed.id, "handled", platform, by=OWNER.id)
    steps.note("closed", f"both clocks stopped, {ended.outcome}", ok=not ended.is_open)
    page = page_of(report).encode()
    return {"report.md": page, "report.json": written(report), "evidence.zip": evidence}


def _made_up(installation: Installation, count: int) -> list[str]:
    """Image sets of so many patients that there are not."""
    pixels = np.zeros((_SIDE, _SIDE), np.uint8)
    uploads = [Upload(xray_instance(pixels, patient_id=f"DRILL-{number:04d}")) for number in range(count)]
    landings = installation.images.land(uploads, by=OWNER)
    return [str(landing.image_set) for landing in landings]


@contextmanager
def _watched(installation: Installation) -> Iterator[None]:
    """The home's own worker runs meanwhile, which watches."""
    worker = installation.worker()
    running = threading.Thread(target=worker.run, name="drill-worker", daemon=True)
    running.start()
    try:
        yield
    finally:
        worker.stop()
        running.join()


def _noticed(installation: Installation, principal: str) -> Incident | None:
    """The incident of this principal, once they are kept out; the last that was found, once the time is over."""
    until, found = time.monotonic() + NOTICED_WITHIN_S, None
    while time.monotonic() < until:
        theirs = [each for each in incidents(installation.platform) if each.principal == principal]
        found = theirs[0] if theirs else None
        if found is not None and found.isolated_at is not None:
            break
        time.sleep(0.2)
    return found


def _kept_out(installation: Installation, session: Session, password: str, steps: _Steps) -> None:
    is_over = False
    try:
        installation.identities.of_session(session.token)
    except Unauthenticated:
        is_over = True
    steps.note("isolated", "the session is over, and nobody signs in under that name",
               ok=is_over and not _signs_in(installation, password))  # fmt: skip


def _signs_in(installation: Installation, password: str) -> bool:
    with suppress(Unauthenticated):
        installation.identities.sign_in(_READER, password)
        return True
    return False


def _examined(installation: Installation, evidence: bytes, steps: _Steps) -> None:
    signer = installation.platform.signer
    whole = examine(evidence, None if signer is None else signer.public_key)
    changed = bytearray(evidence)
    changed[len(changed) // 2] ^= 1
    is_found = not examine(bytes(changed)).holds
    in_chain = installation.platform.audit.verify(whole.head).holds_head
    found = "a changed byte is found" if is_found else "a changed byte is not found"
    steps.note(
        "evidence",
        f"{len(evidence)} bytes with {whole.entries} entries of the audit; {found}",
        ok=whole.holds and is_found and in_chain,
    )
