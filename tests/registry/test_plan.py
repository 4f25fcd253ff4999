"""The change control plan: how strictly it is read, when it holds, and what lies outside it."""

import contextlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radloop.core.errors import InvalidInput, InvalidPlan
from radloop.core.ports import PlanSigner
from radloop.registry.plan import Run, load, standing_of, violations
from radloop.registry.signatures import PrivateKey, is_signed, public_key_of, public_pem
from tests.registry.plans import KEYS, PLAN, SIGNERS, signed

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
BOTH = ("ann", "bob")


def state_of(text: str, *names: str, now: datetime = NOW) -> str:
    return standing_of(text.encode(), SIGNERS, signed(text, *names), now).state


# Reading


def test_a_plan_is_read_as_it_was_written() -> None:
    plan = load(PLAN.encode())
    assert (plan.name, plan.author, plan.modalities, plan.sources) == (
        "test",
        "author-1",
        ("CT", "DX"),
        ("house", "clinic"),
    )
    assert (plan.new_patients, plan.reads_per_label, plan.code_versions) == (2, 1, ("0.1.0",))
    assert {name: str(admitted) for name, admitted in plan.recipe.items()} == {
        "epochs": "1 to 9",
        "image_size": "64 or 96",
        "threads": "anything",
    }
    assert plan.drift_triggers == {"inputs": True, "prevalence": False}
    assert plan.signatures == ("release-approver", "auditor")


def test_sources_may_be_any() -> None:
    assert load(PLAN.replace("sources: [house, clinic]", "sources: any").encode()).sources is None


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("version: 1", "version: 2", "line 1: version is '2', expected 1"),
        ("name: test", "name: two words", "line 2: name is 'two words'"),
        ("author: author-1", "writer: author-1", "line 3: the plan has no 'writer'"),
        ("author: author-1\n", "", "the plan lacks author"),
        ("name: test", "name: test\nname: test", "line 3: name stands in the plan twice"),
        ("2026-12-31", "2025-12-31", "valid.until lies before valid.from"),
        ("2026-12-31", "2026-02-30", "expected a day that there is"),
        ("2026-12-31", "tomorrow", "expected a day such as"),
        ("[weights, threshold]", "[weights, labels]", "line 7: modifications.may_change is 'labels'"),
        ("[CT, DX]", "[CT, MR]", "line 8: modifications.modalities is 'MR'"),
        ("[CT, DX]", "[]", "a list with at least one entry"),
        ("new_patients: 2", "new_patients: -2", "expected a whole number"),
        ("reads_per_label: 1", "reads_per_label: 0", "expected at least 1"),
        ("reads_per_label: 1", "reads_per_label: two", "expected a whole number"),
        ("epochs: {from: 1, to: 9}", "epochs: {from: 9, to: 1}", "ends below its beginning"),
        ("epochs: {from: 1, to: 9}", "epochs: {from: 1}", "lacks to"),
        ("epochs: {from: 1, to: 9}", "epochs: some", "is a list of values"),
        ("threads: any", "epochs: any", "epochs stands in protocol.recipe twice"),
        ("a" * 64, "a" * 63, "expected 64 digits of hex"),
        ("risks: r", "risks: ''", "impact_assessment.risks is '', expected text"),
        ("risks: r, ", "", "impact_assessment lacks risks"),
        ("retrain: true", "retrain: perhaps", "expected true or false"),
        ("monitor: prevalence", "monitor: inputs", "inputs stands in drift_triggers twice"),
        ("release: automatic", "release: always", "expected automatic or person"),
        ("after_rollback: hold", "after_rollback: forget", "expected hold or continue"),
        ("[release-approver, auditor]", "[]", "a list with at least one entry"),
        ("[release-approver, auditor]", "release-approver", "a list with at least one entry"),
        ("valid: {", "valid: [", "this is not YAML"),
    ],
)
def test_what_is_wrong_in_a_plan_is_told_with_its_line(before: str, after: str, told: str) -> None:
    assert before in PLAN
    with pytest.raises(InvalidPlan, match=re.escape(told)) as caught:
        load(PLAN.replace(before, after, 1).encode())
    assert re.match(r"plan line \d+: ", str(caught.value))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"plan", b"\xff\xfe", b"a: &a [*a]", b"!!python/object:os.system {}", b"{" * 5000]
)
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidPlan):
        load(data)


def test_a_plan_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="at most"):
        load(PLAN.encode() + b"#" * 200_000)


@given(st.binary(max_size=300))
def test_no_bytes_surprise_the_reader(data: bytes) -> None:
    with contextlib.suppress(InvalidPlan):
        load(data)


@given(place=st.integers(0, len(PLAN) - 1), letter=st.characters(max_codepoint=126, min_codepoint=32))
def test_no_changed_letter_surprises_the_reader(place: int, letter: str) -> None:
    try:
        load((PLAN[:place] + letter + PLAN[place + 1 :]).encode())
    except InvalidPlan as error:
        assert "plan" in str(error)  # noqa: PT017 — that it may also be read is half of the point


# Standing


def test_a_plan_that_everybody_needed_has_signed_is_valid() -> None:
    standing = standing_of(PLAN.encode(), SIGNERS, signed(PLAN, *BOTH), NOW)
    assert (standing.state, standing.is_valid, standing.missing, standing.problems) == ("valid", True, (), ())
    assert [(each.signer, each.holds) for each in standing.signatures] == [("ann", True), ("bob", True)]


def test_without_a_plan_there_is_none() -> None:
    standing = standing_of(None, SIGNERS, (), NOW)
    assert (standing.state, [each.code for each in standing.problems]) == ("missing", ["plan-missing"])


def test_a_plan_that_cannot_be_read_is_told_with_its_line() -> None:
    standing = standing_of(b"version: 9", SIGNERS, (), NOW)
    assert standing.state == "invalid"
    assert "plan line 1" in standing.sentence


def test_a_signature_that_is_missing_is_named_by_its_role() -> None:
    standing = standing_of(PLAN.encode(), SIGNERS, signed(PLAN, "ann"), NOW)
    assert (standing.state, standing.missing) == ("unsigned", ("auditor",))
    assert standing_of(PLAN.encode(), SIGNERS, (), NOW).missing == ("release-approver", "auditor")


@given(place=st.integers(0, len(PLAN) - 1), other=st.integers(1, 127))
def test_one_changed_byte_anywhere_voids_all_signatures(place: int, other: int) -> None:
    data = bytearray(PLAN.encode())
    data[place] ^= other
    standing = standing_of(bytes(data), SIGNERS, signed(PLAN, *BOTH), NOW)
    assert not standing.is_valid
    assert not any(each.holds for each in standing.signatures)


def test_a_plan_that_was_changed_after_signing_says_so() -> None:
    changed = PLAN.replace("to: 9", "to: 90")
    standing = standing_of(changed.encode(), SIGNERS, signed(PLAN, *BOTH), NOW)
    assert (standing.state, standing.missing) == ("void", ("release-approver", "auditor"))
    assert {each.why for each in standing.signatures} == {"other-bytes"}


def test_a_blank_at_the_end_is_a_change_too() -> None:
    assert standing_of(f"{PLAN} ".encode(), SIGNERS, signed(PLAN, *BOTH), NOW).state == "void"


def test_the_author_cannot_sign() -> None:
    standing = standing_of(PLAN.encode(), SIGNERS, signed(PLAN, "ann", "author-1"), NOW)
    assert standing.state == "unsigned"
    assert [each.why for each in standing.signatures] == ["", "author"]


def test_a_stranger_cannot_sign() -> None:
    standing = standing_of(PLAN.encode(), SIGNERS, signed(PLAN, "ann", "eve"), NOW)
    assert [each.why for each in standing.signatures] == ["", "unknown-signer"]


def test_a_signature_in_another_role_does_not_count() -> None:
    (given_,) = signed(PLAN, "bob")
    standing = standing_of(PLAN.encode(), SIGNERS, (replace(given_, role="release-approver"),), NOW)
    assert [each.why for each in standing.signatures] == ["other-role"]
    promoted = (SIGNERS[0], replace(SIGNERS[1], role="release-approver"))
    standing = standing_of(PLAN.encode(), promoted, (replace(given_, role="release-approver"),), NOW)
    assert [each.why for each in standing.signatures] == ["wrong-signature"], "the role is part of what was signed"


def test_a_signature_of_somebody_else_does_not_count() -> None:
    (given_,) = signed(PLAN, "bob")
    (other,) = signed(PLAN, "ann")
    standing = standing_of(PLAN.encode(), SIGNERS, (replace(given_, signature=other.signature),), NOW)
    assert [each.why for each in standing.signatures] == ["wrong-signature"]


def test_one_key_under_two_names_is_one_person() -> None:
    twice = (SIGNERS[0], PlanSigner("bob", "auditor", KEYS["ann"].public_key))
    forged = signed(PLAN, "ann")
    from radloop.registry.signatures import plan_message

    second = replace(
        signed(PLAN, "bob")[0],
        signature=KEYS["ann"].sign(plan_message(PLAN.encode(), signer="bob", role="auditor")).hex(),
    )
    standing = standing_of(PLAN.encode(), twice, (*forged, second), NOW)
    assert (standing.state, standing.missing) == ("unsigned", ("auditor",))


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), "expired"),
        (datetime(2026, 1, 1, tzinfo=UTC), "valid"),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), "valid"),
        (datetime(2027, 1, 1, tzinfo=UTC), "expired"),
    ],
)
def test_a_plan_holds_on_its_first_and_on_its_last_day_and_not_beyond(now: datetime, state: str) -> None:
    assert state_of(PLAN, *BOTH, now=now) == state


# Outside

INSIDE = Run(
    recipe={"epochs": "9", "image_size": "64", "threads": "2"},
    code_version="0.1.0",
    policy_sha256="a" * 64,
    modalities=frozenset({"CT"}),
    sources=frozenset({"house"}),
    new_patients=2,
    fewest_reads=1,
)


def test_a_run_inside_the_plan_violates_nothing() -> None:
    assert violations(load(PLAN.encode()), INSIDE) == ()


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({"recipe": {**INSIDE.recipe, "epochs": "10"}}, ["recipe-outside-plan"]),
        ({"recipe": {**INSIDE.recipe, "epochs": "many"}}, ["recipe-outside-plan"]),
        ({"recipe": {**INSIDE.recipe, "image_size": "128"}}, ["recipe-outside-plan"]),
        ({"recipe": {**INSIDE.recipe, "dropout": "0.5"}}, ["recipe-not-in-plan"]),
        ({"recipe": {}}, ["recipe-unknown"]),
        ({"code_version": "0.2.0"}, ["code-version-outside-plan"]),
        ({"code_version": None}, ["code-version-outside-plan"]),
        ({"policy_sha256": "b" * 64}, ["policy-outside-plan"]),
        ({"policy_sha256": None}, ["policy-outside-plan"]),
        ({"modalities": frozenset({"CT", "CR"})}, ["modality-outside-plan"]),
        ({"sources": frozenset({"house", "elsewhere"})}, ["source-outside-plan"]),
        ({"new_patients": 1}, ["too-few-new-patients"]),
        ({"fewest_reads": 0}, ["too-few-reads"]),
        ({"new_patients": None}, ["data-unknown"]),
        ({"code_version": "9", "new_patients": 0}, ["code-version-outside-plan", "too-few-new-patients"]),
    ],
)
def test_what_lies_outside_the_plan_is_named_by_a_code(change: dict[str, object], codes: list[str]) -> None:
    found = violations(load(PLAN.encode()), replace(INSIDE, **change))  # type: ignore[arg-type]
    assert [each.code for each in found] == codes
    assert all(each.sentence.endswith(".") for each in found)


def test_a_source_is_counted_and_not_named() -> None:
    (found,) = violations(load(PLAN.encode()), replace(INSIDE, sources=frozenset({"Doe Hospital"})))
    assert "Doe" not in found.sentence


# Keys


def test_a_key_survives_its_file_sealed_or_not() -> None:
    key = PrivateKey.generate()
    for password in (None, b"secret"):
        assert PrivateKey.from_pem(key.pem(password), password).public_key == key.public_key
    for password in (None, b"wrong"):
        with pytest.raises(InvalidInput):
            PrivateKey.from_pem(key.pem(b"secret"), password)
    assert public_key_of(public_pem(key.public_key)) == key.public_key
    assert public_key_of(f" {key.public_key.upper()}\n".encode()) == key.public_key


@pytest.mark.parametrize(
    "data", [b"", b"zz" * 32, b"ab" * 31, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_public_key_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        public_key_of(data)


@given(data=st.binary(max_size=200), place=st.integers(0, 63), other=st.integers(1, 255))
def test_a_changed_signature_does_not_hold(data: bytes, place: int, other: int) -> None:
    made = bytearray(KEYS["ann"].sign(data))
    assert is_signed(KEYS["ann"].public_key, data, made.hex())
    made[place] ^= other
    assert not is_signed(KEYS["ann"].public_key, data, made.hex())
    assert not is_signed(KEYS["bob"].public_key, data, KEYS["ann"].sign(data).hex())


def test_the_template_of_a_plan_can_be_filled_in(tmp_path: Path) -> None:
    from radloop.change_plan import write_plan

    plan = write_plan(tmp_path, author="author-1")
    assert plan.signatures == ("release-approver", "auditor")
    assert plan.sources is None
    assert set(plan.recipe) >= {"epochs", "seed", "threads"}
    assert str(plan.recipe["threads"]) == "anything"
