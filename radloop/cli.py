"""The command `radloop`: loads the command that is asked for and nothing else, and says in one line why it failed.

What is loaded here stays in memory as long as `radloop up` runs.
"""

import sys
from importlib import import_module
from typing import Any

import click

from radloop import __version__
from radloop.core.errors import Conflict, RadloopError, Unavailable

_COMMANDS = {
    "up": "Run doors, viewer and worker.",
    "ingest": "Take in DICOM files and folders.",
    "import-images": "Turn labelled PNG and JPEG X-rays into DICOM.",
    "phantom": "Write phantom chest CT studies as DICOM.",
    "export": "Write image sets back as they came in.",
    "packs": "Static packs of an image set, for any web server or CDN.",
    "verify": "Make a finding ground truth; where a project asks for several reads, add yours.",
    "reads": "Reads, agreement of readers, adjudication.",
    "provenance": "Who said what of an image set, as DICOM SR or FHIR.",
    "train": "Retrain now, and wait for the verdict.",
    "executions": "Runs of the training pipeline, newest first.",
    "snapshots": "Data sets that were trained on: list, show, diff.",
    "retire": "Never test or train on these patients again.",
    "policy": "What the gate demands of a model: show, check.",
    "models": "Registered model versions, newest first.",
    "report": "Write the evaluation report of a model version or a run.",
    "events": "What happened, newest first.",
    "pccp": "The change control plan: init, keygen, register, revoke, sign, check.",
    "serving": "Which model served when, approved by whom.",
    "rollback": "Take the model in use back.",
    "evidence": "Everything a model version rests on, in one signed file.",
    "mlflow": "Runs, metrics and versions, mirrored into MLflow.",
    "predict": "Ask the champion model about an image set, or about all new ones.",
    "drift": "Whether what comes in is still what the model was made from.",
    "alarms": "What is wrong now; whether messages about it arrive.",
    "doctor": "The deployment checklist, box by box, for this home or an AWS account.",
    "cost": "What a load costs on AWS, line by line: that of the brief, or yours.",
    "demo": "Walk the whole loop on phantoms.",
    "users": "People who sign in: create, list, password, disable.",
    "logs": "The home's log lines, by group and by trace.",
    "audit": "Who did what, kept as a chain of hashes.",
    "incident": "Patients' data have got out: who, whose, both clocks.",
    "credentials": "Access keys and bearer tokens for programs.",
    "login": "Sign in at the user pool of an installation on AWS.",
    "logout": "End a sign-in at a user pool.",
    "token": "An access token of a sign-in, for other programs.",
    "quarantine": "What could not be accepted, and the ways out.",
    "jobs": "Jobs that were given up on: list, show, retry, discard.",
    "fsck": "Look whether everything stored is whole.",
    "conform": "Check any DICOMweb server against the standard.",
}
"""What `--help` says of each, in the order of the loop; `radloop a-b` is `radloop.commands.a_b.a_b`."""

_EXIT = {Conflict.code: 4, Unavailable.code: 5}


class Commands(click.Group):
    """Turns our errors into one line and an exit status: 1 input or refusal, 4 conflict, 5 unavailable."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 — click's signature
        """The commands in the order of the loop, which is the order they are written in here."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 — click's signature
        """The command itself, loaded now, in place of what stands in for it."""
        if cmd_name not in self.commands:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"radloop.commands.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 — click's signature
        """What `--help` says of each command, without loading them all."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except RadloopError as error:
            _complain(f"{error} [{error.code}]")
            ctx.exit(_EXIT.get(error.code, 1))
        except Exception as error:
            silence = _silence(error)
            if silence is None:
                raise
            _complain(silence)
            ctx.exit(5)


def _complain(sentence: str) -> None:
    from radloop.terminal import ERRORS  # noqa: PLC0415 — with rich, which few commands need where nothing fails

    ERRORS.print(f"radloop: {sentence}", style="red", markup=False, soft_wrap=True)


def _silence(error: Exception) -> str | None:
    """Why a server gave no answer; None where the error is another."""
    if "httpx" not in sys.modules:
        return None
    import httpx  # noqa: PLC0415 — only what loaded it can fail of it

    from radloop.client import silence_of  # noqa: PLC0415 — the same

    return silence_of(error) if isinstance(error, httpx.HTTPError) else None


@click.group(
    cls=Commands,
    commands=[click.Command(name) for name in _COMMANDS],  # stand in; click guesses from them what was meant
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="radloop")
def main() -> None:
    """Scans in, kept losslessly, seen, verified, learned from, served. Not a medical device."""


if __name__ == "__main__":
    main()
