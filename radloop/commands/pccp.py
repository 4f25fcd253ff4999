"""`radloop pccp`: the predetermined change control plan, from writing to checking."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from radloop.client import reach
from radloop.core.errors import InvalidInput, RadloopError
from radloop.core.identity import OWNER
from radloop.core.ports import AuditEntry, Change, PlanSigner
from radloop.local.plans import FilePlans, read_private_key, read_public_key, sign_plan
from radloop.options import home_option, json_option, server_option
from radloop.registry.signatures import fingerprint
from radloop.terminal import ERRORS, print_facts, print_items

_key_option = click.option(
    "--key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the signer's private key, PEM [in the home]. Its password is taken from RADLOOP_KEY_PASSWORD.",
)


@click.group(short_help="The change control plan: init, keygen, register, revoke, sign, check.")
def pccp() -> None:
    """The predetermined change control plan: what may change by itself, and who signed for it."""


@pccp.command(short_help="Write a plan for this home.")
@click.option("--author", required=True, metavar="ID", help="Who writes it, opaque; may not sign it.")
@click.option("--name", default="plan", show_default=True, help="What it is called.")
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="How long it is valid.")
@click.option("--new-patients", default=10, show_default=True, type=click.IntRange(0), help="New patients a version.")
@click.option("--gpu", is_flag=True, help="Foresee the recipe of a machine with a GPU, as AWS has it.")
@home_option
@json_option
def init(*, author: str, name: str, days: int, new_patients: int, gpu: bool, home: Path | None, as_json: bool) -> None:
    """Write pccp.yaml: a plan that foresees what the home does today, to be read, narrowed down and signed."""
    from radloop.change_plan import write_plan  # noqa: PLC0415 — loads the wiring, which no other command here needs

    root = _root(home)
    with _audited(root, "plan.write", author):
        plan = write_plan(root, author=author, name=name, days=days, new_patients=new_patients, gpu=gpu)
    facts = {"file": str(root / "pccp.yaml"), "valid_until": str(plan.valid_until), "to_sign": list(plan.signatures)}
    print_facts(facts, as_json)


@pccp.command(short_help="Make a signer's key pair.")
@click.argument("signer")
@click.option("--role", required=True, metavar="ROLE", help="In which they sign, such as release-approver.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the private key goes [the home].")
@home_option
@json_option
def keygen(signer: str, role: str, out: Path | None, home: Path | None, as_json: bool) -> None:
    """Make a key pair for a signer and let their signature count.

    The private key is sealed where RADLOOP_KEY_PASSWORD holds a password; in any case only its owner may read the file.
    """
    root = _root(home)
    with _audited(root, "plan.signer.add", signer):
        path = FilePlans(root).generate(signer, role, place=out, password=_password())
    public = read_private_key(path, _password()).public_key
    if _password() is None:
        ERRORS.print("The private key is not sealed: whoever can read the file can sign.", style="yellow")
    print_facts({"signer": signer, "role": role, "key": str(path), "fingerprint": fingerprint(public)}, as_json)


@pccp.command(short_help="Let the signature of a key count.")
@click.argument("signer")
@click.option("--role", required=True, metavar="ROLE", help="In which they sign.")
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), help="Their public key, PEM or hex.")
@home_option
@json_option
def register(signer: str, role: str, key_file: Path, home: Path | None, as_json: bool) -> None:
    """Let the signature of somebody count who made their key elsewhere."""
    public, root = read_public_key(key_file), _root(home)
    with _audited(root, "plan.signer.add", signer):
        FilePlans(root).register(PlanSigner(signer, role, public))
    print_facts({"signer": signer, "role": role, "fingerprint": fingerprint(public)}, as_json)


@pccp.command(short_help="Let the signature of somebody count no more.")
@click.argument("signer")
@home_option
@json_option
def revoke(signer: str, home: Path | None, as_json: bool) -> None:
    """Let the signature of somebody count no more, those given before among them."""
    root = _root(home)
    with _audited(root, "plan.signer.revoke", signer):
        gone = FilePlans(root).revoke(signer)
    facts = {"signer": gone.id, "role": gone.role, "fingerprint": fingerprint(gone.public_key), "counts": False}
    print_facts(facts, as_json)


@pccp.command(short_help="Sign the plan as it stands.")
@click.argument("signer")
@click.option("--role", required=True, metavar="ROLE", help="In which you sign.")
@_key_option
@home_option
@server_option
@json_option
def sign(
    *, signer: str, role: str, key_file: Path | None, home: Path | None, server: str | None, as_json: bool
) -> None:
    """Sign every byte of the plan as it stands now. A later change voids the signature."""
    with reach(home, server) as client:
        text = client.get("plan")["text"]
        if text is None:
            raise InvalidInput("there is no plan to sign; radloop pccp init writes one")
        key = read_private_key(key_file or FilePlans(_root(home)).key_file(signer), _password())
        made = sign_plan(text.encode(), key, signer=signer, role=role, at="")
        body = {"plan_sha256": made.plan_sha256, "signer": signer, "role": role, "signature": made.signature}
        after = client.post("plan/signatures", body)
    print_facts({name: after[name] for name in ("state", "sentence", "missing", "sha256")}, as_json)


@pccp.command(short_help="How the plan stands, and what lies outside it.")
@click.option("--version", "version", type=click.IntRange(1), help="Hold this model version against the plan.")
@click.option("--execution", metavar="ID", help="Hold this execution against the plan.")
@home_option
@server_option
@json_option
def check(*, version: int | None, execution: str | None, home: Path | None, server: str | None, as_json: bool) -> None:
    """Tell how the plan stands, what is missing, and where a run lies outside it; exit status 3 where it does not hold.

    Without a version or an execution the next run is held against it, as far as it is known: recipe, code and policy.
    """
    if version is not None and execution is not None:
        raise InvalidInput("--version and --execution exclude each other")
    asked: dict[str, str | int] = {} if version is None else {"version": version}
    asked |= {} if execution is None else {"execution": execution}
    with reach(home, server) as client:
        found: dict[str, Any] = client.get("plan", **asked)
    if as_json:
        print_facts({name: value for name, value in found.items() if name != "text"}, as_json=True)
    else:
        _tell(found)
    if found["state"] != "valid" or found["violations"]:
        sys.exit(3)


def _tell(found: dict[str, Any]) -> None:
    print_facts({name: found[name] for name in ("state", "sentence", "release", "sha256", "missing")}, as_json=False)
    if found["signatures"]:
        print_items({"items": found["signatures"]}, ["role", "by", "at", "holds", "why"], as_json=False)
    if found["violations"]:
        print_items({"items": found["violations"]}, ["code", "sentence"], as_json=False)
    elif found["is_inside"]:
        print_facts({"inside": "nothing lies outside the plan"}, as_json=False)


@contextmanager
def _audited(root: Path, action: str, subject: str) -> Iterator[None]:
    """Note in the home's audit what the block does to its files, and where it is refused."""
    from radloop.wiring import open_local  # noqa: PLC0415 — a second's work that signing and checking do not need

    with open_local(root) as installation:
        records = installation.platform.records
        try:
            yield
        except RadloopError:
            records.commit(Change(audit=[AuditEntry(OWNER.id, action, subject, "failure")]))
            raise
        records.commit(Change(audit=[AuditEntry(OWNER.id, action, subject)]))


def _root(home: Path | None) -> Path:
    return (home or Path("radloop-home")).resolve()


def _password() -> bytes | None:
    """What seals private keys; None for nothing."""
    return os.environ.get("RADLOOP_KEY_PASSWORD", "").encode() or None
