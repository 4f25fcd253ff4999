"""One call of one entry in a process of its own, out of an unpacked package: python packaged.py FOLDER RUNTIME.

Standard input: the entries to call in turn and their events. Standard output, last line: the greatest resident size in
MB, what was answered, and which modules were loaded from elsewhere than the package and the runtime.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace


def peak_mb() -> float:
    """The greatest resident size of this program; `ru_maxrss` would count whoever started it, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(package: str, runtime: str) -> None:
    sys.path[:0] = [package, runtime]
    asked = json.loads(sys.stdin.read())
    os.environ.update(asked["environment"])
    context = SimpleNamespace(aws_request_id="request", memory_limit_in_mb=str(asked["memory_mb"]))
    answers = []
    for entry, event in asked["calls"]:
        module, _, name = entry.rpartition(".")
        answers.append(getattr(importlib.import_module(module), name)(event, context))
    folders = (package, runtime, str(Path(os.__file__).parent))
    places = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if "." not in name}
    foreign = sorted(name for name, place in places.items() if place and not place.startswith(folders))
    told = {
        "peak_mb": peak_mb(),
        "answers": answers,
        "foreign": [name for name in foreign if not name.startswith("__")],
    }
    sys.stdout.write(f"\n{json.dumps(told)}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
