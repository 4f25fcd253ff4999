"""`radloop cost`: what the load of the brief, and of an installation, costs on AWS."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from radloop.core.contracts import contracts
from radloop.core.errors import Unavailable
from radloop.cost import Claim, Estimate, Line, Measured, Prices, claims, load_prices, load_scenarios, measured
from radloop.local.home import Home
from radloop.options import home_option, json_option, server_option
from radloop.terminal import print_facts, print_items

if TYPE_CHECKING:
    from radloop.client import Client

FILE = "prices.json"
_PAGE = 200
_SCENARIOS = ("poc", "production", "measured")
_LINES = ["id", "what", "stated_usd", "usd", "faults", "working"]
_OWN = ["what", "usd", "working"]
_CLAIMS = ["id", "what", "stated", "own", "right"]


@click.command(short_help="What a load costs on AWS, line by line: that of the brief, or yours.")
@click.argument("scenario", type=click.Choice(_SCENARIOS), required=False)
@home_option
@server_option
@click.option(
    "--prices",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Prices to compute with [prices.json of the home, else those radloop comes with].",
)
@click.option("--refresh", is_flag=True, help="Ask AWS's Price List API first, and keep what it says in the home.")
@click.option("--region", help="With --refresh: whose prices to ask for [the region of the prices there are].")
@json_option
def cost(  # noqa: PLR0917 — one an option
    scenario: str | None,
    home: Path | None,
    server: str | None,
    file: Path | None,
    refresh: bool,
    region: str | None,
    as_json: bool,
) -> None:
    """What the load of the brief's two scenarios, or of this installation, costs on AWS, line by line.

    Beside each line stands what the brief states of it. Without a SCENARIO both are computed, with what the brief
    derives from them; `measured` takes bytes and seconds from the installation.
    """
    place = Home(home or Path("radloop-home"))
    own = place.root / FILE
    path = file or (own if own.exists() else contracts() / FILE)
    if region and not refresh:
        raise click.UsageError("--region goes with --refresh")
    if refresh:
        path = _refreshed(path, own, region)
    prices = load_prices(_completed(path))
    text = (contracts() / "scenarios.json").read_bytes()
    estimates = load_scenarios(text, prices)
    if scenario == "measured":
        from radloop.client import reach  # noqa: PLC0415 — the other scenarios need no installation

        with reach(home, server) as client:
            estimates["measured"] = measured(_measured(client), text, prices)
    wanted = [estimates[scenario]] if scenario else [estimates["poc"], estimates["production"]]
    derived = () if scenario else claims(estimates["poc"], estimates["production"])
    _print_all(wanted, derived, prices, path.name if file or own == path else "radloop's own", as_json)


# Printing


def _print_all(
    estimates: list[Estimate], derived: tuple[Claim, ...], prices: Prices, source: str, as_json: bool
) -> None:
    unverified = sum(not price.is_verified for price in prices.by_name.values())
    if as_json:
        facts = {
            "region": prices.region,
            "prices": source,
            "unverified_prices": unverified,
            "estimates": [_facts(one) for one in estimates],
            "claims": [claim.to_json() for claim in derived],
        }
        print_facts(facts, as_json=True)
        return
    for one in estimates:
        _print_one(one)
    if derived:
        click.echo("\nWhat the brief derives from its lines, what its own numbers give, and what these lines give\n")
        print_items({"items": [claim.to_json() for claim in derived]}, _CLAIMS, as_json=False)
    dates = sorted(price.date for price in prices.by_name.values())
    click.echo(
        f"\nUS dollars a month, {prices.region}. Prices: {source}, of {dates[0]} to {dates[-1]}; {unverified} of "
        f"{len(dates)} were not read from AWS's own list (`radloop cost --refresh` does that)."
    )


def _print_one(one: Estimate) -> None:
    """The lines of the brief, then what it left out; of what was measured all lines together."""
    if one.stated_total is None:
        click.echo(f"\n{one.title}\n")
        print_items({"items": [*_rows(one.lines), _total(one.total)]}, _OWN, as_json=False)
        return
    click.echo(f"\n{one.title}\n")
    stated = [line for line in one.lines if not line.is_left_out]
    total = _total(one.total - one.left_out, _money(one.stated_total))
    print_items({"items": [*_rows(stated), total]}, _LINES, as_json=False)
    click.echo("\nWhat the brief left out\n")
    left_out = [line for line in one.lines if line.is_left_out]
    rows = [*_rows(left_out), _total(one.left_out), _total(one.total, what="both together")]
    print_items({"items": rows}, ["id", *_OWN], as_json=False)


def _total(amount: float, stated: str = "", what: str = "total") -> dict[str, Any]:
    return {"id": "", "what": what, "stated_usd": stated, "usd": _money(amount), "faults": [], "working": ""}


def _rows(lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
    for line in lines:
        facts = line.to_json()
        working = " x ".join(f"{_short(value)} {name}" for name, value in line.factors.items())
        per = f" / {_short(line.per)}" if line.per != 1 else ""
        price = "" if line.price is None else f" x {_short(line.price.usd)} / {line.price.unit}"
        free = "" if line.price is None or not line.price.free else f", {_short(line.price.free)} free"
        yield {
            **facts,
            "what": f"{line.group}: {line.what}",
            "usd": _money(line.amount),
            "working": f"{working}{per}{price}{free}",
            "stated_usd": _stated(facts["stated_usd"]),
        }


def _facts(estimate: Estimate) -> dict[str, Any]:
    return {
        "name": estimate.name,
        "title": estimate.title,
        "stated_total_usd": estimate.stated_total,
        "sum_of_statements_usd": round(estimate.sum_of_statements, 2),
        "total_usd": round(estimate.total, 4),
        "left_out_usd": round(estimate.left_out, 4),
        "a_scan_usd": round(estimate.total / estimate.scans, 4) if estimate.scans else None,
        "groups": [{"name": name, "stated_usd": said, "usd": round(now, 4)} for name, said, now in estimate.groups()],
        "lines": [line.to_json() for line in estimate.lines],
    }


def _stated(amount: float | None) -> str:
    return "-" if amount is None else _money(amount)


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.01 or amount == 0 else f"{amount:.1g}"  # noqa: PLR2004 — a cent


def _short(value: float) -> str:
    """To a thousandth, and what is less than one to six figures."""
    rounded = round(value, 3) if value >= 1 else float(f"{value:.6g}")
    return f"{rounded:,.10f}".rstrip("0").rstrip(".")


# Measuring


def _measured(client: "Client") -> Measured:
    """What an installation holds, and what its runs took, from its own API."""
    items = list(_image_sets(client))
    runs = [run for run in client.get("executions")["items"] if run["ended_at"]]
    oldest = min((item["created_at"] for item in items), default=None)
    age = datetime.now(UTC) - datetime.fromisoformat(oldest) if oldest else None
    return Measured(
        days=0.0 if age is None else age.total_seconds() / 86400,
        received_bytes=sum(item["original_bytes"] for item in items),
        stored_bytes=sum(item["stored_bytes"] for item in items),
        image_sets=len(items),
        files=sum(item["instances"] for item in items),
        runs=len(runs),
        training_s=sum(_seconds(step) for run in runs for step in run["steps"] if step["type"] == "Training"),
        processing_s=sum(_seconds(step) for run in runs for step in run["steps"] if step["type"] == "Processing"),
    )


def _image_sets(client: "Client") -> Iterator[dict[str, Any]]:
    query: dict[str, str | int] = {"limit": _PAGE}
    while True:
        page = client.get("worklist", **query)
        yield from page["items"]
        if page["next"] is None:
            return
        query["after"] = page["next"]


def _seconds(step: dict[str, Any]) -> float:
    if not step["started_at"] or not step["ended_at"]:
        return 0.0
    return (datetime.fromisoformat(step["ended_at"]) - datetime.fromisoformat(step["started_at"])).total_seconds()


# Prices of today


def _completed(path: Path) -> bytes:
    """The prices of a file, and radloop's own where it has none: a file that was written before some were needed."""
    text, shipped = path.read_bytes(), json.loads((contracts() / FILE).read_bytes())
    held = load_prices(text)
    document = json.loads(text)
    whose = "" if held.region == shipped["region"] else f"; of {shipped['region']}"
    document["prices"] += [
        entry | {"source": f"{entry['source']}{whose}"}
        for entry in shipped["prices"]
        if entry["name"] not in held.by_name
    ]
    return json.dumps(document).encode()


def _refreshed(path: Path, own: Path, region: str | None) -> Path:
    """Ask the Price List API for every price of `path`, and write them to `own`; what is not found stays as it was.

    Raises:
        Unavailable: The extra `aws` is not installed, or AWS does not answer.
        Denied: There are no credentials, or they do not allow it.
    """
    if find_spec("boto3") is None:
        raise Unavailable("asking AWS for prices needs the extra aws: pip install 'radloop[aws]'")
    from radloop.aws.prices import asked  # noqa: PLC0415 — boto3 is an extra, and takes its time to load

    text = _completed(path)
    prices, document = load_prices(text), json.loads(text)
    wanted = region or prices.region
    told = asked(prices, wanted)
    today = datetime.now(UTC).date().isoformat()
    rows = []
    for entry in document["prices"]:
        answer = told[entry["name"]]
        rows.append({"name": entry["name"], "was": _short(entry["usd"]), "is": "-", "why": answer.why})
        if answer.usd is not None:
            rows[-1]["is"] = _short(answer.usd)
            entry.update(usd=answer.usd, source=f"AWS Price List API, {wanted}", date=today, verified=True)
        elif wanted != prices.region:
            entry.update(source=f"{entry['source']}; of {prices.region}", verified=False)
    document["region"] = wanted
    own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = own.with_name(f"{own.name}.new")
    beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    beside.replace(own)
    read = sum(answer.usd is not None for answer in told.values())
    for row in rows:
        click.echo(f"{row['name']:<28}{row['was']:>14}  ->  {row['is']:<14}{row['why']}", err=True)
    click.echo(f"{read} of {len(told)} prices read from AWS into {own.name} of the home", err=True)
    return own
