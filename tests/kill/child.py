"""Processes that are there to be killed.

`land HOME FIRST` lands phantoms from number FIRST on and prints every instance once it is acknowledged.
`work HOME` is the worker of the home; its pipeline's steps only pretend, unless RADLOOP_KILL_REAL is set.

python -m tests.kill.child SOCKET is the nursery that both come from: it has imported what they need, which takes longer
than most of them live, and opens nothing. Each victim is a fork of it, with memory, files and locks of its own.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from radloop import wiring
from radloop.core.identity import OWNER
from radloop.core.ports import Upload
from radloop.local.processes import die_with_parent
from radloop.pipeline.pipeline_builder import definition_of
from tests.local.pipeline_home import pretending
from tests.store.house import of_patient, open_house, phantom


def land(root: Path, first: int) -> None:
    with open_house(root) as house:
        house.images.sweep()
        phantom()
        print("ready", flush=True)
        for number in range(first, first + 1000):
            for file in of_patient(number):
                (landing,) = house.images.land([Upload(file)], by=OWNER)
                print(f"{number} {landing.instance}", flush=True)


def work(root: Path) -> None:
    if "RADLOOP_KILL_REAL" not in os.environ:
        wiring.definition_of = pretend(root)  # type: ignore[assignment]
    with wiring.open_local(root) as installation:
        worker = installation.worker()
        worker.start_over()
        print("ready", flush=True)
        worker.run()


def pretend(root: Path) -> Any:
    environment = {"FAKE_EPOCH_S": os.environ.get("FAKE_EPOCH_S", "0"), "FAKE_PARTS_MAY_BE_EMPTY": "1"}
    return lambda recipe: pretending(definition_of(recipe), root, environment)


def nursery(asking: socket.socket) -> None:
    """Fork a victim for each message `[arguments, environment]`, which brings its standard output; answers its pid."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    phantom()
    while True:
        words, (printing,), _, _ = socket.recv_fds(asking, 1 << 16, 1)
        if not words:
            return
        pid = os.fork()
        if pid == 0:
            live(*json.loads(words), printing)
        os.close(printing)
        asking.sendall(f"{pid}\n".encode())


def live(arguments: list[str], environment: dict[str, str], printing: int) -> None:
    """Be a victim; it never returns."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(printing, sys.stdout.fileno())
    os.environ.update(environment)
    try:
        if arguments[0] == "land":
            land(Path(arguments[1]), int(arguments[2]))
        else:
            work(Path(arguments[1]))
    finally:
        os._exit(1)


if __name__ == "__main__":
    die_with_parent()
    nursery(socket.socket(fileno=int(sys.argv[1])))
