"""People are told of what went wrong: by real servers, once each, without a secret or a patient's value on the way."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from radloop.core.errors import Unavailable
from radloop.core.events import (
    AlarmStateChanged,
    ModelApproved,
    ModelRolledBack,
    PipelineEnded,
    PipelineTriggered,
    ReleaseHeld,
    event_of,
)
from radloop.core.ports import Change
from radloop.core.settings import Settings
from radloop.functions import notification
from radloop.functions.catalogue import FUNCTIONS
from radloop.monitoring import notices
from radloop.monitoring.notices import Notice, address_of, send, service_of, target_of
from tests.functions.house import House
from tests.monitoring.sinks import hook_server, mail_server

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#radiology"
PAGER = "pagerduty://0123456789abcdef0123456789abcdef@fedcba9876543210fedcba9876543210"
ALARM = AlarmStateChanged("retrieval-latency", "ALARM", "A1: p99 1.8 seconds - limit 1")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House.build(tmp_path, Settings(notify=(SLACK, PAGER), public_url="https://pacs.example.org"))
    yield built
    built.database.close()


def deliveries(house: House) -> list[dict[str, Any]]:
    """Route what was told, run the function, and take the messages it asks for."""
    house.platform.bus.route()
    while claim := house.platform.jobs.claim("events"):
        if claim.job.kind == "notification":
            for _ in range(2):  # delivery is at least once
                FUNCTIONS[claim.job.kind](event_of(claim.job.payload), house.platform)
        house.platform.jobs.done(claim)
    found = []
    while claim := house.platform.jobs.claim("notify"):
        found.append(dict(claim.job.payload))
        house.platform.jobs.done(claim)
    return found


def tell(house: House, *happenings: Any) -> None:
    events = [happening.told(at=house.clock()) for happening in happenings]
    house.platform.records.commit(Change(events=events))


def test_every_address_gets_a_message_of_its_own_and_a_repeat_asks_for_none(house: House) -> None:
    tell(house, ALARM)
    found = deliveries(house)
    assert [each["target"] for each in found] == [target_of(SLACK), target_of(PAGER)]
    assert {each["title"] for each in found} == {"radloop: alarm retrieval-latency is on"}
    assert "A1: p99 1.8 seconds - limit 1" in found[0]["body"]
    assert "https://pacs.example.org/app/" in found[0]["body"]


def test_what_is_worth_a_message_and_what_is_not(house: House) -> None:
    tell(
        house,
        replace(ALARM, state="OK"),
        AlarmStateChanged("dead-letter-fold", "ALARM", "job-1: unavailable"),
        AlarmStateChanged("dead-letter-notify", "ALARM", "job-2: unavailable"),
        PipelineTriggered("e1", "5" * 64, 12),
        PipelineEnded("e1", "Failed", "step-failed"),
        PipelineEnded("e2", "Succeeded", "succeeded"),
        ModelApproved(2, "e2", "u-chief"),
        ReleaseHeld(3, "e3", ("margin", "evidence")),
        ModelRolledBack(3, 2, "performance-drop", "chief", 7),
    )
    titles = [each["title"].removeprefix("radloop: ") for each in deliveries(house)]
    assert titles[::2] == titles[1::2]
    assert set(titles) == {
        "alarm retrieval-latency is off again",
        "alarm dead-letter-fold is on",
        "a run of the pipeline began",
        "a run of the pipeline failed",
        "model version 2 was approved",
        "model version 3 waits for a person",
        "model version 3 was taken back",
    }


def test_no_secret_of_an_address_stands_in_a_job_or_in_the_settings_as_printed(house: House) -> None:
    tell(house, ALARM)
    for text in (str(deliveries(house)), repr(house.platform.settings)):
        assert "TIiajkdnlazkcOXrIdevi7FQ" not in text
        assert "0123456789abcdef0123456789abcdef" not in text


def test_nobody_is_asked_where_nobody_is_named(tmp_path: Path) -> None:
    house = House.build(tmp_path, Settings())
    tell(house, ALARM)
    assert deliveries(house) == []
    house.database.close()


def test_a_message_to_an_address_that_was_taken_out_is_not_sent(house: House) -> None:
    notification.deliver({"target": target_of("json://127.0.0.1:9"), "title": "t", "body": "b"}, house.platform)


def test_an_address_is_found_by_a_name_that_tells_nothing_of_it() -> None:
    assert address_of(target_of(SLACK), (PAGER, SLACK)) == SLACK
    assert address_of(target_of(SLACK), (PAGER,)) is None
    assert (service_of(SLACK), service_of("nothing")) == ("slack", "unknown")
    assert len(target_of(SLACK)) == 12


# By real servers


def test_a_mail_server_and_a_webhook_take_the_message(tmp_path: Path) -> None:
    with mail_server() as mail, hook_server() as hook:
        house = House.build(tmp_path, Settings(notify=(mail.address, hook.address)))
        house.store("MRN-123456")  # of a patient, whose name is in the store
        tell(house, ALARM)
        for payload in deliveries(house):
            notification.deliver(payload, house.platform)
        house.database.close()
    (message,) = mail.messages
    assert message["Subject"] == "radloop: alarm retrieval-latency is on"
    assert message["To"] == "oncall@example.org"
    body = message.get_body(("plain",))
    assert body is not None
    assert "A1: p99 1.8 seconds - limit 1" in body.get_content()
    (posted,) = hook.bodies
    assert posted["title"] == "radloop: alarm retrieval-latency is on"
    for text in (message.as_string(), str(posted)):
        for word in ("Doe", "Jane", "MRN-123456", "secret-of"):
            assert word not in text


def test_a_server_that_refuses_or_is_not_there_is_worth_another_try(capfd: pytest.CaptureFixture[str]) -> None:
    with hook_server() as hook:
        hook.status = 500
        with pytest.raises(Unavailable, match="json did not take") as refused:
            send(Notice("t", "b"), hook.address)
    with pytest.raises(Unavailable, match="none that Apprise knows") as unknown:
        send(Notice("t", "b"), "no-such-service://secret-of-nobody")
    printed = "".join(capfd.readouterr())
    for text in (str(refused.value), str(unknown.value), printed):
        assert "secret-of" not in text
    assert printed == ""


def test_a_server_that_never_answers_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "_LONGEST_S", 0.2)
    with pytest.raises(Unavailable, match="took longer"):
        send(Notice("t", "b"), "json://127.0.0.1:9/")


def test_the_address_stands_on_no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = subprocess.run

    def noted(command: list[str], **options: Any) -> Any:
        seen.append(command)
        return real([command[0], "-c", ""], **options)

    monkeypatch.setattr(subprocess, "run", noted)
    send(Notice("t", "b"), SLACK)
    assert "slack" not in str(seen)
