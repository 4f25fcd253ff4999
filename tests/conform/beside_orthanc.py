"""Orthanc and the checker inside one network namespace: python -m tests.conform.beside_orthanc FOLDER PARENT.

Each group meets an Orthanc of its own, so that what kills one is told apart from what the next would find. The report
is FOLDER/report.json: what was found by check, and how each Orthanc ended.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from radloop.conform.report import as_json
from radloop.conform.run import run
from radloop.conform.session import Session
from radloop.conform.table import GROUPS, chosen
from radloop.conform.wire import Server
from radloop.local.processes import die_with_parent

PLUGINS = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/share/orthanc/plugins/libOrthancGdcm.so")
PORT = 18042
SINGLY = {"fatal": ("fatal-ct-as-jpeg-ls", "fatal-bytes-as-jpeg-ls", "fatal-thousands-deep")}
"""Checks that each get an Orthanc of their own, because few survive them."""

TRIES = 3
"""Times a group is tried: now and then an Orthanc dies of something we have not understood."""


def main(folder: Path, parent: int) -> None:
    die_with_parent(parent)
    checks: dict[str, Any] = {}
    ends: dict[str, int] = {}
    for names in [(name,) for group in GROUPS for name in SINGLY.get(group.id, (group.id,))]:
        for _ in range(TRIES if len(names[0].split("-")) == 1 else 1):
            found, ends[names[0]] = met(folder, names)
            if ends[names[0]] == 0:
                break
        checks |= {check["id"]: check for check in found["checks"] if not check["id"].endswith("-alive")}
    (folder / "report.json").write_text(json.dumps({"checks": checks, "ends": ends}))


def met(folder: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], int]:
    """The report of these checks on a fresh Orthanc, and how it ended: below zero by a signal."""
    home = folder / "orthanc"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    settings = home / "orthanc.json"
    settings.write_text(json.dumps(configuration(home)))
    with (folder / "orthanc.log").open("ab") as log:
        process = subprocess.Popen(["Orthanc", str(settings)], stdout=log, stderr=log)
    try:
        wait_for(process)
        server = Server(f"http://127.0.0.1:{PORT}/dicom-web", timeout_s=30)
        report = as_json(run(chosen(names), Session(server)))
        server.close()
    finally:
        process.terminate()
        status = process.wait(30)
    return report, status


def configuration(home: Path) -> dict[str, Any]:
    return {
        "StorageDirectory": str(home),
        "IndexDirectory": str(home),
        "HttpPort": PORT,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": list(PLUGINS),
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }


def wait_for(process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "Orthanc ended before it answered"
        try:
            httpx.get(f"http://127.0.0.1:{PORT}/system")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("Orthanc did not answer")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
