"""`radloop report`: the evaluation of a model version or of a run, as files."""

from pathlib import Path

import click

from radloop.client import reach
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts

_FILES = {
    "report": "report.html",
    "card": "model_card.md",
    "evaluation": "evaluation.json",
    "checklists": "checklists.json",
}


@click.command(short_help="Write the evaluation report of a model version or a run.")
@click.argument("subject", metavar="VERSION|EXECUTION")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@home_option
@server_option
@json_option
def report(subject: str, out: Path, home: Path | None, server: str | None, as_json: bool) -> None:
    """Write the evaluation report, the model card, the figures and the checklists of a model version to a folder.

    A run whose model the gate refused has no version; name the execution.
    """
    where = f"models/{int(subject)}" if subject.isascii() and subject.isdigit() else f"executions/{subject}"
    with reach(home, server) as client:
        found = {name: client.fetch(f"{where}/{place}") for place, name in _FILES.items()}
        gate = client.get(f"{where}/evaluation")["gate"]
    out.mkdir(parents=True, exist_ok=True)
    for name, data in found.items():
        (out / name).write_bytes(data)
    refused = [rule["name"] for rule in gate["rules"] if not rule["passed"]]
    print_facts({"approved": gate["approved"], "refused_by": refused, "report": str(out / "report.html")}, as_json)
