"""What the watch over readers must do on every substrate. Subclass it and provide the `place` fixture."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pytest

from radloop.core.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from radloop.core.identity import OWNER, SYSTEM, Principal
from radloop.core.images import ImageSet
from radloop.core.platform import Platform
from radloop.core.ports import Change, Put
from radloop.core.settings import Settings
from radloop.core.tables import CREDENTIALS, INCIDENTS, ISOLATIONS, SESSIONS, USERS
from radloop.functions import incident_evidence, incident_report
from radloop.functions.incident_evidence import evidence_of, examine
from radloop.functions.incident_report import page_of, report_of
from radloop.functions.incidents import (
    IncidentWatch,
    close,
    incident,
    incidents,
    isolate,
    isolated,
    open_by_hand,
    release,
    tell,
)
from radloop.registry import archive
from radloop.security.accounts import Credential, User, credential_document, put_user, user_document
from radloop.security.incidents import Incident
from radloop.security.isolation import is_isolated

LIMITS = Settings(incident_patients=3, isolate_patients=6, bulk_readers=("archive",))
READER = Principal("some-reader", frozenset({"reader"}))
PATIENT = "Doe^Jane-19470101"
"""PatientIDs begin so: none of it may be in anything that is told."""


class Place(Protocol):
    """An installation with the settings `LIMITS`, and hands on it."""

    platform: Platform

    def store(self, patient: str, number: int = 0) -> ImageSet:
        """An image set of a patient."""
        ...

    def wait(self, seconds: float) -> None:
        """Put the clock forward."""
        ...

    def alarms(self) -> list[Mapping[str, Any]]:
        """Details of all events that tell of an alarm, in order."""
        ...


def opened(place: Place, patients: int, by: Principal = READER, *, begin: int = 0) -> list[str]:
    """So many patients' image sets, each opened by somebody."""
    found = [place.store(f"{PATIENT}-{number}").id for number in range(begin, begin + patients)]
    for each in found:
        place.platform.audit.read(by, each)
    return found


def only(place: Place) -> Incident:
    (found,) = incidents(place.platform)
    return found


def administrator(place: Place, name: str) -> User:
    user = User(f"id-of-{name}", name, frozenset({"admin"}), None, False, place.platform.clock())
    place.platform.records.commit(Change(writes=[put_user(user, user_document(user, "hash"), expected=0)]))
    return user


class IncidentsContract:
    # Noticing

    def test_as_many_patients_as_are_allowed_are_no_incident(self, place: Place) -> None:
        opened(place, 3)
        assert IncidentWatch(place.platform).look() == []
        assert incidents(place.platform) == []

    def test_one_patient_more_is_an_incident_which_is_told_once(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        opened(place, 4)
        assert watch.look() == [only(place).id]
        for again in (watch, IncidentWatch(place.platform)):
            assert again.look() == []
        found = only(place)
        assert (found.principal, found.patients, found.limit, found.isolated_at) == (READER.id, 4, 3, None)
        (told,) = place.alarms()
        assert (told["alarm"], told["state"]) == ("incident-many-patients", "ALARM")
        assert found.id in told["cause"]
        assert not is_isolated(place.platform.records, READER.id)

    def test_a_watch_that_looks_between_counts_on_from_there(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        opened(place, 3)
        assert watch.look() == []
        place.wait(60)
        opened(place, 1, begin=3)
        assert watch.look() == [only(place).id]

    def test_many_image_sets_of_few_patients_are_no_incident(self, place: Place) -> None:
        for number in range(12):
            place.platform.audit.read(READER, place.store(f"{PATIENT}-{number % 3}", number).id)
        assert IncidentWatch(place.platform).look() == []

    def test_many_patients_in_a_long_time_are_no_incident(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        for number in range(9):
            opened(place, 1, begin=number)
            assert watch.look() == []
            place.wait(101)

    def test_the_installation_itself_and_who_may_read_any_number_are_not_counted(self, place: Place) -> None:
        opened(place, 9, SYSTEM)
        opened(place, 9, Principal("archive", frozenset()), begin=9)
        assert IncidentWatch(place.platform).look() == []

    # Keeping out

    def test_above_the_higher_limit_the_reader_is_kept_out_once(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        opened(place, 4)
        watch.look()
        opened(place, 3, begin=4)
        assert watch.look() == [only(place).id]
        at = only(place).isolated_at
        place.wait(1)
        for again in (watch, IncidentWatch(place.platform)):
            assert again.look() == []
        assert (only(place).isolated_at, only(place).patients) == (at, 7)
        (kept_out,) = isolated(place.platform)
        assert (kept_out["principal"], kept_out["incident"]) == (READER.id, only(place).id)
        assert [each["cause"].count("isolated") for each in place.alarms()] == [0, 1]
        actions = [each.action for each in place.platform.audit.entries(where={"subject": READER.id})]
        assert actions == ["principal.isolate"]

    def test_two_watches_at_the_same_time_do_it_once(self, place: Place) -> None:
        opened(place, 8)
        watches = [IncidentWatch(place.platform) for _ in range(4)]
        with ThreadPoolExecutor(len(watches)) as at_once:
            found = list(at_once.map(lambda watch: watch.look(), watches))
        assert sorted(map(len, found)) == [0, 0, 0, 1]
        assert only(place).isolated_at is not None
        assert len(place.alarms()) == 1

    def test_who_has_no_account_is_noticed_and_not_kept_out(self, place: Place) -> None:
        opened(place, 8, OWNER)
        opened(place, 8, Principal("ae:PACS", frozenset()), begin=8)
        IncidentWatch(place.platform).look()
        assert {each.principal for each in incidents(place.platform)} == {"owner", "ae:PACS"}
        assert isolated(place.platform) == []
        with pytest.raises(Conflict, match="no account"):
            isolate("ae:PACS", place.platform, by=OWNER.id)

    def test_the_last_administrator_is_not_kept_out_and_one_of_two_is(self, place: Place) -> None:
        ann = administrator(place, "ann")
        watch = IncidentWatch(place.platform)
        opened(place, 8, Principal(ann.id, ann.roles))
        watch.look()
        assert only(place).isolated_at is None
        administrator(place, "bob")
        watch.look()
        assert only(place).isolated_at is not None

    def test_who_was_let_in_again_is_not_kept_out_for_the_same(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        opened(place, 8)
        watch.look()
        assert release(READER.id, place.platform, by="admin-1")
        assert not release(READER.id, place.platform, by="admin-1")
        opened(place, 1, begin=8)
        assert watch.look() == []
        assert not is_isolated(place.platform.records, READER.id)
        assert only(place).released_at is not None

    def test_what_a_person_has_judged_is_not_opened_again_but_what_comes_later_is(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        opened(place, 4)
        watch.look()
        close(only(place).id, "false-alarm", place.platform, by="admin-1")
        assert watch.look() == []
        place.wait(301)
        opened(place, 4, begin=4)
        assert len(watch.look()) == 1
        assert [each.is_open for each in incidents(place.platform)] == [True, False]

    def test_who_was_let_in_again_and_goes_on_is_noticed_and_kept_out_again(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        opened(place, 8)
        watch.look()
        release(READER.id, place.platform, by="admin-1")
        place.wait(1)
        opened(place, 4, begin=8)
        (second,) = watch.look()
        assert not is_isolated(place.platform.records, READER.id)
        opened(place, 3, begin=12)
        assert watch.look() == [second]
        assert is_isolated(place.platform.records, READER.id)
        assert incident(second, place.platform).patients == 7
        assert len(incidents(place.platform)) == 2

    def test_no_other_incident_of_theirs_that_is_closed_hides_what_they_read(self, place: Place) -> None:
        opened(place, 8)
        for is_drill in (False, True):
            made = open_by_hand(place.platform, by="admin-1", principal=READER.id, is_drill=is_drill)
            close(made.id, "false-alarm", place.platform, by="admin-1")
        assert len(IncidentWatch(place.platform).look()) == 1
        assert is_isolated(place.platform.records, READER.id)

    def test_nobody_judges_an_incident_of_their_own_but_the_owner_of_a_home(self, place: Place) -> None:
        made = open_by_hand(place.platform, by="admin-1", principal=READER.id)
        with pytest.raises(Conflict, match="of their own"):
            close(made.id, "false-alarm", place.platform, by=READER.id)
        with pytest.raises(Conflict, match="of their own"):
            tell(made.id, "legal", place.platform, by=READER.id)
        isolate(READER.id, place.platform, by="admin-1")
        with pytest.raises(Conflict, match="themself"):
            release(READER.id, place.platform, by=READER.id)
        assert incident(made.id, place.platform).is_open
        alone = open_by_hand(place.platform, by=OWNER.id, principal=OWNER.id)
        assert not close(alone.id, "false-alarm", place.platform, by=OWNER.id).is_open

    def test_a_real_isolation_is_not_part_of_a_drill(self, place: Place) -> None:
        drill = open_by_hand(place.platform, by="admin-1", principal=READER.id, is_drill=True)
        made = isolate(READER.id, place.platform, by="admin-1")
        assert made.id != drill.id
        assert not made.is_drill
        assert incident(drill.id, place.platform).isolated_at is None

    def test_who_is_kept_out_signs_in_anew_when_let_in(self, place: Place) -> None:
        ann = administrator(place, "ann")
        (user,) = place.platform.records.find(USERS, {"identity": ann.id})
        place.platform.records.commit(
            Change(writes=[Put(SESSIONS, "a-session", {"user": user.key}, {"user": user.key})])
        )
        isolate(ann.id, place.platform, by="admin-1")
        assert release(ann.id, place.platform, by="admin-1")
        assert place.platform.records.count(SESSIONS) == 0

    def test_a_person_keeps_somebody_out_once_and_not_themself(self, place: Place) -> None:
        first = isolate(READER.id, place.platform, by="admin-1")
        assert isolate(READER.id, place.platform, by="admin-1") == first
        assert place.platform.records.count(ISOLATIONS) == place.platform.records.count(INCIDENTS) == 1
        with pytest.raises(Conflict, match="themself"):
            isolate("admin-1", place.platform, by="admin-1")
        release(READER.id, place.platform, by="admin-1")
        again = isolate(READER.id, place.platform, by="admin-1")
        assert (again.id, again.released_at) == (first.id, None)

    # Clocks

    def test_both_clocks_run_and_people_are_reminded_of_each_twice(self, place: Place) -> None:
        watch = IncidentWatch(place.platform)
        made = open_by_hand(place.platform, by="admin-1")
        begun = place.platform.clock()
        ends = {name: clock.ends_at for name, clock in made.clocks.items()}
        assert ends == {
            "internal": (begun + timedelta(hours=24)).isoformat(),
            "legal": (begun + timedelta(days=60)).isoformat(),
        }
        for hours in (17, 2, 6, 24 * 45, 24 * 16):
            place.wait(hours * 3600)
            watch.look()
            watch.look()
        names = [each["alarm"] for each in place.alarms()[1:]]
        assert names == ["incident-clock-internal"] * 2 + ["incident-clock-legal"] * 2

    def test_a_clock_is_stopped_by_a_person_and_stays_as_it_was_stopped(self, place: Place) -> None:
        made = open_by_hand(place.platform, by="admin-1")
        place.wait(20 * 3600)
        IncidentWatch(place.platform).look()
        told = tell(made.id, "internal", place.platform, by="admin-2")
        place.wait(7 * 3600)
        assert tell(made.id, "internal", place.platform, by="admin-3").clocks == told.clocks
        assert told.clocks["internal"].told_by == "admin-2"
        assert IncidentWatch(place.platform).look() == []
        assert [each["state"] for each in place.alarms() if each["alarm"] == "incident-clock-internal"] == [
            "ALARM",
            "OK",
        ]
        with pytest.raises(InvalidInput):
            tell(made.id, "third", place.platform, by="admin-2")
        with pytest.raises(NotFound):
            tell("none", "legal", place.platform, by="admin-2")

    def test_what_was_real_is_closed_only_when_everybody_was_told(self, place: Place) -> None:
        made = open_by_hand(place.platform, by="admin-1")
        with pytest.raises(Conflict, match="internal, legal"):
            close(made.id, "handled", place.platform, by="admin-1")
        for which in made.clocks:
            tell(made.id, which, place.platform, by="admin-1")
        assert close(made.id, "handled", place.platform, by="admin-1").outcome == "handled"
        with pytest.raises(Conflict, match="closed"):
            close(made.id, "handled", place.platform, by="admin-1")
        assert place.alarms()[-1]["state"] == "OK"

    def test_a_drill_says_so_and_ends_without_anybody_told(self, place: Place) -> None:
        made = open_by_hand(place.platform, by="admin-1", is_drill=True)
        assert place.alarms()[0]["alarm"] == "incident-drill"
        assert "(drill)" in page_of(report_of(made.id, place.platform))
        assert not close(made.id, "handled", place.platform, by="admin-1").is_open

    # Report and evidence

    def test_the_report_counts_whose_images_were_opened_and_names_nobody(self, place: Place) -> None:
        seen = opened(place, 8)
        place.platform.audit.read(READER, place.store(f"{PATIENT}-0", 99).id)
        other = opened(place, 2, Principal("another", frozenset()), begin=20)
        IncidentWatch(place.platform).look()
        report = report_of(only(place).id, place.platform)
        assert (report["patients_affected"], report["image_sets_affected"]) == (8, 9)
        listed = {one["image_set"] for each in report["patients"] for one in each["image_sets"]}
        assert listed > set(seen)
        assert listed.isdisjoint(other)
        assert [each["action"] for each in report["acts"]] == ["incident.open", "principal.isolate"]
        told = json.dumps(report) + page_of(report) + json.dumps(place.alarms())
        assert PATIENT not in told
        assert "Doe" not in told

    def test_what_was_under_way_when_the_reader_was_kept_out_is_in_the_report(self, place: Place) -> None:
        opened(place, 8)
        IncidentWatch(place.platform).look()
        place.wait(4)
        opened(place, 1, begin=8)
        place.wait(3600)
        opened(place, 1, begin=9)
        assert report_of(only(place).id, place.platform)["patients_affected"] == 9

    def test_what_somebody_opens_who_was_let_in_again_is_in_the_report(self, place: Place) -> None:
        opened(place, 8)
        IncidentWatch(place.platform).look()
        place.wait(3600)
        release(READER.id, place.platform, by="admin-1")
        opened(place, 1, begin=8)
        assert report_of(only(place).id, place.platform)["patients_affected"] == 9
        place.wait(3600)
        assert report_of(only(place).id, place.platform)["until"] == place.platform.clock().isoformat()

    def test_pictures_in_lists_are_told_and_are_not_patients_affected(self, place: Place) -> None:
        for each in opened(place, 2, Principal("another", frozenset())):
            place.platform.audit.count(READER, "search.thumbnail", each)
        place.platform.audit.flush()  # type: ignore[attr-defined]
        made = open_by_hand(place.platform, by="admin-1", principal=READER.id)
        report = report_of(made.id, place.platform)
        assert report["patients_affected"] == 0
        assert any(each.startswith("2 image sets stood in lists") for each in report["open_points"])

    def test_keys_that_the_principal_made_are_named_until_they_are_worthless(self, place: Place) -> None:
        now = place.platform.clock()
        made = open_by_hand(place.platform, by="admin-1", principal=READER.id)
        for name, by, revoked in (("theirs", READER.id, None), ("gone", READER.id, now), ("other", "admin-1", None)):
            key = Credential(f"AKRL-{name}", frozenset({"reader"}), None, "", by, now, None, revoked)
            place.platform.records.commit(Change(writes=[Put(CREDENTIALS, key.id, credential_document(key))]))
        (told,) = [each for each in report_of(made.id, place.platform)["open_points"] if "AKRL" in each]
        assert "AKRL-theirs" in told
        assert "AKRL-gone" not in told
        assert "AKRL-other" not in told
        isolate("AKRL-theirs", place.platform, by="admin-1")
        assert not any("AKRL" in each for each in report_of(made.id, place.platform)["open_points"])

    def test_a_report_over_a_longer_audit_than_fits_says_what_to_do(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = open_by_hand(place.platform, by="admin-1")
        opened(place, 3)
        monkeypatch.setattr(incident_report, "MOST_ENTRIES", 2)
        with pytest.raises(TooLarge, match="later since"):
            report_of(made.id, place.platform)

    def test_what_was_opened_before_is_in_the_report_that_asks_for_it(self, place: Place) -> None:
        begin = place.platform.clock().isoformat()
        opened(place, 2)
        place.wait(3600)
        opened(place, 8, begin=2)
        IncidentWatch(place.platform).look()
        identity = only(place).id
        assert report_of(identity, place.platform)["patients_affected"] == 8
        assert report_of(identity, place.platform, since=begin)["patients_affected"] == 10
        for wrong in ("yesterday", "2026-01-05T09:00", "2999-01-01T00:00:00Z"):
            with pytest.raises(InvalidInput):
                report_of(identity, place.platform, since=wrong)

    def test_evidence_holds_until_anything_in_it_is_changed(self, place: Place) -> None:
        opened(place, 2, Principal("another", frozenset()))
        place.wait(3600)
        opened(place, 8, begin=2)
        IncidentWatch(place.platform).look()
        data = evidence_of(only(place).id, place.platform)
        found = examine(data, place.platform.signer.public_key if place.platform.signer else None)
        assert found.holds
        assert found.is_trusted
        assert (found.incident, found.entries) == (only(place).id, 11)
        assert place.platform.audit.verify(found.head).holds_head
        for at in range(0, len(data), 997):
            changed = bytearray(data)
            changed[at] ^= 1
            assert not examine(bytes(changed)).holds, at
        assert not examine(data, "0" * 64).holds

    @pytest.mark.parametrize("attack", ["left out", "changed", "swapped", "cut"])
    def test_a_signed_file_whose_audit_does_not_follow_is_found(self, place: Place, attack: str) -> None:
        opened(place, 8)
        IncidentWatch(place.platform).look()
        signer = place.platform.signer
        assert signer is not None
        found = archive.opened(evidence_of(only(place).id, place.platform), incident_evidence.FORMAT)
        lines = found.files[incident_evidence.AUDIT].splitlines(keepends=True)
        lines = {
            "left out": [*lines[:3], *lines[4:]],
            "changed": [*lines[:3], lines[3].replace(b'"count": 1', b'"count": 2'), *lines[4:]],
            "swapped": [*lines[:3], lines[4], lines[3], *lines[5:]],
            "cut": lines[:-1],
        }[attack]
        about = {name: told for name, told in found.manifest.items() if name not in {"files", "public_key"}}
        files = {name: data for name, data in found.files.items() if not name.startswith("manifest")}
        again = archive.sealed(about, {**files, incident_evidence.AUDIT: b"".join(lines)}, signer)
        examined = examine(again, signer.public_key)
        assert [each.name for each in examined.checks if not each.passed] == ["chain"]

    def test_a_longer_audit_than_fits_is_refused_and_so_is_one_without_a_key(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = open_by_hand(place.platform, by="admin-1")
        opened(place, 3)
        with pytest.raises(Unavailable):
            evidence_of(made.id, replace(place.platform, signer=None))
        monkeypatch.setattr(incident_evidence, "MOST_ENTRIES", 2)
        with pytest.raises(TooLarge):
            evidence_of(made.id, place.platform)

    def test_what_is_deleted_is_an_open_point(self, place: Place) -> None:
        place.platform.audit.read(READER, "no-longer-there")
        made = open_by_hand(place.platform, by="admin-1", principal=READER.id)
        report = report_of(made.id, place.platform)
        assert (report["deleted_image_sets"], report["patients_affected"]) == (["no-longer-there"], 0)
        assert any("deleted" in each for each in report["open_points"])
        assert incident(made.id, place.platform) == made
