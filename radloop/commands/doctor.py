"""`radloop doctor`: the deployment checklist, answered for a home or for an AWS account."""

import sys
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from radloop.core.checklist import FAILED, Answer, answers, load_boxes
from radloop.core.errors import Unavailable
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items


@click.command(short_help="The deployment checklist, box by box, for this home or an AWS account.")
@home_option
@server_option
@click.option("--aws", "is_aws", is_flag=True, help="Look at an AWS account instead; reads only.")
@click.option("--name", default="radloop-dev", show_default=True, help="With --aws: project and environment.")
@json_option
def doctor(home: Path | None, server: str | None, is_aws: bool, name: str, as_json: bool) -> None:
    """Answer every box of the deployment checklist: ok, failed or not applicable, and why.

    Nothing is changed, but that a home that has none gets its folders; a server is asked to sign one link, which its
    audit shows. Exit status 3 where a box failed.
    """
    found = _of_account(name) if is_aws else _of_home(home, server)
    states = Counter(answer.found.state for answer in found)
    summary = {state: states[state] for state in ("ok", FAILED, "not applicable")}
    if as_json:
        print_facts({**summary, "boxes": [answer.to_json() for answer in found]}, as_json=True)
    else:
        print_items({"items": [answer.to_json() for answer in found]}, ["id", "state", "box", "reason"], as_json=False)
        print_facts(summary, as_json=False)
    if states[FAILED]:
        sys.exit(3)


def _of_home(home: Path | None, server: str | None) -> Sequence[Answer]:
    from radloop.client import reach  # noqa: PLC0415 — an account needs none of this
    from radloop.core.contracts import contracts  # noqa: PLC0415 — the same
    from radloop.doctor import HomeChecks  # noqa: PLC0415 — the same
    from radloop.local.home import Home  # noqa: PLC0415 — the same

    boxes = load_boxes((contracts() / "checklist.json").read_bytes())
    with reach(home, server) as client:
        return answers(boxes, HomeChecks(Home((home or Path("radloop-home")).resolve()), client).all(), (OSError,))


def _of_account(name: str) -> Sequence[Answer]:
    if find_spec("boto3") is None:
        raise Unavailable("looking at an AWS account needs the extra aws: pip install 'radloop[aws]'")
    from radloop.aws.checklist import account_checks  # noqa: PLC0415 — boto3 is an extra
    from radloop.core.contracts import contracts  # noqa: PLC0415 — a second's work

    boxes = load_boxes((contracts() / "checklist.json").read_bytes())
    return answers(boxes, account_checks(name, contracts()))
