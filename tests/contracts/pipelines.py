"""What every Pipelines must do."""

import pytest

from radloop.core.errors import InvalidInput, NotFound
from radloop.core.events import PipelineTriggered
from radloop.core.ports import Pipelines
from tests.local.pipeline_home import PARAMETERS, PipelineHome


class PipelinesContract:
    """Subclass it and provide `pipelines`, and `home`, which tells of the events and jobs beside it."""

    def test_an_execution_is_executing_from_its_start(self, pipelines: Pipelines) -> None:
        assert pipelines.start("one", PARAMETERS)
        execution = pipelines.get("one")
        assert (execution.id, execution.state, execution.ended_at) == ("one", "Executing", None)
        assert execution.started_at

    def test_the_steps_are_those_of_the_definition_in_their_order(self, pipelines: Pipelines) -> None:
        pipelines.start("one", PARAMETERS)
        steps = [(step.name, step.type, step.state) for step in pipelines.get("one").steps]
        assert steps == [
            ("Preprocess", "Processing", "Waiting"),
            ("Train", "Training", "Waiting"),
            ("Evaluate", "Processing", "Waiting"),
            ("Gate", "Condition", "Waiting"),
            ("Register", "RegisterModel", "Waiting"),
            ("Refuse", "Fail", "Waiting"),
        ]

    def test_parameters_are_kept_with_the_defaults_of_the_others(self, pipelines: Pipelines) -> None:
        pipelines.start("one", {**PARAMETERS, "AccuracyThreshold": 0.9})
        parameters = pipelines.get("one").parameters
        assert parameters["AccuracyThreshold"] == 0.9
        assert parameters["epochs"] == "3"
        assert parameters["batch_size"] == "32"

    def test_the_same_execution_started_twice_is_one(self, pipelines: Pipelines) -> None:
        assert pipelines.start("one", PARAMETERS)
        assert not pipelines.start("one", {**PARAMETERS, "Snapshot": "another"})
        assert pipelines.get("one").parameters["Snapshot"] == "abc"
        assert len(pipelines.executions()) == 1

    def test_events_are_told_with_the_start_and_not_with_a_second_one(
        self, pipelines: Pipelines, home: PipelineHome
    ) -> None:
        told = PipelineTriggered(execution="one", snapshot="abc", studies=6).told(at=home.clock())
        again = PipelineTriggered(execution="one", snapshot="abd", studies=7).told(at=home.clock())
        pipelines.start("one", PARAMETERS, events=[told])
        pipelines.start("one", PARAMETERS, events=[again])
        assert home.events == [("PipelineTriggered", {"execution": "one", "snapshot": "abc", "studies": 6})]

    def test_executions_come_newest_first_and_no_more_than_asked_for(self, pipelines: Pipelines) -> None:
        for name in ("one", "two", "three"):
            pipelines.start(name, PARAMETERS)
        assert [execution.id for execution in pipelines.executions(limit=2)] == ["three", "two"]

    def test_an_unknown_execution_is_not_found(self, pipelines: Pipelines) -> None:
        with pytest.raises(NotFound):
            pipelines.get("none")

    @pytest.mark.parametrize(
        "parameters",
        [
            {**PARAMETERS, "Unheard": "of"},
            {key: value for key, value in PARAMETERS.items() if key != "ContextUri"},
            {**PARAMETERS, "AccuracyThreshold": "high"},
        ],
        ids=["unknown", "missing", "no number"],
    )
    def test_wrong_parameters_are_refused_and_nothing_is_started(
        self, pipelines: Pipelines, parameters: dict[str, object]
    ) -> None:
        with pytest.raises(InvalidInput):
            pipelines.start("one", parameters)
        assert pipelines.executions() == []
