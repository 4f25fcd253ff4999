"""`radloop cost --refresh` against an API of AWS's shape: what it takes, what it leaves, and what it says of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from radloop.core.contracts import contracts
from tests.aws.emulators import CREDENTIALS
from tests.aws.pretended_prices import price_list

SHIPPED = {each["name"]: each for each in json.loads((contracts() / "prices.json").read_bytes())["prices"]}


def refresh(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it with an environment that knows no AWS but what is given."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {name: CREDENTIALS[name] for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    return subprocess.run(
        [sys.executable, "-m", "radloop.cli", "cost", "poc", "--refresh", *arguments, "--home", str(home)],
        env={**inherited, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def prices_of(home: Path) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads((home / "prices.json").read_text())["prices"]}


def test_prices_of_another_region_are_taken_where_the_list_has_one_and_kept_where_not(tmp_path: Path) -> None:
    with price_list() as address:
        done = refresh(tmp_path, "--region", "eu-west-1", "--json", **CREDENTIALS, AWS_ENDPOINT_URL_PRICING=address)
    assert done.returncode == 0, done.stderr
    held = prices_of(tmp_path)
    taken = {name: each["usd"] for name, each in held.items() if each["verified"]}
    assert taken == {
        "s3-standard": 0.024,
        "s3-infrequent": 0.0131,
        "dynamodb-write": 0.0000007,
        "kms-key": 1.0,
        "kms-request": 0.000003,
        "guardduty-event": 0.0000044,
        "guardduty-gb": 1.1,
        "cdn-request": 0.0000012,
        "cdn-gb": 0.09,
    }
    assert held["s3-standard"]["source"] == "AWS Price List API, eu-west-1"
    assert held["s3-standard"]["date"] > SHIPPED["s3-standard"]["date"]
    assert held["nat-hour"] == {**SHIPPED["nat-hour"], "source": f"{SHIPPED['nat-hour']['source']}; of us-east-1"}
    told = {line.split()[0]: line for line in done.stderr.splitlines() if "->" in line}
    assert "0.00014 instead of 1.25e-07 a request: of another unit?" in told["dynamodb-read"]
    assert "2 products match, from 0.1 to 0.3" in told["alarm"]
    assert "nothing matches" in told["lambda-request"]
    assert "does not take the question: NotFoundException" in told["nat-hour"]
    read = f"{len(taken)} of {len(SHIPPED)} prices read from AWS into prices.json of the home"
    assert done.stderr.splitlines()[-1] == read
    facts = json.loads(done.stdout)
    unread = len(SHIPPED) - len(taken)
    assert (facts["region"], facts["unverified_prices"], facts["prices"]) == ("eu-west-1", unread, "prices.json")


def test_prices_that_the_home_lacks_are_asked_for_too(tmp_path: Path) -> None:
    document = json.loads((contracts() / "prices.json").read_bytes())
    document["region"] = "eu-west-1"
    document["prices"] = [each for each in document["prices"] if each["name"] not in {"guardduty-gb", "firewall"}]
    (tmp_path / "prices.json").write_text(json.dumps(document))
    with price_list() as address:
        done = refresh(tmp_path, **CREDENTIALS, AWS_ENDPOINT_URL_PRICING=address)
    assert done.returncode == 0, done.stderr
    held = prices_of(tmp_path)
    assert (held["guardduty-gb"]["usd"], held["guardduty-gb"]["verified"]) == (1.1, True)
    assert held["firewall"]["source"].endswith("; of us-east-1")


def test_without_credentials_it_says_so_and_leaves_the_home_as_it_was(tmp_path: Path) -> None:
    with price_list() as address:
        done = refresh(tmp_path / "home", AWS_ENDPOINT_URL_PRICING=address)
    assert done.returncode == 1
    assert "there are no credentials for the Price List API on this machine" in " ".join(done.stderr.split())
    assert not (tmp_path / "home").exists()


def test_who_may_not_ask_is_told_so_and_an_earlier_answer_stays(tmp_path: Path) -> None:
    before = (contracts() / "prices.json").read_bytes()
    (tmp_path / "prices.json").write_bytes(before)
    with price_list(refuses="AccessDeniedException") as address:
        done = refresh(tmp_path, **CREDENTIALS, AWS_ENDPOINT_URL_PRICING=address)
    assert done.returncode != 0
    assert "AccessDeniedException" in done.stderr
    assert "words of AWS" not in done.stderr
    assert (tmp_path / "prices.json").read_bytes() == before


def test_a_region_without_a_refresh_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "radloop.cli", "cost", "--region", "eu-west-1", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--region goes with --refresh" in done.stderr
