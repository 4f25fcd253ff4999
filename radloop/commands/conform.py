"""`radloop conform`: hold any DICOMweb server against the standard."""

import json
import ssl
import sys
from pathlib import Path

import click
from rich.console import Console

from radloop.conform.report import as_json as json_of
from radloop.conform.report import as_junit, print_report
from radloop.conform.run import clean, run
from radloop.conform.session import Session
from radloop.conform.table import GROUPS, chosen
from radloop.conform.wire import Server
from radloop.core.errors import Denied, InvalidInput, Unavailable
from radloop.options import json_option
from radloop.terminal import ERRORS, bar

_WIDE = 180
_WANTS_SIGN_IN = (401, 403)


@click.command(short_help="Check any DICOMweb server against the standard.")
@click.argument("url")
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Holds a bearer token."
)
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificates to trust, PEM.")
@click.option("--insecure", is_flag=True, help="Do not check the certificate.")
@click.option("--only", multiple=True, metavar="GROUP|ID", help="Only these checks; may be given more than once.")
@click.option("--read-only", is_flag=True, help="Store nothing: look at an image that is found there.")
@click.option("--clean", "is_clean", is_flag=True, help="Try to delete at the end what was stored.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit report to this file.")
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(0.1), help="Seconds for each request."
)
@json_option
def conform(
    *,
    url: str,
    token_file: Path | None,
    ca: Path | None,
    insecure: bool,
    only: tuple[str, ...],
    read_only: bool,
    is_clean: bool,
    junit: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Check the DICOMweb service at URL (what stands before /studies); exit status 3 where a `must` fails.

    It stores small studies of nobody, whose PatientID begins with RADLOOP-CONFORM-, and never prints what else is
    there.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInput("the address begins with http:// or https://")
    try:
        checks = chosen(only)
    except KeyError as error:
        groups = ", ".join(group.id for group in GROUPS)
        raise InvalidInput(
            f"--only {error.args[0]} is no check and none of the groups {groups}; docs/conform.md lists the checks"
        ) from None
    token = token_file.read_text().strip() if token_file else None
    server = Server(url, token=token, verify=_trust(ca, insecure), timeout_s=timeout)
    try:
        status = server.lives()
        if status is None:
            hint = " and whether its authority is trusted (--ca, --insecure)" if url.startswith("https:") else ""
            raise Unavailable(f"the server does not answer; look whether it runs, whether the address is right{hint}")
        if status in _WANTS_SIGN_IN:
            advice = "it does not take this token" if token else "name a file with a bearer token by --token-file"
            raise Denied(f"the server answers {status} and lets nobody in: {advice}")
        session = Session(server, only_reads=read_only)
        with bar("checks", len(checks)) as advance:
            report = run(checks, session, advance)
        if is_clean:
            gone, stored = clean(session)
            ERRORS.print(f"{gone} of {stored} studies are deleted again", markup=False)
    finally:
        server.close()
    if junit:
        junit.write_text(as_junit(report), encoding="utf-8")
    if as_json:
        print(json.dumps(json_of(report)))  # noqa: T201 — the answer
    else:
        print_report(report, Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _WIDE))
    if not report.conforms:
        sys.exit(3)


def _trust(ca: Path | None, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
