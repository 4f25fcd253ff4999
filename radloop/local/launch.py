"""Becomes another command that dies with its parent and never runs twice at once.

    python -m radloop.local.launch PARENT LOCK -- COMMAND...

PARENT is the process id of the runner, LOCK an open file descriptor that is inherited. A runner that is killed leaves
its training behind as an orphan, and the runner that resumes would start a second one beside it: two trainings write
one folder. Three things before COMMAND replaces this process (`exec`, so that no process stands between) prevent it:

1. `prctl(PR_SET_PDEATHSIG, SIGKILL)`: the kernel kills this process when the thread that started it ends. It outlives
   the exec. Doing it here, in a program of its own, keeps Python's `preexec_fn` out of a runner with threads.
2. The parent may have died before that call: then the parent is another one now, and we end.
3. An exclusive `flock` on LOCK, which COMMAND keeps open. Should a process survive all the same, the lock it holds
   makes the next runner wait. A lock is let go by the kernel alone, when the last holder is gone.
"""

import fcntl
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from radloop.local.processes import die_with_parent

LOCKED = 125


def main(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the command.

    Raises:
        SystemExit: The command may not run: with 1 where the parent is gone, with LOCKED where the lock is held.
    """
    parent, lock, _, *command = arguments
    die_with_parent(int(parent))
    try:
        fcntl.flock(int(lock), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(LOCKED)
    os.execvp(command[0], command)  # noqa: S606 — the command is the definition's, without a shell


if __name__ == "__main__":
    main(sys.argv[1:])
