"""What AWS costs, and where the brief's own arithmetic fails."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from radloop.aws.prices import found
from radloop.core.contracts import contracts
from radloop.core.errors import InvalidInput, NotFound
from radloop.cost import Estimate, Measured, Prices, claims, load_prices, load_scenarios, measured


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices((contracts() / "prices.json").read_bytes())


@pytest.fixture(scope="module")
def scenarios(prices: Prices) -> dict[str, Estimate]:
    return load_scenarios((contracts() / "scenarios.json").read_bytes(), prices)


def test_every_price_has_a_source_and_a_date_and_none_claims_to_be_verified_that_nobody_read_from_aws(
    prices: Prices,
) -> None:
    assert len(prices.by_name) > 25
    for price in prices.by_name.values():
        assert price.usd > 0
        assert price.source
        assert date.fromisoformat(price.date) <= datetime.now(UTC).date()
        assert not price.is_verified or price.source.startswith("AWS Price List API")


def test_a_training_of_25_minutes_four_times_is_six_dollars_and_not_306(scenarios: dict[str, Estimate]) -> None:
    line = scenarios["poc"].of("K4")
    assert line.quantity == pytest.approx(4 * 25 / 60)
    assert line.amount == pytest.approx(4 * 25 / 60 * 3.825)
    assert line.stated.amount == 306
    assert line.stated.adds_up  # 100 x 3.06: the product is right, the quantity is not
    assert line.faults == ("quantity", "price")


def test_what_is_free_of_charge_is_not_counted(scenarios: dict[str, Estimate]) -> None:
    assert scenarios["poc"].of("K12").amount == 0.0
    assert scenarios["production"].of("K20n").amount == pytest.approx(400 * 0.09)
    assert "free" in scenarios["poc"].of("K12").faults


def test_what_the_brief_left_out_is_counted_and_named(scenarios: dict[str, Estimate]) -> None:
    for name in ("poc", "production"):
        left_out = {line.id: line.amount for line in scenarios[name].lines if line.is_left_out}
        assert all(scenarios[name].of(line).faults == ("missing",) for line in left_out)
        assert left_out["endpoints"] == pytest.approx(14 * 2 * 730 * 0.01)
        assert left_out["firewall"] + left_out["firewall-rules"] == pytest.approx(9)
        assert left_out["alarms"] == pytest.approx(7.9)
        for line in (
            "trail",
            "guardduty",
            "people",
            "api",
            "flow-logs",
            "table-recovery",
            "originals",
            "packs",
            "secrets",
        ):
            assert left_out[line] > 0
        assert scenarios[name].left_out == pytest.approx(sum(left_out.values()))


def test_what_is_laid_out_only_where_somebody_asks_for_it_costs_nothing_before(scenarios: dict[str, Estimate]) -> None:
    for line in ("copy", "copy-transfer", "copy-key"):
        assert scenarios["production"].of(line).amount == 0
    document = json.loads((contracts() / "scenarios.json").read_bytes())
    for each in document["scenarios"]:
        each["load"] |= {"copies in another region": 1, "sites": 0}
    prices = load_prices((contracts() / "prices.json").read_bytes())
    again = load_scenarios(json.dumps(document), prices)["production"]
    assert again.of("copy").amount == pytest.approx(100 * 0.0125)
    assert again.of("copy-transfer").amount == pytest.approx(100 * 0.02)
    assert again.of("copy-key").amount == 1
    assert sum(line.amount for line in again.lines if line.group == "Site") == 0


def test_what_the_brief_has_a_line_for_is_told_apart_from_what_it_forgot(scenarios: dict[str, Estimate]) -> None:
    for name, own in (("poc", 150.23), ("production", 840.66)):
        stated = {line.id for line in scenarios[name].lines if not line.is_left_out}
        assert all(identity.startswith("K") for identity in stated)
        assert scenarios[name].total - scenarios[name].left_out == pytest.approx(own, abs=0.01)


def test_a_load_that_does_not_tell_what_a_line_needs_is_refused_in_words(prices: Prices) -> None:
    document = json.loads((contracts() / "scenarios.json").read_bytes())
    del document["scenarios"][0]["load"]["files"]
    with pytest.raises(InvalidInput, match="scenario file has another shape: KeyError at 'files'"):
        load_scenarios(json.dumps(document), prices)


def test_the_figures_of_the_page_are_those_that_are_computed(scenarios: dict[str, Estimate]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "costs.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:3] == "| `"]
    totals = [row for row in rows if row[0].startswith(("`poc`", "`production`"))]
    left_out = [row for row in rows if len(row) == 4]
    assert (len(totals), len(left_out)) == (2, 12)
    for name, *figures in totals:
        one = scenarios[name.split("`")[1]]
        assert figures == [
            f"{one.stated_total:,.0f}",
            *(f"{figure:,.2f}" for figure in (one.total - one.left_out, one.left_out, one.total)),
        ]
    for lines, _, *figures in left_out:
        sums = [sum(one.of(line.strip("` ")).amount for line in lines.split(",")) for one in scenarios.values()]
        assert figures == [f"{figure:.2f}" for figure in sums], lines


def test_totals_are_the_sums_of_their_lines_and_groups(scenarios: dict[str, Estimate]) -> None:
    for estimate in scenarios.values():
        assert estimate.total == pytest.approx(sum(now for _, _, now in estimate.groups()))
        assert estimate.sum_of_statements == pytest.approx(sum(said for _, said, _ in estimate.groups()))
    assert scenarios["production"].sum_of_statements == 2454


def test_the_briefs_derived_figures_are_held_against_its_own_numbers(scenarios: dict[str, Estimate]) -> None:
    found_claims = {claim.id: claim for claim in claims(scenarios["poc"], scenarios["production"])}
    wrong = {identity for identity, claim in found_claims.items() if not claim.adds_up}
    assert wrong == {"W3", "K17", "K17b", "K19", "K20q"}
    assert found_claims["W3"].own == pytest.approx(10)
    assert found_claims["K17"].own == pytest.approx(1348.2)
    assert found_claims["K20q"].own == pytest.approx(2.84)


def test_a_changed_price_changes_what_rests_on_it_and_nothing_else(scenarios: dict[str, Estimate]) -> None:
    document = json.loads((contracts() / "prices.json").read_bytes())
    for entry in document["prices"]:
        if entry["name"] == "endpoint-hour":
            entry["usd"] *= 2
    again = load_scenarios((contracts() / "scenarios.json").read_bytes(), load_prices(json.dumps(document)))
    changed = {
        line.id
        for line, before in zip(again["poc"].lines, scenarios["poc"].lines, strict=True)
        if line.amount != before.amount
    }
    assert changed == {"endpoints"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"region": "r", "prices": [{"name": "a"}]}'])
def test_a_price_file_of_another_shape_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="price file"):
        load_prices(text)


def test_a_scenario_that_names_an_unknown_price_is_refused(prices: Prices) -> None:
    line = {"id": "a", "group": "g", "what": "w", "right": {"price": "no-such", "factors": {}}}
    scenario = {"name": "s", "title": "t", "scans": 1, "stated_total": 0, "load": {}, "lines": [line]}
    with pytest.raises(NotFound, match="no-such"):
        load_scenarios(json.dumps({"scenarios": [scenario], "left_out": []}), prices)


def test_what_was_measured_is_counted_by_the_month(prices: Prices) -> None:
    load = Measured(
        days=73 / 2.4,  # one month
        received_bytes=20 * 2**30,
        stored_bytes=10 * 2**30,
        image_sets=20,
        files=40_000,
        runs=2,
        training_s=7200,
        processing_s=3600,
    )
    text = (contracts() / "scenarios.json").read_bytes()
    lines = {line.id: line.amount for line in measured(load, text, prices).lines}
    assert lines["kept"] == pytest.approx(10 * prices["healthimaging-frequent"].usd)
    assert lines["training"] == pytest.approx(2 * prices["training-ml.g5.xlarge"].usd, rel=0.01)
    assert lines["originals"] == pytest.approx(20 * 2**30 / 1e9 * prices["s3-standard"].usd)
    assert lines["writes"] == pytest.approx(40_000 * 3 * prices["s3-write"].usd)
    assert lines["listed-alarms"] + lines["alarms"] == pytest.approx(8.7)
    twice = Measured(load.days * 2, *(getattr(load, name) for name in load.__slots__[1:]))
    half = {line.id: line.amount for line in measured(twice, text, prices).lines}
    assert half["training"] == pytest.approx(lines["training"] / 2)
    assert half["writes"] == pytest.approx(lines["writes"] / 2)
    assert half["kept"] == lines["kept"]
    assert half["firewall"] == lines["firewall"]


def test_bytes_that_nobody_knows_are_those_of_the_files_there_are_and_the_title_says_so(prices: Prices) -> None:
    """On AWS no record knows how long a file was."""
    text = (contracts() / "scenarios.json").read_bytes()
    load = Measured(30, 0, 0, image_sets=5, files=2000, runs=0, training_s=0, processing_s=0)
    estimate = measured(load, text, prices)
    assert estimate.of("originals").factors["GB kept"] == pytest.approx(1.048576)
    assert estimate.of("kept").factors["GiB kept"] == pytest.approx(0.6 * 1.048576e9 / 2**30)
    assert "1.05 GB assumed" in estimate.title
    assert "0.00 GB received" not in estimate.title


def _product(*tiers: tuple[str, str]) -> str:
    dimensions = {
        str(place): {"beginRange": begin, "unit": "Hrs", "pricePerUnit": {"USD": usd}}
        for place, (begin, usd) in enumerate(tiers)
    }
    return json.dumps({"product": {}, "terms": {"OnDemand": {"sku": {"priceDimensions": dimensions}}}})


@pytest.mark.parametrize(
    ("products", "expected"),
    [
        ([_product(("0", "1.5"))], 1.5),
        ([_product(("0", "0.0"), ("100", "1.6"), ("10240", "1.4"))], 1.6),
        ([_product(("0", "1.5")), _product(("0", "1.5"))], 1.5),
        ([_product(("0", "1.5")), _product(("0", "1.6"))], None),
        ([], None),
    ],
)
def test_a_price_is_taken_from_aws_only_where_it_is_the_only_one(
    prices: Prices, products: list[str], expected: float | None
) -> None:
    client = boto3.client("pricing", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    wanted: dict[str, Any] = {
        "ServiceCode": "AmazonSageMaker",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"},
            {"Type": "TERM_MATCH", "Field": "instanceName", "Value": "ml.g5.xlarge"},
            {"Type": "TERM_MATCH", "Field": "component", "Value": "Training"},
        ],
        "MaxResults": 100,
    }
    with Stubber(client) as told:
        told.add_response("get_products", {"PriceList": products}, wanted)
        assert found(client, prices["training-ml.g5.xlarge"], "eu-west-1").usd == expected


def _radloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "radloop.cli", *arguments], check=False, capture_output=True, text=True, timeout=60
    )


def test_the_command_prints_both_scenarios_and_says_that_no_price_was_read_from_aws(tmp_path: Path) -> None:
    printed = _radloop("cost", "--home", str(tmp_path / "none"))
    assert printed.returncode == 0, printed.stderr
    assert "100 CT scans" in printed.stdout
    assert "58 of 58 were not read from AWS's own list" in printed.stdout
    blocks = printed.stdout.split("What the brief left out")
    assert len(blocks) == 3, "one block a scenario"
    assert "GuardDuty" not in blocks[0]
    assert "GuardDuty" in blocks[1]
    assert "both together" in blocks[2]
    facts = json.loads(_radloop("cost", "poc", "--json", "--home", str(tmp_path / "none")).stdout)
    (estimate,) = facts["estimates"]
    assert estimate["total_usd"] == pytest.approx(sum(line["usd"] for line in estimate["lines"]), abs=0.01)
    left_out = sum(line["usd"] for line in estimate["lines"] if line["left_out"])
    assert estimate["left_out_usd"] == pytest.approx(left_out, abs=0.01)
    assert not (tmp_path / "none").exists()


def test_prices_of_the_home_are_used_before_radloops_own(tmp_path: Path) -> None:
    document = json.loads((contracts() / "prices.json").read_bytes())
    for entry in document["prices"]:
        entry["usd"] = 0.0
    (tmp_path / "prices.json").write_text(json.dumps(document))
    facts = json.loads(_radloop("cost", "production", "--json", "--home", str(tmp_path)).stdout)
    assert facts["estimates"][0]["total_usd"] == 0.0
    assert facts["prices"] == "prices.json"


def test_prices_written_before_others_were_needed_are_completed_by_radloops_own(tmp_path: Path) -> None:
    document = json.loads((contracts() / "prices.json").read_bytes())
    document["region"] = "eu-west-1"
    document["prices"] = [entry | {"usd": 0.0} for entry in document["prices"] if entry["name"] != "firewall"]
    (tmp_path / "prices.json").write_text(json.dumps(document))
    told = _radloop("cost", "poc", "--json", "--home", str(tmp_path))
    assert told.returncode == 0, told.stderr
    (estimate,) = json.loads(told.stdout)["estimates"]
    assert {line["id"]: line["usd"] for line in estimate["lines"] if line["usd"]} == {"firewall": 5.0}
    assert json.loads((tmp_path / "prices.json").read_text()) == document


@pytest.mark.slow
def test_an_installation_is_measured_through_its_own_api(tmp_path: Path) -> None:
    phantoms, home = str(tmp_path / "ct"), str(tmp_path / "home")
    assert _radloop("phantom", "--out", phantoms, "--slices", "4").returncode == 0
    assert _radloop("ingest", phantoms, "--home", home).returncode == 0
    told = _radloop("cost", "measured", "--json", "--home", home)
    facts = json.loads(told.stdout)
    (estimate,) = facts["estimates"]
    lines = {line["id"]: line for line in estimate["lines"]}
    sent = sum(path.stat().st_size for path in Path(phantoms).rglob("*.dcm"))
    assert 0 < lines["kept"]["factors"]["GiB kept"] * 2**30 < sent
    assert lines["guardduty"]["usd"] > 0
    assert estimate["stated_total_usd"] is None
