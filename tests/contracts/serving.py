"""What everything must do that serves the version the model ledger says: in a process of ours, or at an endpoint."""

from collections.abc import Callable

import pytest

from radloop.core.errors import NotFound
from radloop.core.ports import Models, ModelVersion

VERSIONS = 4


def artifact_of(number: int) -> str:
    """Where the package of this version lies."""
    return f"model-artifacts/models/e{number}/model.tar.gz"


def register(models: Models) -> ModelVersion:
    """The next version, which waits for its decision."""
    number = len(models.versions()) + 1
    return models.register(execution=f"e{number}", artifact=artifact_of(number), metrics={}, lineage={})


def approve(models: Models) -> ModelVersion:
    """The next version, approved."""
    return models.decide(register(models).version, approved=True, by="chief")


class ServingContract:
    """Subclass it and provide `models`, `asked` and `changes`.

    `asked` has a study judged and gives the version whose package it was judged with, known by the package and not by
    what the ledger says; where nothing serves, it raises what the asker is told. `changes` is how often what serves
    was loaded, made or replaced so far. Packages lie under `artifact_of` for the first VERSIONS versions.
    """

    def test_where_nothing_was_ever_registered_nothing_serves_and_that_is_said(
        self, asked: Callable[[], int], changes: Callable[[], int]
    ) -> None:
        with pytest.raises(NotFound, match=r"^(no|there is no) "):
            asked()
        assert changes() == 0

    def test_only_an_approved_version_serves(self, models: Models, asked: Callable[[], int]) -> None:
        register(models)
        with pytest.raises(NotFound):
            asked()
        models.decide(1, approved=False, by="chief")
        with pytest.raises(NotFound):
            asked()
        approve(models)
        assert asked() == 2

    def test_asking_again_changes_nothing(
        self, models: Models, asked: Callable[[], int], changes: Callable[[], int]
    ) -> None:
        approve(models)
        assert asked() == 1
        before = changes()
        assert before > 0
        assert [asked() for _ in range(3)] == [1, 1, 1]
        assert changes() == before

    def test_a_newer_approved_version_takes_over_and_the_older_serves_no_more(
        self, models: Models, asked: Callable[[], int]
    ) -> None:
        for number in range(1, VERSIONS + 1):
            approve(models)
            assert [asked(), asked()] == [number, number]

    def test_a_version_that_waits_or_was_rejected_leaves_what_serves_alone(
        self, models: Models, asked: Callable[[], int]
    ) -> None:
        approve(models)
        assert asked() == 1
        register(models)
        assert asked() == 1
        models.decide(2, approved=False, by="chief")
        assert asked() == 1

    def test_after_a_rollback_the_version_before_serves(self, models: Models, asked: Callable[[], int]) -> None:
        for _ in range(3):
            approve(models)
            asked()
        models.roll_back(by="chief", reason="drift")
        assert asked() == 2
        models.roll_back(by="chief", reason="drift")
        assert asked() == 1
        approve(models)
        assert asked() == 4

    def test_a_version_that_a_person_names_serves_again(self, models: Models, asked: Callable[[], int]) -> None:
        for _ in range(3):
            approve(models)
        assert asked() == 3
        models.roll_back(by="chief", reason="incident", to=1)
        assert asked() == 1
