"""Planted code: a step of the pipeline, run as it is but for one fault.

    python bench/gate_plants.py FAULT STEP [ARGUMENT ...]

What a fault changes is one function of the step, the way a careless or a clever change of the code would.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from radloop.pipeline.pipeline_builder import MODULES


def unguarded(step: ModuleType) -> None:
    """Guards look and report, and nothing stops: only to learn what accuracy would have said."""
    step.stop_where_failed = _nothing  # type: ignore[attr-defined]


def without_guards(step: ModuleType) -> None:
    """The parts are written as if nobody had looked."""
    write = step._write_manifests  # noqa: SLF001 — faults go where they hurt
    unguarded(step)
    step._write_manifests = partial(_unsigned, write)  # type: ignore[attr-defined]  # noqa: SLF001 — the same


def overconfident(step: ModuleType) -> None:
    """The temperature is not fitted but set to the coldest: every answer is sure."""
    step.fit_temperature = _coldest  # type: ignore[attr-defined]


def _nothing(_guards: object) -> None:
    """Looks at no guard."""


def _unsigned(
    write: Callable[..., None], root: Path, items: object, _guards: object, spec: object, **rest: object
) -> None:
    """Write the manifests with no guard in them."""
    write(root, items, [], spec, **rest)


def _coldest(*_given: object) -> float:
    """What `fit_temperature` never goes below."""
    return 0.05


FAULTS: dict[str, Callable[[ModuleType], None]] = {
    "unguarded": unguarded,
    "without-guards": without_guards,
    "overconfident": overconfident,
}


def main() -> int:
    """Run the step with its fault."""
    fault, name, *arguments = sys.argv[1:]
    step = import_module(MODULES[name.capitalize()])
    FAULTS[fault](step)
    return int(step.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
