"""`radloop evidence`: everything a model version rests on in one file, and whether such a file is true."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from radloop.client import reach
from radloop.core.errors import Conflict, InvalidInput
from radloop.options import home_option, json_option, server_option
from radloop.registry.evidence import Examined, examine
from radloop.registry.signatures import fingerprint, public_key_of
from radloop.terminal import ERRORS, print_facts, print_items


@click.group(short_help="Everything a model version rests on, in one signed file.")
def evidence() -> None:
    """Everything a model version rests on, in one signed file: export, verify, key."""


@evidence.command(short_help="Write the evidence of a version.")
@click.argument("version", type=click.IntRange(1))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@click.option("--with-package", is_flag=True, help="Put the model itself in, and not its hashes alone.")
@home_option
@server_option
@json_option
def export(
    *, version: int, out: Path, with_package: bool, home: Path | None, server: str | None, as_json: bool
) -> None:
    """Write the evidence of a model version; a file that is there is not written over."""
    if out.exists():
        raise Conflict(f"{out.name} is there already")
    with reach(home, server) as client:
        data = client.fetch(f"models/{version}/evidence?package={int(with_package)}")
    out.write_bytes(data)
    print_facts({"file": str(out), "bytes": len(data)}, as_json)


@evidence.command(short_help="Check such a file, without a home or a server.")
@click.argument("file", type=click.Path(exists=True, path_type=Path, dir_okay=False))
@click.option("--key", "key", metavar="KEY", help="Public key of the installation: a PEM file, or 64 hex digits.")
@json_option
def verify(file: Path, key: str | None, as_json: bool) -> None:
    """Check a file of evidence, byte for byte; exit status 3 where anything is not as it was signed.

    It takes no home, no server and no network, only the installation's public key. Without --key the key in the file is
    used: then the file is known to be whole, and not who made it.
    """
    examined = examine(file.read_bytes(), None if key is None else key_of(key))
    if as_json:
        print_facts({**asdict(examined), "holds": examined.holds}, as_json=True)
    else:
        _tell(examined)
    if not examined.holds:
        sys.exit(3)


@evidence.command("key", short_help="The public key that such files are checked with.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write it as PEM instead.")
@home_option
@server_option
@json_option
def key_(out: Path | None, home: Path | None, server: str | None, as_json: bool) -> None:
    """The public key that evidence of this installation is checked with."""
    with reach(home, server) as client:
        found = client.get("models/evidence-key")
    if out is not None:
        out.write_text(found["pem"])
    print_facts({"public_key": found["public_key"], "fingerprint": found["fingerprint"]}, as_json)


def key_of(stated: str) -> str:
    """The public key that an option names or holds."""
    path = Path(stated)
    try:
        return public_key_of(path.read_bytes() if path.is_file() else stated.encode())
    except OSError:
        raise InvalidInput("--key names no readable file and is no key") from None


def _tell(examined: Examined) -> None:
    checks = [
        {"": "ok" if each.passed else "NO", "check": each.name, "found": each.sentence} for each in examined.checks
    ]
    print_items({"items": checks}, ["", "check", "found"], as_json=False)
    if examined.absent:
        ERRORS.print(f"The installation did not have: {', '.join(examined.absent)}.", style="yellow", markup=False)
    if examined.holds and not examined.is_trusted and examined.public_key is not None:
        key = fingerprint(examined.public_key)
        told = f"The file is whole. Whether it comes from whom you think, its key tells: {key}"
        ERRORS.print(told, style="yellow", markup=False)
