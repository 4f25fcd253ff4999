"""Charts of a report as inline SVG, drawn here: no script, no font, no file from elsewhere. Colours come by CSS."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

_SIDE: Final = 300
_LEFT: Final = 46
_TOP: Final = 10
_PLOT: Final = 236  # side of the square that 0..1 fills on both axes
_TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_TRACK: Final = 1000  # units across an interval's track


def roc_chart(points: Sequence[Mapping[str, Any]], confusion: Mapping[str, int], area: str) -> str:
    """True over false positive rate, the diagonal of chance and the operating point.

    Args:
        points: `fpr` and `tpr`, ascending.
        confusion: At the operating point: tn, fp, fn, tp.
        area: The area with its interval, for those who cannot see the chart.
    """
    line = [(point["fpr"], point["tpr"]) for point in points]
    negatives, positives = confusion["fp"] + confusion["tn"], confusion["tp"] + confusion["fn"]
    marks = ""
    if negatives and positives:
        at = confusion["fp"] / negatives, confusion["tp"] / positives
        marks = _dot(*at, 5, "point", f"Operating point: sensitivity {at[1]:.3f}, specificity {1 - at[0]:.3f}")
    body = f"{_area(line)}{_line([(0, 0), (1, 1)], 'chance')}{_line(line, 'curve')}{marks}"
    return _chart(f"ROC curve, area {area}", "1 - specificity", "sensitivity", body)


def pr_chart(points: Sequence[Mapping[str, Any]], prevalence: float, area: str) -> str:
    """Precision over recall, and the prevalence, which a model that knows nothing reaches.

    Args:
        points: `recall` and `precision`, recall ascending.
        prevalence: Share of positives.
        area: The average precision with its interval.
    """
    line = [(point["recall"], point["precision"]) for point in points]
    steps = [(0.0, line[0][1]), *line] if line else []
    body = f"{_area(steps)}{_line([(0, prevalence), (1, prevalence)], 'chance')}{_line(steps, 'curve')}"
    return _chart(f"Precision-recall curve, average precision {area}", "sensitivity (recall)", "precision", body)


def calibration_chart(bins: Sequence[Mapping[str, Any]], error: str) -> str:
    """Share with the finding over mean probability of each bin; a dot's area tells how many image sets it holds.

    Args:
        bins: `mean_probability`, `share_present`, `image_sets`.
        error: The calibration error with its interval.
    """
    most = max((one["image_sets"] for one in bins), default=1)
    line = sorted((one["mean_probability"], one["share_present"]) for one in bins)
    dots = "".join(
        _dot(
            one["mean_probability"],
            one["share_present"],
            2 + 4 * (one["image_sets"] / most) ** 0.5,
            "point",
            f"{one['image_sets']} image sets: probability {one['mean_probability']:.3f}, "
            f"present {one['share_present']:.3f}",
        )
        for one in bins
    )
    body = f"{_line([(0, 0), (1, 1)], 'chance')}{_line(line, 'curve')}{dots}"
    return _chart(f"Calibration, error {error}", "probability given", "share with the finding", body)


def track(
    estimate: Mapping[str, Any], span: tuple[float, float], marks: Sequence[tuple[float, str]] = (), label: str = ""
) -> str:
    """A figure and its interval as a bar on a line from one end of `span` to the other.

    Args:
        estimate: `value`, `ci_low`, `ci_high`; nothing is drawn where they are None.
        span: Lowest and highest value on the line.
        marks: Upright lines to compare with: where, and a class of the style sheet.
        label: For those who cannot see it.
    """
    low, high = span

    def across(value: float) -> int:
        return round(_TRACK * min(1.0, max(0.0, (value - low) / (high - low))))

    parts = [f'<line class="rail" x1="0" x2="{_TRACK}" y1="10" y2="10"/>']
    parts += [f'<line class="{name}" x1="{across(at)}" x2="{across(at)}" y1="0" y2="20"/>' for at, name in marks]
    if estimate.get("value") is not None and estimate.get("ci_low") is not None:
        left, right, at = across(estimate["ci_low"]), across(estimate["ci_high"]), across(estimate["value"])
        parts.append(f'<rect class="reach" x="{left}" y="6" width="{max(4, right - left)}" height="8"/>')
        parts.append(f'<line class="value" x1="{at}" x2="{at}" y1="2" y2="18"/>')
    return (
        f'<svg class="track" viewBox="0 0 {_TRACK} 20" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _chart(title: str, across: str, up: str, body: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(_grid())}{body}"
        f'<text class="axis" x="{_LEFT + _PLOT / 2:g}" y="{_SIDE - 8}" text-anchor="middle">{escape(across)}</text>'
        f'<text class="axis" transform="translate(12 {_TOP + _PLOT / 2:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(up)}</text></svg>"
    )


def _grid() -> Iterator[str]:
    for tick in _TICKS:
        x, y = _place(tick, tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _PLOT}" y1="{y:g}" y2="{y:g}"/>'
        yield f'<line class="grid" x1="{x:g}" x2="{x:g}" y1="{_TOP}" y2="{_TOP + _PLOT}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:g}" text-anchor="end">{tick:g}</text>'
        yield f'<text x="{x:g}" y="{_TOP + _PLOT + 16}" text-anchor="middle">{tick:g}</text>'


def _place(x: float, y: float) -> tuple[float, float]:
    return round(_LEFT + _PLOT * x, 2), round(_TOP + _PLOT * (1 - y), 2)


def _line(points: Sequence[tuple[float, float]], name: str) -> str:
    path = " ".join(f"{x:g},{y:g}" for x, y in (_place(*point) for point in points))
    return f'<polyline class="{name}" points="{path}"/>' if points else ""


def _area(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return ""
    path = " ".join(
        f"{x:g},{y:g}" for x, y in (_place(*one) for one in [(points[0][0], 0.0), *points, (points[-1][0], 0.0)])
    )
    return f'<polygon class="area" points="{path}"/>'


def _dot(x: float, y: float, radius: float, name: str, title: str) -> str:
    across, down = _place(x, y)
    return (
        f'<circle class="{name}" cx="{across:g}" cy="{down:g}" r="{radius:.2f}"><title>{escape(title)}</title></circle>'
    )
