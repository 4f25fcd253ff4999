"""The evaluation of a model version, or of a run whose model was refused and has no version, as people read it.

Whoever may read about models may read all of it but the pictures of the worst cases: those are for callers who may see
the images of every patient, and the page is made without them for the others.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import orjson
from starlette.responses import Response

from radloop.api.operations import Ask, Operation
from radloop.core.errors import NotFound
from radloop.core.ports import AuditEntry
from radloop.evaluation.report import report_of
from radloop.store.learning import PICTURES, REPORT

_BUCKET: Final = "model-artifacts"
_STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_JSON: Final = "application/json"
_MARKDOWN: Final = "text/markdown"
_HTML: Final = "text/html"
_FILES: Final = {
    "Report": ("report", "report.html", _HTML, "The evaluation report of {}: one page without script"),
    "Card": ("card", "model_card.md", _MARKDOWN, "The model card of {}"),
    "Evaluation": ("evaluation", "evaluation.json", "Evaluation", "Every figure of {}, and the gate with its rules"),
    "Checklists": ("checklists", "checklists.json", "Checklists", "CLAIM, TRIPOD+AI and GMLP for {}, filled in"),
}


def policy_of(page: str) -> str:
    """The content security policy of a page that holds all it needs: its own style, pictures in it, nothing else."""
    styles = (base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in _STYLE.findall(page))
    named = " ".join(f"'sha256-{style}'" for style in styles) or "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src {named}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox"
    )


def _version(ask: Ask) -> tuple[str, str]:
    """Where the evaluation of a model version lies, and its id."""
    model = ask.doors.platform.models.get(ask.path["version"])
    return model.reports, f"model-{model.version}"


def _execution(ask: Ask) -> tuple[str, str]:
    """The same of a run."""
    execution = ask.doors.platform.pipelines.get(ask.path["id"])
    bucket = execution.parameters.get("ArtifactBucket", _BUCKET)
    return f"{bucket}/models/{execution.id}", execution.id


def _giver(find: Callable[[Ask], tuple[str, str]], name: str, kind: str) -> Callable[[Ask], Response]:
    def answer(ask: Ask) -> Response:
        folder, what = find(ask)
        if kind == _HTML:
            return _page(ask, folder, what)
        media = kind if "/" in kind else _JSON
        return Response(_file(ask, folder, what, name), media_type=media)

    return answer


def _page(ask: Ask, folder: str, what: str) -> Response:
    """The report, with its pictures only for who may see images; that they were seen is noted."""
    platform, principal = ask.doors.platform, ask.principal
    if platform.policy.allows(principal, "image.read") and principal.patients is None:
        page = _whole_page(ask, folder, what)
        platform.audit.record(AuditEntry(principal.id, "model.report", what))
    else:
        evaluation, checklists = (_json(ask, folder, what, f"{name}.json") for name in ("evaluation", "checklists"))
        page = report_of(evaluation, checklists, None)
    return Response(page, media_type=_HTML, headers={"Content-Security-Policy": policy_of(page)})


def _whole_page(ask: Ask, folder: str, what: str) -> str:
    """The report as the run wrote it; made anew where it is gone because one of its image sets was deleted."""
    blobs = ask.doors.platform.blobs
    try:
        return blobs.get(f"{folder}/{REPORT}").decode()
    except NotFound:
        evaluation, checklists = (_json(ask, folder, what, f"{name}.json") for name in ("evaluation", "checklists"))
        names = [key.removeprefix(f"{folder}/") for key in blobs.keys(f"{folder}/{PICTURES}/")]
        return report_of(evaluation, checklists, {name: blobs.get(f"{folder}/{name}") for name in names})


def _json(ask: Ask, folder: str, what: str, name: str) -> Any:
    return orjson.loads(_file(ask, folder, what, name))


def _file(ask: Ask, folder: str, what: str, name: str) -> bytes:
    try:
        return ask.doors.platform.blobs.get(f"{folder}/{name}")
    except NotFound:
        raise NotFound(f"{what} has no {name}") from None


def _rows() -> tuple[Operation, ...]:
    """Four files of a version, and the same four of a run."""
    return tuple(
        Operation(
            f"get{whose}{noun}",
            "GET",
            f"{address}/{place}",
            summary.format(words),
            kind,
            _giver(find, name, kind),
            refusals=(404,),
            action="model.read",
        )
        for whose, address, words, find in (
            ("Model", "/models/{version:int}", "a model version", _version),
            ("Execution", "/executions/{id}", "a run of the pipeline", _execution),
        )
        for noun, (place, name, kind, summary) in _FILES.items()
    )


REPORTS: Final = _rows()
"""Rows of the table of operations."""
