"""What every Models must do."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from radloop.core.errors import Conflict, NotFound, SeparationOfDuties
from radloop.core.ports import Models, ModelVersion, Reason


def register(models: Models, execution: str) -> ModelVersion:
    metrics = {"accuracy": {"value": 0.91}}
    return models.register(
        execution=execution, artifact=f"models/{execution}/model.tar.gz", metrics=metrics, lineage={"snapshot": "s"}
    )


class ModelsContract:
    """Subclass it and provide the `models` fixture."""

    def test_a_registered_version_waits_for_approval(self, models: Models) -> None:
        made = register(models, "a")
        assert (made.version, made.status, made.aliases) == (1, "PendingManualApproval", ("shadow",))
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
        assert register(models, "a").version == first.version
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

    # Held, and several approvers

    def test_a_held_version_tells_why_and_still_waits(self, models: Models) -> None:
        register(models, "a")
        held = models.hold(1, [Reason("no-plan", "There is no plan.")])
        assert (held.status, held.held) == ("PendingManualApproval", (Reason("no-plan", "There is no plan."),))
        assert len(models.ledger()) == 2
        models.hold(1, [Reason("no-plan", "There is no plan.")])
        assert len(models.ledger()) == 2, "the same again is once"

    def test_a_decided_version_is_not_held(self, models: Models) -> None:
        register(models, "a")
        models.hold(1, [Reason("no-plan", "There is no plan.")])
        assert models.decide(1, approved=True, by="chief").held == ()
        assert models.hold(1, [Reason("late", "Too late.")]).status == "Approved"
        assert models.get(1).held == ()

    def test_a_version_takes_as_many_approvers_as_are_needed(self, models: Models) -> None:
        register(models, "a")
        first = models.decide(1, approved=True, by="ann", needed=2)
        assert (first.status, first.approvals) == ("PendingManualApproval", ("ann",))
        assert models.champion() is None
        again = models.decide(1, approved=True, by="ann", needed=2)
        assert (again.status, again.approvals) == ("PendingManualApproval", ("ann",)), "one person, one voice"
        second = models.decide(1, approved=True, by="bob", needed=2)
        assert (second.status, second.approvals, second.decided_by) == ("Approved", ("ann", "bob"), "bob")

    def test_two_approvers_at_the_same_time_are_two_voices_and_one_decision(self, models: Models) -> None:
        for number in range(1, 9):
            register(models, f"e{number}")
            with ThreadPoolExecutor(2) as pool:
                ends = list(
                    pool.map(
                        lambda who, version=number: models.decide(version, approved=True, by=who, needed=2),
                        ["ann", "bob"],
                    )
                )
            assert sorted(end.status for end in ends) == ["Approved", "PendingManualApproval"]
            assert set(models.get(number).approvals) == {"ann", "bob"}
        actions = [entry["action"] for entry in models.ledger()]
        assert (actions.count("approval"), actions.count("decided"), actions.count("alias")) == (8, 8, 8)

    def test_who_is_not_free_approves_only_behind_somebody_who_is(self, models: Models) -> None:
        register(models, "a")
        with pytest.raises(SeparationOfDuties):
            models.decide(1, approved=True, by="trainer", is_free=False)
        with pytest.raises(SeparationOfDuties):
            models.decide(1, approved=True, by="trainer", needed=2, is_free=False)
        assert models.get(1).approvals == ()
        models.decide(1, approved=True, by="ann", needed=2)
        assert models.decide(1, approved=True, by="trainer", needed=2, is_free=False).status == "Approved"

    def test_one_voice_rejects_whatever_others_said(self, models: Models) -> None:
        register(models, "a")
        models.decide(1, approved=True, by="ann", needed=3)
        assert models.decide(1, approved=False, by="bob", reason="subgroup", needed=3).status == "Rejected"
        assert models.get(1).reason == "subgroup"
        with pytest.raises(Conflict):
            models.decide(1, approved=True, by="carl", needed=3)

    # The shadow

    def test_the_shadow_is_the_newest_version_that_may_follow_the_champion(self, models: Models) -> None:
        assert models.shadow() is None
        for execution in "abcd":
            register(models, execution)
        models.decide(2, approved=True, by="chief")
        assert version_of(models.shadow()) == 4
        models.decide(4, approved=False, by="chief")
        assert version_of(models.shadow()) == 3
        assert models.get(3).aliases == ("shadow",)
        models.decide(3, approved=True, by="chief")
        assert models.shadow() is None, "version 1 is older than the champion"
        assert models.get(3).aliases == ("champion",)

    # Back

    def test_a_rollback_puts_the_version_before_to_work_again(self, models: Models) -> None:
        serve(models, 3)
        serving = models.roll_back(by="ann", reason="drift")
        assert (serving.version, serving.aliases) == (2, ("champion",))
        taken = models.get(3)
        assert (taken.status, taken.aliases, taken.rolled_back_by) == ("Approved", (), "ann")
        assert models.roll_back(by="ann", reason="drift").version == 1, "what was taken back is left out"
        with pytest.raises(Conflict):
            models.roll_back(by="ann", reason="drift")

    def test_what_was_taken_back_does_not_come_again_by_itself(self, models: Models) -> None:
        serve(models, 2)
        models.roll_back(by="ann", reason="drift")
        assert models.decide(2, approved=True, by="plan").version == 2
        assert version_of(models.champion()) == 1
        register(models, "new")
        models.decide(3, approved=True, by="chief")
        assert models.roll_back(by="ann", reason="drift").version == 1

    def test_a_person_may_name_the_version_that_shall_serve(self, models: Models) -> None:
        serve(models, 3)
        assert models.roll_back(by="ann", reason="drift", to=1).version == 1
        back = models.roll_back(by="ann", reason="not-intended", to=3)
        assert (back.version, back.rolled_back_at) == (3, None)
        assert models.get(1).rolled_back_by == "ann"

    def test_a_version_that_was_never_approved_cannot_serve(self, models: Models) -> None:
        serve(models, 2)
        register(models, "pending")
        register(models, "rejected")
        models.decide(4, approved=False, by="chief")
        for to in (2, 3, 4):
            with pytest.raises(Conflict):
                models.roll_back(by="ann", reason="drift", to=to)
        with pytest.raises(NotFound):
            models.roll_back(by="ann", reason="drift", to=9)
        assert version_of(models.champion()) == 2

    def test_where_nothing_serves_nothing_is_taken_back(self, models: Models) -> None:
        with pytest.raises(NotFound):
            models.roll_back(by="ann", reason="drift")

    def test_two_who_take_the_same_version_back_take_back_one(self, models: Models) -> None:
        serve(models, 4)
        with ThreadPoolExecutor(6) as pool:
            ends = list(pool.map(lambda _: models.roll_back(by="ann", reason="drift", expected=4), range(6)))
        assert {end.version for end in ends} == {3}
        assert [entry["action"] for entry in models.ledger()].count("rolledback") == 1

    def test_who_looked_at_another_champion_is_refused(self, models: Models) -> None:
        serve(models, 3)
        with pytest.raises(Conflict):
            models.roll_back(by="ann", reason="drift", expected=2)
        models.roll_back(by="ann", reason="drift", expected=3)
        with pytest.raises(Conflict):
            models.roll_back(by="ann", reason="drift", to=1, expected=3)

    def test_a_rollback_and_registrations_at_the_same_time_both_happen(self, models: Models) -> None:
        serve(models, 3)
        with ThreadPoolExecutor(5) as pool:
            made = [pool.submit(register, models, f"new{number}") for number in range(12)]
            back = pool.submit(models.roll_back, by="ann", reason="incident", expected=3)
            numbers = sorted(each.result().version for each in made)
        assert back.result().version == 2
        assert numbers == list(range(4, 16))
        assert version_of(models.champion()) == 2
        assert models.verify().broken_at is None

    def test_a_rollback_and_an_approval_at_the_same_time_leave_a_champion_that_was_approved(
        self, models: Models
    ) -> None:
        for _ in range(6):
            serve(models, 2)
            newest = register(models, f"e{len(models.versions())}").version
            with ThreadPoolExecutor(2) as pool:
                approved = pool.submit(models.decide, newest, approved=True, by="chief")
                pool.submit(models.roll_back, by="ann", reason="incident")
                approved.result()
            champion = models.champion()
            assert champion is not None
            assert champion.status == "Approved"
            assert champion.rolled_back_at is None

    # The ledger

    def test_every_entry_follows_from_the_one_before(self, models: Models) -> None:
        assert models.verify().entries == 0
        serve(models, 2)
        models.roll_back(by="ann", reason="drift")
        verdict = models.verify()
        entries = models.ledger()
        assert (verdict.entries, verdict.broken_at, verdict.head) == (len(entries), None, entries[-1]["hash"])
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))


def serve(models: Models, count: int) -> None:
    """Register and approve so many more versions."""
    for _ in range(count):
        number = register(models, f"served{len(models.versions())}").version
        models.decide(number, approved=True, by="chief")


def version_of(model: ModelVersion | None) -> int | None:
    return None if model is None else model.version
