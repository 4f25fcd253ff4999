"""A server of one installation, for tests: python -m tests.api.served FOLDER PORT PARENT. It dies with its parent."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from radloop.api.app import create_app
from radloop.local.processes import die_with_parent
from tests.api.installation import open_installation


def main(folder: Path, port: int, parent: int) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with open_installation(folder) as installation:
        app = create_app(installation.doors)
        server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
        asyncio.run(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
