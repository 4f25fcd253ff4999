"""What every Models must do."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from radloop.core.errors import Conflict, NotFound
from radloop.core.ports import Models, ModelVersion


def register(models: Models, execution: str) -> ModelVersion:
    metrics = {"accuracy": {"value": 0.91}}
    return models.register(
        execution=execution, artifact=f"models/{execution}/model.tar.gz", metrics=metrics, lineage={"snapshot": "s"}
    )


class ModelsContract:
    """Subclass it and provide the `models` fixture."""

    def test_a_registered_version_waits_for_approval(self, models: Models) -> None:
        made = register(models, "a")
        assert (made.version, made.status, made.aliases) == (1, "PendingManualApproval", ())
        assert made.artifact == "models/a/model.tar.gz"
        assert made.metrics == {"accuracy": {"value": 0.91}}
        assert made.lineage == {"snapshot": "s", "execution": "a"}
        assert made.created_at
        assert made.decided_at is None
        assert models.get(1) == made == models.of_execution("a")

    def test_an_empty_registry_knows_nothing(self, models: Models) -> None:
        assert models.versions() == []
        assert models.champion() is None
        assert models.of_execution("a") is None
        with pytest.raises(NotFound):
            models.get(1)
        with pytest.raises(NotFound):
            models.decide(1, approved=True, by="chief")

    def test_versions_rise_by_one_and_are_listed_newest_first(self, models: Models) -> None:
        for execution in "abc":
            register(models, execution)
        assert [model.version for model in models.versions()] == [3, 2, 1]
        assert [model.lineage["execution"] for model in models.versions()] == ["c", "b", "a"]

    def test_the_same_execution_twice_is_one_version(self, models: Models) -> None:
        first = register(models, "a")
        register(models, "b")
        assert register(models, "a") == first
        assert len(models.versions()) == 2

    def test_registrations_at_the_same_time_never_share_a_number(self, models: Models) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda number: register(models, f"e{number}"), range(24)))
        assert sorted(model.version for model in made) == list(range(1, 25))
        assert {model.version: model.lineage["execution"] for model in made} == {
            model.version: model.lineage["execution"] for model in models.versions()
        }

    def test_one_execution_registered_by_many_at_the_same_time_is_one_version(self, models: Models) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda number: register(models, f"e{number % 3}"), range(24)))
        assert len(models.versions()) == 3
        assert len({(model.version, model.lineage["execution"]) for model in made}) == 3

    def test_approval_makes_the_champion(self, models: Models) -> None:
        register(models, "a")
        approved = models.decide(1, approved=True, by="chief")
        assert (approved.status, approved.aliases, approved.decided_by) == ("Approved", ("champion",), "chief")
        assert approved.decided_at is not None
        assert models.champion() == approved

    def test_there_is_one_champion_and_the_one_before_keeps_its_approval(self, models: Models) -> None:
        for execution in "ab":
            register(models, execution)
        models.decide(1, approved=True, by="chief")
        models.decide(2, approved=True, by="chief")
        champion = models.champion()
        assert champion is not None
        assert champion.version == 2
        assert models.get(1).aliases == ()
        assert models.get(1).status == "Approved"

    def test_rejection_leaves_the_champion_alone(self, models: Models) -> None:
        for execution in "ab":
            register(models, execution)
        models.decide(1, approved=True, by="chief")
        assert models.decide(2, approved=False, by="chief").status == "Rejected"
        champion = models.champion()
        assert champion is not None
        assert champion.version == 1

    def test_the_same_decision_again_changes_nothing(self, models: Models) -> None:
        register(models, "a")
        first = models.decide(1, approved=True, by="chief")
        register(models, "b")
        models.decide(2, approved=True, by="chief")
        again = models.decide(1, approved=True, by="someone")
        assert (again.decided_by, again.decided_at) == (first.decided_by, first.decided_at)
        champion = models.champion()
        assert champion is not None
        assert champion.version == 2

    @pytest.mark.parametrize("approved", [True, False])
    def test_a_decision_is_not_turned_round(self, models: Models, approved: bool) -> None:
        register(models, "a")
        models.decide(1, approved=approved, by="chief")
        with pytest.raises(Conflict):
            models.decide(1, approved=not approved, by="chief")

    def test_of_two_opposite_decisions_at_the_same_time_one_holds(self, models: Models) -> None:
        for number in range(10):
            version = register(models, f"e{number}").version

            def decide(approved: bool, version: int = version) -> str:
                try:
                    return models.decide(version, approved=approved, by="chief").status
                except Conflict:
                    return "Conflict"

            with ThreadPoolExecutor(2) as pool:
                outcomes = list(pool.map(decide, [True, False]))
            assert outcomes.count("Conflict") == 1
            assert models.get(version).status in outcomes

    def test_approvals_at_the_same_time_leave_one_champion(self, models: Models) -> None:
        versions = [register(models, f"e{number}").version for number in range(12)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda version: models.decide(version, approved=True, by="chief"), versions))
        assert sum("champion" in model.aliases for model in models.versions()) == 1
        assert all(model.status == "Approved" for model in models.versions())
