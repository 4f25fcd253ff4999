"""What a model is judged by: laid out before a run starts, the same however often it is asked for."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from radloop.core.errors import InvalidInput
from radloop.core.events import PipelineEnded
from radloop.evaluation import policy
from radloop.functions.contexts import Context, make, policy_of
from radloop.functions.pipeline_trigger import handle, start_now
from tests.functions.house import House

DELAY_S = 30.0
RUN = "r" * 32


def champion(house: House, execution: str = "e1") -> int:
    """A registered and approved version whose package and predictions lie where a run leaves them."""
    house.platform.blobs.put(f"models/{execution}/model.tar.gz", b"package" * 100)
    house.platform.blobs.put(f"models/{execution}/predictions.json", b"{}")
    model = house.platform.models.register(
        execution=execution, artifact=f"models/{execution}/model.tar.gz", metrics={}, lineage={}
    )
    return house.platform.models.decide(model.version, approved=True, by="somebody").version


def files(house: House, context: Context) -> dict[str, bytes]:
    prefix = context.uri.removeprefix("s3://") + "/"
    return {key.removeprefix(prefix): house.platform.blobs.get(key) for key in house.platform.blobs.keys(prefix)}


def facts(house: House, context: Context) -> Any:
    return json.loads(files(house, context)["facts.json"])


def test_without_a_champion_there_are_the_policy_and_the_ages(house: House) -> None:
    context = make(RUN, house.platform, newest=house.clock() - timedelta(days=3))
    assert set(files(house, context)) == {"policy.json", "facts.json"}
    assert context.champion == "none"
    assert hashlib.sha256(files(house, context)["policy.json"]).hexdigest() == context.policy_sha256
    assert facts(house, context)["newest_label_days"] == 3.0
    assert facts(house, context)["behind_champion_days"] is None


def test_the_champion_is_copied_with_what_it_said(house: House) -> None:
    version = champion(house)
    found = files(house, make(RUN, house.platform, newest=house.clock()))
    assert found["champion.tar.gz"] == b"package" * 100
    assert found["champion_predictions.json"] == b"{}"
    told = json.loads(found["champion.json"])
    assert (told["version"], told["execution"]) == (version, "e1")
    assert told["artifact_sha256"] == hashlib.sha256(b"package" * 100).hexdigest()


def test_the_same_state_is_the_same_place_and_another_champion_or_policy_another(house: House) -> None:
    newest = house.clock()
    one = make(RUN, house.platform, newest=newest)
    assert make(RUN, house.platform, newest=newest) == one
    assert make("another", house.platform, newest=newest).uri != one.uri
    champion(house)
    assert make(RUN, house.platform, newest=newest).uri != one.uri
    stricter = policy.shipped().replace("lower_bound: 0.80", "lower_bound: 0.90")
    other = make(RUN, replace(house.platform, gate_policy=lambda: stricter), newest=newest)
    assert other.policy_sha256 != one.policy_sha256


def test_how_far_behind_the_champion_the_labels_are_is_told_by_the_champions_own_run(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    (run,) = house.engine.runs
    champion(house, run)
    older = make(RUN, house.platform, newest=house.clock() - timedelta(days=2, seconds=DELAY_S))
    assert facts(house, older)["behind_champion_days"] == 2.0


def test_a_policy_that_cannot_be_read_starts_nothing(house: House) -> None:
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    with pytest.raises(InvalidInput):
        handle(last, replace(house.platform, gate_policy=lambda: "version: 2"))
    assert not house.engine.runs


def test_an_execution_names_its_policy_and_champion_and_another_policy_is_another_execution(house: House) -> None:
    version = champion(house)
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    (run,) = house.engine.runs.values()
    assert run.parameters["Policy"] == policy_of(house.platform).sha256
    assert run.parameters["Champion"] == str(version)
    assert run.parameters["ContextUri"].startswith("s3://training-data/contexts/")
    house.engine.runs.clear()
    stricter = policy.shipped().replace("lower_bound: 0.80", "lower_bound: 0.90")
    handle(last, replace(house.platform, gate_policy=lambda: stricter))
    assert run.id not in house.engine.runs


def test_a_new_champion_starts_no_run_unless_somebody_asks_again(house: House) -> None:
    house.verify_enough()
    first = start_now(house.platform)
    house.engine.end(first, evaluation={"gate": {"approved": True}})
    champion(house, first)
    assert start_now(house.platform) == first
    again = start_now(house.platform, again=True)
    assert again != first
    assert house.engine.get(again).parameters["Champion"] == "1"
    house.engine.end(again, evaluation={"gate": {"approved": False}})
    assert start_now(house.platform, again=True) == again


def test_the_copy_of_the_champion_goes_when_the_run_has_ended_and_not_before(house: House) -> None:
    champion(house)
    last = house.verify_enough()
    house.clock.wait(DELAY_S)
    handle(last, house.platform)
    (run,) = house.engine.runs.values()
    context = Context(run.parameters["ContextUri"], run.parameters["Policy"], run.parameters["Champion"])
    told = PipelineEnded(execution=run.id, status="Succeeded", reason="succeeded").told(at=house.clock())
    handle(told, house.platform)
    assert "champion.tar.gz" in files(house, context)
    house.engine.end(run.id)
    handle(told, house.platform)
    assert set(files(house, context)) == {"policy.json", "facts.json", "champion.json", "champion_predictions.json"}
