"""The jobs that ask a model: which kind of job is which question."""

from collections.abc import Callable, Mapping
from typing import Any

from radloop.core.errors import NotFound
from radloop.functions import drift, prediction
from radloop.functions.prediction import Consultant

Work = Callable[[Mapping[str, Any]], None]
"""Does a job by its payload."""


def work_of(consultant: Consultant) -> Mapping[str, Work]:
    """What does each kind of job of the lanes `ask` and `predict`."""
    return {
        prediction.PREDICT: lambda payload: consultant.predict(str(payload["image_set"])),
        prediction.ANSWER: lambda payload: consultant.answer(
            str(payload["ticket"]), str(payload["image_set"]), str(payload["by"])
        ),
        prediction.ASK_SHADOW: lambda payload: consultant.ask_shadow(str(payload["image_set"])),
        prediction.WRITE: lambda payload: consultant.write(str(payload["image_set"])),
        prediction.WATCH: lambda payload: _watch(int(payload["model_version"]), consultant),
    }


def _watch(version: int, consultant: Consultant) -> None:
    try:
        drift.watch(version, consultant.platform, consultant.champion)
    except NotFound:
        return  # the version's package is gone, and with it what could be compared
