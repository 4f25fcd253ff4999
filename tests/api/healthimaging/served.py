"""A server and the worker of one home, for tests: python -m tests.api.healthimaging.served HOME PORT PARENT MODE.

MODE is `open`, where every caller is the owner, or `closed`, where access keys decide.
"""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from radloop.api.app import create_app
from radloop.local.processes import die_with_parent
from radloop.wiring import open_local

HOSTS = frozenset({"ahi.test"})


def main(home: Path, port: int, parent: int, mode: str) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with open_local(home) as installation:
        worker = installation.worker()
        worker.start_over()
        threading.Thread(target=worker.run, daemon=True).start()
        app = create_app(installation.doors(hosts=HOSTS, is_open=mode == "open"))
        server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
        asyncio.run(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
