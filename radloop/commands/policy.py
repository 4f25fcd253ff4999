"""`radloop policy`: what the gate demands of a model."""

from pathlib import Path

import click

from radloop.evaluation.policy import FILE, load, shipped
from radloop.local.home import Home
from radloop.options import home_option, json_option
from radloop.terminal import print_facts

_DEFAULT_HOME = Path("radloop-home")


@click.group(short_help="What the gate demands of a model: show, check.")
def policy() -> None:
    """What the gate demands of a model: show the policy of a home, check a file."""


@policy.command()
@home_option
@json_option
def show(home: Path | None, as_json: bool) -> None:
    """Print the policy of a home: its policy.yaml, or the one that radloop comes with."""
    path = Home(home or _DEFAULT_HOME).root / FILE
    text = path.read_text(encoding="utf-8") if path.exists() else shipped()
    found = load(text)
    if as_json:
        print_facts({"sha256": found.sha256, "own": path.exists(), "policy": found.to_json()}, as_json=True)
        return
    click.echo(text.rstrip())
    click.echo(f"\n# SHA-256 of its canonical form: {found.sha256}")


@policy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Say whether a file is a policy; else what is wrong in which line, with exit status 1."""
    found = load(file.read_text(encoding="utf-8", errors="replace"))
    print_facts({"sha256": found.sha256, "off": found.off(), "valid": True}, as_json)
