"""Checks of rendered pictures and thumbnails (PS3.18 §10.4.1.1.3, §10.4.1.1.4, §8.3.5)."""

import numpy as np

from radloop.conform import stock
from radloop.conform.model import Group, Severity, differ_unless
from radloop.conform.pictures import picture
from radloop.conform.session import Session

RENDERED = Group("rendered", "Rendered and thumbnails")

_MUST, _SHOULD, _MAY = Severity.MUST, Severity.SHOULD, Severity.MAY
_RESOURCE = "PS3.18 §10.4.1.1.3"
_PARAMETERS = "PS3.18 §8.3.5.1"
_TYPES = "PS3.18 §8.7.4"


def _shape(data: bytes) -> tuple[int, int]:
    rows, columns = picture(data).shape[:2]
    return rows, columns


def _grey(session: Session, path: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    found = picture(session.get(path, "image/png").must_be(200).body).astype(float)
    return found if found.ndim == 2 else found[..., :3].mean(axis=2)  # noqa: PLR2004 — rows, columns


@RENDERED.check(_MUST, _TYPES, "200 image/jpeg, 64 x 48")
def _jpeg(session: Session) -> str:
    """An image is rendered as JPEG."""
    answer = session.get(f"{stock.ct(session).at_instance}/rendered", "image/jpeg").must_be(200)
    differ_unless(answer.kind.name == "image/jpeg", answer.seen)
    differ_unless(_shape(answer.body) == (48, 64), f"{_shape(answer.body)} rows and columns")
    return answer.seen


@RENDERED.check(_MUST, _TYPES, "200 image/jpeg", only_reads=True)
def _jpeg_is_the_default(session: Session) -> str:
    """Where any type is welcome, JPEG comes."""
    answer = session.get(f"{stock.image(session).at_instance}/rendered", "*/*").must_be(200)
    differ_unless(answer.kind.name == "image/jpeg", answer.seen)
    return answer.seen


@RENDERED.check(_MUST, _TYPES, "200 image/png", only_reads=True)
def _png(session: Session) -> str:
    """An image is rendered as PNG."""
    answer = session.get(f"{stock.image(session).at_instance}/rendered", "image/png").must_be(200)
    differ_unless(answer.kind.name == "image/png", answer.seen)
    picture(answer.body)
    return answer.seen


@RENDERED.check(_MUST, "PS3.18 §8.7.8.1", "406", only_reads=True)
def _unknown_type(session: Session) -> str:
    """A type that does not exist is not acceptable."""
    return session.get(f"{stock.image(session).at_instance}/rendered", "image/x-no-such").must_be(406).seen


@RENDERED.check(_MUST, _PARAMETERS, "dark where the window lies above, bright where it lies below")
def _window(session: Session) -> str:
    """A window is applied."""
    path = f"{stock.ct(session).at_instance}/rendered?window="
    above, below = (_grey(session, f"{path}{centre},200,linear").mean() for centre in (2000, -3000))
    differ_unless(above < 20 and below > 235, f"mean greys {above:.0f} and {below:.0f}")  # noqa: PLR2004 — of 255
    return f"mean greys {above:.0f} and {below:.0f}"


@RENDERED.check(_MUST, _RESOURCE, "greys that rise with the stored values (correlation above 0.99)")
def _greys_are_true(session: Session) -> str:
    """What is brighter in the image is brighter in the picture."""
    held = stock.ct(session)
    shown = _grey(session, f"{held.at_instance}/rendered?window=-500,3200,linear")
    stored = held.specimens[0].frames[0].astype(float)
    differ_unless(shown.shape == stored.shape, f"shape {shown.shape}")
    likeness = float(np.corrcoef(shown.ravel(), stored.ravel())[0, 1])
    differ_unless(likeness > 0.99, f"correlation {likeness:.3f}")  # noqa: PLR2004 — 8 bits leave 0.999
    return f"correlation {likeness:.3f}"


@RENDERED.check(_SHOULD, "RFC 3986 §2.4", "200", only_reads=True)
def _window_percent_encoded(session: Session) -> str:
    """Commas that a client wrote as %2C are commas."""
    path = f"{stock.image(session).at_instance}/rendered?window=40%2C400%2Clinear"
    return session.get(path, "image/jpeg").must_be(200).seen


@RENDERED.check(_MUST, f"PS3.18 §8.3 and {_PARAMETERS[7:]}", "400", only_reads=True)
def _window_that_is_none(session: Session) -> str:
    """A window that is none is refused."""
    return session.get(f"{stock.image(session).at_instance}/rendered?window=abc", "image/jpeg").must_be(400).seen


@RENDERED.check(_MUST, _PARAMETERS, "a picture no larger than 32 x 32")
def _viewport(session: Session) -> str:
    """A picture fits into the viewport."""
    path = f"{stock.ct(session).at_instance}/rendered?viewport=32,32"
    rows, columns = _shape(session.get(path, "image/png").must_be(200).body)
    differ_unless(max(rows, columns) <= 32, f"{columns} x {rows}")  # noqa: PLR2004 — what was asked for
    return f"{columns} x {rows}"


@RENDERED.check(_SHOULD, f"PS3.18 §8.3 and {_PARAMETERS[7:]}", "400", only_reads=True)
def _quality_that_is_none(session: Session) -> str:
    """A quality above 100 is refused."""
    return session.get(f"{stock.image(session).at_instance}/rendered?quality=101", "image/jpeg").must_be(400).seen


@RENDERED.check(_MUST, _RESOURCE, "another picture for another frame")
def _frame(session: Session) -> str:
    """A frame is rendered by its number."""
    path = f"{stock.frames(session).at_instance}/frames"
    one, two = (_grey(session, f"{path}/{number}/rendered") for number in (1, 2))
    differ_unless(one.shape == two.shape == (32, 40), f"shapes {one.shape} and {two.shape}")
    differ_unless(bool((one != two).any()), "the same picture")
    return "40 x 32, twice"


@RENDERED.check(_MUST, "PS3.18 §10.4.3.1 and §8.5", "404")
def _absent_frame(session: Session) -> str:
    """A frame behind the last is not rendered."""
    path = f"{stock.frames(session).at_instance}/frames/9/rendered"
    return session.get(path, "image/jpeg").must_be(404).seen


@RENDERED.check(_SHOULD, "PS3.18 §10.4.3.1 and §8.5", "404 or 406")
def _no_pixels(session: Session) -> str:
    """A report is not rendered as a picture."""
    path = f"{stock.report(session).at_instance}/rendered"
    return session.get(path, "image/jpeg").must_be(404, 406).seen


@RENDERED.check(_SHOULD, "PS3.18 §10.4.1.1.4", "200, a picture", only_reads=True)
def _thumbnail(session: Session) -> str:
    """An instance has a thumbnail."""
    answer = session.get(f"{stock.image(session).at_instance}/thumbnail", "image/jpeg").must_be(200)
    rows, columns = _shape(answer.body)
    return f"200, {columns} x {rows}"


@RENDERED.check(_SHOULD, "PS3.18 §10.4.1.1.4", "200, a picture", only_reads=True)
def _thumbnail_of_a_series(session: Session) -> str:
    """A series and a study have a thumbnail."""
    held = stock.image(session)
    for path in (held.at_series, held.at_study):
        picture(session.get(f"{path}/thumbnail", "image/jpeg").must_be(200).body)
    return "200, pictures"
