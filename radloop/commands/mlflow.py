"""`radloop mlflow`: the registry as MLflow shows it."""

import sys
from importlib import metadata
from pathlib import Path

import click

from radloop.core.errors import InvalidInput
from radloop.local import mirror
from radloop.local.home import Home
from radloop.options import home_option, json_option
from radloop.terminal import print_facts


@click.group(short_help="Runs, metrics and versions, mirrored into MLflow.")
def mlflow() -> None:
    """Runs, metrics and versions, mirrored into MLflow: sync, ui. Needs the extra `mlflow`."""


@mlflow.command(short_help="Bring the mirror up to date.")
@home_option
@json_option
def sync(home: Path | None, as_json: bool) -> None:
    """Bring the mirror in the home's folder `mlflow` up to date.

    A server does so by itself after every registration and decision. Doing it again changes nothing.
    """
    place = _home(home)
    _require_extra()
    from radloop.wiring import open_local  # noqa: PLC0415 — a second's work that only this command needs

    with open_local(place.root) as installation:
        counts = mirror.sync(installation.platform, place.mlflow)
    print_facts({**counts, "store": mirror.store(place.mlflow)}, as_json)


@mlflow.command(short_help="How to look at the mirror.")
@home_option
@json_option
def ui(home: Path | None, as_json: bool) -> None:
    """Tell what to install and to run to look at the mirror in a browser; exit status 3 where something is missing."""
    place = _home(home)
    has_pages = _has_pages()
    missing = [] if has_pages else ["mlflow==3.17.2"]
    facts = {
        "missing": missing,
        "install": "" if has_pages else f"{Path(sys.executable).name} -m pip install {missing[0]}",
        "run": f"mlflow ui --backend-store-uri {mirror.store(place.mlflow)}",
        "is_mirrored": (place.mlflow / "mlflow.db").exists(),
    }
    print_facts(facts, as_json)
    if missing:
        sys.exit(3)


def _has_pages() -> bool:
    """Whether the whole of MLflow is installed; the extra brings the part without pages."""
    try:
        metadata.distribution("mlflow")
    except metadata.PackageNotFoundError:
        return False
    return mirror.is_installed()


def _home(home: Path | None) -> Home:
    return Home((home or Path("radloop-home")).resolve())


def _require_extra() -> None:
    """Go on only where MLflow is.

    Raises:
        InvalidInput: It is not installed.
    """
    if not mirror.is_installed():
        raise InvalidInput("MLflow is not installed: pip install 'radloop[mlflow]'")
