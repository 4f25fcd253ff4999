"""Which form is sent for what is accepted: examples, and what must hold for any header at all."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from radloop.api.media import accepted, accepted_by, media_type
from radloop.api.negotiation import ANY, RAW, Choice, Form, files_choice, frames_choice, picture_choice, value_choice
from radloop.api.ranges import part_of
from tests.api.dicomweb.asking import EXPLICIT, JPEG, JPEG_2000, JPEG_LS, RPCL

NATIVE = [
    Form(RAW, EXPLICIT, True),
    Form("image/jphc", RPCL),
    Form("image/jph", RPCL),
    Form("image/jls", JPEG_LS),
    Form("image/jp2", JPEG_2000),
]
LOSSY = [Form(RAW, EXPLICIT), Form("image/jpeg", JPEG, True), *NATIVE[1:]]
FORMS = {"native": NATIVE, "lossy": LOSSY}

words = st.sampled_from(
    [
        "multipart/related",
        "image/jls",
        "image/x-jls",
        "image/*",
        "image/",
        ANY,
        RAW,
        "application/dicom",
        "video/mp4",
        "a/b",
        "",
    ]
)
syntaxes = st.sampled_from([None, "*", EXPLICIT, JPEG, JPEG_LS, RPCL, "1.2", ""])
ranges = st.lists(st.tuples(words, words, syntaxes, st.sampled_from([None, "1", "0.5", "0", "x", "-1"])), max_size=4)


def header(items: list[tuple[str, str, str | None, str | None]]) -> str:
    written = []
    for name, inner, syntax, q in items:
        text = name
        if name.startswith("multipart"):
            text += f'; type="{inner}"'
        text += "" if syntax is None else f"; transfer-syntax={syntax}"
        written.append(text + ("" if q is None else f"; q={q}"))
    return ", ".join(written)


def told(ask: Callable[[], Any], refusal: int) -> Any:
    """What is answered, or None for that refusal; any other is an error."""
    try:
        return ask()
    except HTTPException as error:
        if error.status_code != refusal:
            raise
        return None


def chosen(accept: str | None, forms: list[Form], count: int = 1) -> Choice | None:
    return told(lambda: frames_choice(accepted(accept), forms, count), 406)


@pytest.mark.parametrize(
    ("accept", "native", "lossy"),
    [
        (None, RAW, RAW),
        ("*/*", RAW, RAW),
        ("multipart/related", RAW, RAW),
        ("multipart/*", RAW, RAW),
        ('multipart/related; type="*/*"; transfer-syntax=*', RAW, "image/jpeg"),
        ("multipart/related; type=image/*", "image/jphc", "image/jpeg"),
        ('multipart/related; type="image/jpeg"', None, "image/jpeg"),
        ('multipart/related; type="image/jpeg"; transfer-syntax=*', None, "image/jpeg"),
        (f'multipart/related; type="image/jls"; transfer-syntax={JPEG}', None, None),
        ('multipart/related; type="image/x-jls"; transfer-syntax=*', "image/jls", "image/jls"),
        ("image/jls", "image/jls", "image/jls"),
        ("image/", "image/jphc", "image/jpeg"),
        ("video/*", None, None),
        ("*/*; q=0", None, None),
        (
            'multipart/related; type="image/jls";q=0.1, multipart/related; type="image/jp2";q=0.2',
            "image/jp2",
            "image/jp2",
        ),
    ],
)
def test_the_form_that_fits_is_chosen(accept: str | None, native: str | None, lossy: str | None) -> None:
    for forms, expected in ((NATIVE, native), (LOSSY, lossy)):
        found = chosen(accept, forms)
        assert (found and found.form.media) == expected


@given(ranges, st.sampled_from(sorted(FORMS)), st.integers(1, 3))
def test_what_is_chosen_can_be_made_and_was_accepted(items: Any, which: str, count: int) -> None:
    forms = FORMS[which]
    found = chosen(header(items), forms, count)
    if found is None:
        return
    form = found.form
    assert any(form == each or form == each._replace(media=RAW) for each in forms)
    assert not (found.is_single and count > 1)
    kinds = accepted(header(items))
    fits = [
        kind for kind in kinds if kind.parameters.get("transfer-syntax") in {None, "*", form.syntax} and kind.weight > 0
    ]
    assert fits


@given(st.text(max_size=80))
def test_any_accept_header_at_all_is_read_without_an_error(text: str) -> None:
    for kind in accepted(text):
        assert 0 < kind.weight <= 1
        assert kind.name == kind.name.strip().lower()
    chosen(text, NATIVE, 1)
    told(lambda: value_choice(accepted(text)), 406)
    told(lambda: files_choice(accepted(text), []), 406)
    told(lambda: picture_choice(accepted(text), ["image/png"]), 406)


@given(ranges)
def test_the_order_of_ranges_of_equal_weight_is_that_of_the_header(items: Any) -> None:
    weights = [kind.weight for kind in accepted(header(items) or None)]
    assert weights == sorted(weights, reverse=True)


@given(st.lists(words, min_size=1, max_size=4))
def test_accept_headers_may_be_split_anywhere(names: list[str]) -> None:
    whole = Headers({"accept": ", ".join(names)})
    split = Headers(raw=[(b"accept", name.encode()) for name in names])
    assert accepted_by(whole) == accepted_by(split)


def test_accept_is_read_with_quotes_and_weights() -> None:
    found = accepted('multipart/related; type="image/jph, odd";q=0.3, */*;q=0.2 ,text/html;q=x, a/b ; c="\\"d"')
    assert [each.name for each in found] == ["a/b", "multipart/related", "*/*"]
    assert found[1].parameters["type"] == "image/jph, odd"
    assert found[0].parameters["c"] == '"d'
    assert [each.name for each in accepted(None)] == ["*/*"]


@pytest.mark.parametrize("space", [*itertools.product(("", " ", "  "), repeat=2)])
def test_spaces_and_quotes_do_not_matter(space: tuple[str, str]) -> None:
    before, after = space
    for quote in ("", '"'):
        kind = media_type(f"multipart/related;{before}type{before}={after}{quote}image/jls{quote}{after};q=1")
        assert (kind.name, kind.parameters["type"]) == ("multipart/related", "image/jls")


@given(st.integers(0, 500), st.text(alphabet="bytes=0123456789-, ", max_size=20))
def test_any_range_lies_inside_or_is_refused(length: int, text: str) -> None:
    found = told(lambda: part_of(length, text), 416)
    assert found is None or 0 <= found[0] < found[1] <= length
