"""What AWS costs, and where the brief's own arithmetic fails."""

import inspect
import json
import re
import subprocess
import sys
from datetime import date
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
        assert date.fromisoformat(price.date) <= date(2026, 11, 23)
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
        missing = {line.what: line.amount for line in scenarios[name].lines if line.faults == ("missing",)}
        assert missing["interface endpoints"] == pytest.approx(14 * 2 * 730 * 0.01)
        assert {
            "CloudTrail data events",
            "CloudTrail insights",
            "API Gateway",
            "public addresses of the NAT gateways",
            "secrets",
            "container images",
        } <= set(missing)


def test_the_endpoints_that_are_counted_are_those_that_are_made(scenarios: dict[str, Estimate]) -> None:
    text = (Path(__file__).parents[1] / "infra" / "modules" / "network" / "endpoints.tf").read_text()
    made = re.findall(
        r'^    "([a-z.-]+)" +=', text[text.index("  interfaces = {") : text.index("  gateways = {")], re.MULTILINE
    )
    assert len(made) == inspect.signature(measured).parameters["endpoints"].default == 14
    assert scenarios["poc"].of("K11b").quantity == len(made) * 2 * 730


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
    assert changed == {"K11b"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"region": "r", "prices": [{"name": "a"}]}'])
def test_a_price_file_of_another_shape_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="price file"):
        load_prices(text)


def test_a_scenario_that_names_an_unknown_price_is_refused(prices: Prices) -> None:
    line = {"id": "a", "group": "g", "what": "w", "right": {"price": "no-such", "factors": {}}}
    text = {"scenarios": [{"name": "s", "title": "t", "scans": 1, "stated_total": 0, "lines": [line]}]}
    with pytest.raises(NotFound, match="no-such"):
        load_scenarios(json.dumps(text), prices)


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
    lines = {line.what: line.amount for line in measured(load, prices).lines}
    assert lines["kept"] == pytest.approx(10 * prices["healthimaging-frequent"].usd)
    assert lines["training"] == pytest.approx(2 * prices["training-ml.g5.xlarge"].usd, rel=0.01)
    twice = Measured(load.days * 2, *(getattr(load, name) for name in load.__slots__[1:]))
    half = {line.what: line.amount for line in measured(twice, prices).lines}
    assert half["training"] == pytest.approx(lines["training"] / 2)
    assert half["kept"] == lines["kept"]


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
    assert "29 of 29 were not read from AWS's own list" in printed.stdout
    facts = json.loads(_radloop("cost", "poc", "--json", "--home", str(tmp_path / "none")).stdout)
    (estimate,) = facts["estimates"]
    assert estimate["total_usd"] == pytest.approx(sum(line["usd"] for line in estimate["lines"]), abs=0.01)
    assert not (tmp_path / "none").exists()


def test_prices_of_the_home_are_used_before_radloops_own(tmp_path: Path) -> None:
    document = json.loads((contracts() / "prices.json").read_bytes())
    for entry in document["prices"]:
        entry["usd"] = 0.0
    (tmp_path / "prices.json").write_text(json.dumps(document))
    facts = json.loads(_radloop("cost", "production", "--json", "--home", str(tmp_path)).stdout)
    assert facts["estimates"][0]["total_usd"] == 0.0
    assert facts["prices"] == "prices.json"


@pytest.mark.slow
def test_an_installation_is_measured_through_its_own_api(tmp_path: Path) -> None:
    phantoms, home = str(tmp_path / "ct"), str(tmp_path / "home")
    assert _radloop("phantom", "--out", phantoms, "--slices", "4").returncode == 0
    assert _radloop("ingest", phantoms, "--home", home).returncode == 0
    told = _radloop("cost", "measured", "--json", "--home", home)
    facts = json.loads(told.stdout)
    (estimate,) = facts["estimates"]
    kept = next(line for line in estimate["lines"] if line["what"] == "kept")
    sent = sum(path.stat().st_size for path in Path(phantoms).rglob("*.dcm"))
    assert 0 < kept["factors"]["bytes"] < sent
    assert estimate["stated_total_usd"] is None
