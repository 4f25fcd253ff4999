"""What radloop costs on AWS: quantity times dated price, line by line, beside what the brief's analysis states.

Nothing is known here that does not stand in `contracts/prices.json` and `contracts/scenarios.json`, or was measured on
an installation. A price that nobody read from AWS itself says so.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any, Final

from radloop.core.errors import InvalidInput, NotFound

HOURS_A_MONTH: Final = 730
_CENT: Final = 0.005
_FRAME_BYTES: Final = 512 * 512 * 2
_STORED: Final = 0.6  # of a received byte, as measured on lossless CT
_SUMS: Final = {
    "files and frames": ("files", "frames looked at"),
    "files and API requests": ("files", "API requests"),
    "requests to the site": ("API requests", "frames looked at"),
}


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs in one region.

    Attributes:
        free: Units a month that are free of charge.
        is_verified: Whether it was read from AWS's own price list.
        service: Code of the service in that list, and `filters` what singles the product out.
        usage: Type of use of the product without what names the region, such as `ReadRequestUnits`; empty for any.
        is_everywhere: Whether the product belongs to no region, as those of CloudFront.
    """

    name: str
    usd: float
    unit: str
    source: str
    date: str
    is_verified: bool
    free: float
    service: str
    filters: Mapping[str, str]
    usage: str = ""
    is_everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Prices:
    """All prices, of one region."""

    region: str
    by_name: Mapping[str, Price]

    def __getitem__(self, name: str) -> Price:
        """The price of that name.

        Raises:
            NotFound: There is none.
        """
        try:
            return self.by_name[name]
        except KeyError:
            raise NotFound(f"no price {name}; there are {', '.join(sorted(self.by_name))}") from None


@dataclass(frozen=True, slots=True)
class Stated:
    """What the brief states of one line; quantity and price are None where it names the amount alone."""

    amount: float
    quantity: float | None
    price: float | None
    unit: str

    @property
    def product(self) -> float | None:
        """Quantity times price, US dollars."""
        return None if self.quantity is None or self.price is None else self.quantity * self.price

    @property
    def adds_up(self) -> bool:
        """Whether its own numbers give its own amount, to the cent."""
        return self.product is None or abs(self.product - self.amount) < _CENT


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that costs.

    Attributes:
        factors: What the quantity is the product of; empty where no quantity can be found.
        per: What the product is divided by: 60 makes minutes hours.
        price: None where no price can be found.
        stated: None where the brief left it out.
        why: What to know about it, in a sentence.
        is_left_out: Whether the brief forgot what it is about altogether.
    """

    id: str
    group: str
    what: str
    factors: Mapping[str, float]
    per: float
    price: Price | None
    stated: Stated | None
    why: str
    is_left_out: bool = False

    @property
    def quantity(self) -> float:
        """In the units of the price."""
        return prod(self.factors.values()) / self.per if self.factors else 0.0

    @property
    def amount(self) -> float:
        """US dollars a month, less what is free of charge."""
        return 0.0 if self.price is None else max(0.0, self.quantity - self.price.free) * self.price.usd

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the statement: `missing`, `unsourced`, `product`, `quantity`, `price`, `free`."""
        if self.stated is None:
            return ("missing",)
        if self.price is None:
            return ("unsourced",)
        found = [] if self.stated.adds_up else ["product"]
        if self.stated.quantity is None:
            return (*found, "amount") if abs(self.stated.amount - self.amount) >= max(_CENT, 0.1 * self.amount) else ()
        if _differ(self.stated.quantity, self.quantity):
            found.append("quantity")
        if self.stated.price is not None and _differ(self.stated.price, self.price.usd * self._hours):
            found.append("price")
        if self.price.free:
            found.append("free")
        return tuple(found)

    @property
    def _hours(self) -> float:
        """Statements of a month at a price of an hour are compared by the month."""
        is_monthly = self.price is not None and self.price.unit == "hour" and "hours a month" in self.factors
        return self.factors["hours a month"] if is_monthly else 1.0

    def to_json(self) -> dict[str, Any]:
        """As facts."""
        stated = self.stated
        return {
            "id": self.id,
            "group": self.group,
            "what": self.what,
            "stated_usd": None if stated is None else stated.amount,
            "product_usd": None if stated is None or stated.product is None else round(stated.product, 4),
            "factors": dict(self.factors),
            "quantity": self.quantity,
            "unit": None if self.price is None else self.price.unit,
            "unit_usd": None if self.price is None else self.price.usd,
            "price": None if self.price is None else self.price.name,
            "verified": self.price is not None and self.price.is_verified,
            "usd": round(self.amount, 6),
            "faults": list(self.faults),
            "left_out": self.is_left_out,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure that the brief derives from its own lines.

    Attributes:
        stated: As it stands there.
        own: What the brief's own numbers give.
        right: What today's lines give; None where the claim has no counterpart.
    """

    id: str
    what: str
    stated: float
    own: float
    right: float | None
    why: str

    @property
    def adds_up(self) -> bool:
        """Whether its own numbers give it, within half a hundredth."""
        return abs(self.stated - self.own) <= max(_CENT, abs(self.own) / 200)

    def to_json(self) -> dict[str, Any]:
        """As facts."""
        right = None if self.right is None else round(self.right, 2)
        return {
            "id": self.id,
            "what": self.what,
            "stated": self.stated,
            "own": round(self.own, 2),
            "right": right,
            "adds_up": self.adds_up,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    """All lines of one load.

    Attributes:
        scans: CT studies of 1 GB a month; what was measured counts in these, too.
        stated_total: US dollars a month; None for what the brief does not speak of.
    """

    name: str
    title: str
    scans: float
    stated_total: float | None
    lines: tuple[Line, ...]

    @property
    def total(self) -> float:
        """US dollars a month."""
        return sum(line.amount for line in self.lines)

    @property
    def left_out(self) -> float:
        """What of the total the brief forgot, US dollars a month."""
        return sum(line.amount for line in self.lines if line.is_left_out)

    @property
    def sum_of_statements(self) -> float:
        """What the stated lines add up to, US dollars a month."""
        return sum(line.stated.amount for line in self.lines if line.stated is not None)

    def groups(self) -> list[tuple[str, float, float]]:
        """Name, stated and computed US dollars of each group, in order."""
        return [
            (
                name,
                sum(line.stated.amount for line in lines if line.stated is not None),
                sum(line.amount for line in lines),
            )
            for name, lines in ((name, list(of)) for name, of in groupby(self.lines, lambda line: line.group))
        ]

    def of(self, line: str) -> Line:
        """The line of that id.

        Raises:
            NotFound: There is none.
        """
        for one in self.lines:
            if one.id == line:
                return one
        raise NotFound(f"no line {line} in the scenario {self.name}")


def load_prices(text: str | bytes) -> Prices:
    """Prices from JSON of the shape of `contracts/prices.json`.

    Raises:
        InvalidInput: It has another shape.
    """
    with _reading("a price file"):
        document = json.loads(text)
        prices = [
            Price(
                name=str(one["name"]),
                usd=float(one["usd"]),
                unit=str(one["unit"]),
                source=str(one["source"]),
                date=str(one["date"]),
                is_verified=bool(one["verified"]),
                free=float(one.get("free", 0)),
                service=str(one["lookup"]["service"]),
                filters={str(key): str(value) for key, value in one["lookup"]["filters"].items()},
                usage=str(one["lookup"].get("usage", "")),
                is_everywhere=bool(one["lookup"].get("everywhere", False)),
            )
            for one in document["prices"]
        ]
        return Prices(str(document["region"]), {price.name: price for price in prices})


def load_scenarios(text: str | bytes, prices: Prices) -> dict[str, Estimate]:
    """Scenarios from JSON of the shape of `contracts/scenarios.json`, by name.

    Raises:
        InvalidInput: It has another shape, or a line needs what its load does not tell.
        NotFound: It names a price that is not there.
    """
    with _reading("a scenario file"):
        document = json.loads(text)
        return {str(one["name"]): _estimate(one, document["left_out"], prices) for one in document["scenarios"]}


@dataclass(frozen=True, slots=True)
class Measured:
    """What an installation holds and did, as it was measured.

    Attributes:
        days: How long it has been at work; at least one.
        received_bytes: Of all image sets as they came, `stored_bytes` as they are kept; 0 where nobody knows, which is
            so on AWS.
        files: Instances.
        runs: Trainings that ended, `training_s` and `processing_s` how long their steps took together.
    """

    days: float
    received_bytes: int
    stored_bytes: int
    image_sets: int
    files: int
    runs: int
    training_s: float
    processing_s: float


def measured(found: Measured, text: str | bytes, prices: Prices) -> Estimate:
    """What the same load would cost on AWS, a month; rates are those of the measured days.

    Args:
        found: What was measured. Bytes that nobody knows are taken to be those of slices of 512 x 512 pixels, stored
            as lossless CT is.
        text: JSON of the shape of `contracts/scenarios.json`, for the lines and what nobody measures.
        prices: What a unit costs.

    Raises:
        InvalidInput: The file has another shape, or a line needs what nobody tells.
        NotFound: It names a price that is not there.
    """
    months = max(found.days, 1.0) * 24 / HOURS_A_MONTH
    received = found.received_bytes or found.files * _FRAME_BYTES
    stored = found.stored_bytes or received * _STORED
    told = {
        "GB received": received / 1e9 / months,
        "GB kept": received / 1e9,
        "GiB kept": stored / 2**30,
        "GB to browsers": stored / 1e9 / months,
        "files": found.files / months,
        "frames looked at": received / _FRAME_BYTES / months,
        "API requests": (found.files + received / _FRAME_BYTES) / months,
        "hours of training": found.training_s / 3600 / months,
        "hours of processing": found.processing_s / 3600 / months,
        "runs so far": float(found.runs),
    }
    with _reading("a scenario file"):
        document = json.loads(text)
        about = document["installation"]
        load = _load(about["load"]) | told
        lines = (*_lines(about["lines"], prices, load), *_lines(document["left_out"], prices, load, is_left_out=True))
    how = "received" if found.received_bytes else "assumed"
    size = f"{received / 1e9:.2f} GB {how} in {found.days:.1f} days"
    title = f"This installation: {found.image_sets} image sets, {size}, {found.runs} runs"
    return Estimate("measured", title, told["GB received"], None, lines)


# The brief's derived figures


def claims(poc: Estimate, production: Estimate) -> tuple[Claim, ...]:
    """The figures that the brief derives from its lines, each beside what its own numbers give."""
    training = poc.of("K4")
    sagemaker_stated = sum(
        line.stated.amount for line in poc.lines if line.group == "SageMaker" and line.stated is not None
    )
    sagemaker = sum(line.amount for line in poc.lines if line.group == "SageMaker")
    training_stated = _amount(training)
    total = float(poc.stated_total or 0)
    scans, production_total = production.scans, float(production.stated_total or 0)
    return (
        Claim(
            "W3",
            "HealthImaging is cheaper than S3, times",
            100,
            0.023 / 0.0023,
            poc.of("K7a").price.usd / poc.of("K1").price.usd,  # type: ignore[union-attr]
            "0.0023 is a tenth of 0.023, and the first 30 days cost more than four times as much as S3.",
        ),
        Claim(
            "K14",
            "total of the lines",
            total,
            poc.sum_of_statements,
            poc.total,
            "The sum is nearly right; what is summed is not.",
        ),
        Claim(
            "K15",
            "spot instances save 70 % of training",
            214,
            0.7 * training_stated,
            0.7 * training.amount,
            "Right of a wrong base: there is next to nothing to save.",
        ),
        Claim(
            "K17",
            "a reservation at 35 % off saves a year",
            2600,
            0.35 * 321 * 12,
            0.35 * sagemaker * 12,
            "What would still be paid, not what is saved. SageMaker has savings plans, senseless for hours a month.",
        ),
        Claim(
            "K17b",
            "SageMaker a month with the reservation",
            217,
            0.65 * sagemaker_stated,
            0.65 * sagemaker,
            "It cannot be added to spot instances.",
        ),
        Claim(
            "K19",
            "all savings together, percent",
            43,
            100 * 214 / total,
            100 * 0.7 * training.amount / poc.total,
            "Spot instances alone would give more than is claimed for all; of the right base, next to nothing.",
        ),
        Claim(
            "K20",
            "production, total of the lines",
            production_total,
            production.sum_of_statements,
            production.total,
            "",
        ),
        Claim(
            "K20p",
            "production, a scan",
            24.54,
            production_total / scans,
            production.total / scans,
            "",
        ),
        Claim(
            "K20q",
            "production, a scan without SageMaker",
            4.54,
            (production_total - _amount(production.of("K20c"))) / scans,
            sum(line.amount for line in production.lines if line.group != "SageMaker") / scans,
            "2,454 less 2,170 is 284, of 100 scans.",
        ),
    )


def _amount(line: Line) -> float:
    return 0.0 if line.stated is None else line.stated.amount


# Reading


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Whatever goes wrong with the shape of a document is said to be `what`'s."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{what} has another shape: {type(error).__name__} at {error}") from None


def _estimate(document: Mapping[str, Any], left_out: Any, prices: Prices) -> Estimate:
    load = _load(document["load"])
    lines = (*_lines(document["lines"], prices, load), *_lines(left_out, prices, load, is_left_out=True))
    if len({line.id for line in lines}) != len(lines):
        raise InvalidInput(f"two lines of the scenario {document['name']} have the same id")
    return Estimate(
        name=str(document["name"]),
        title=str(document["title"]),
        scans=float(document["scans"]),
        stated_total=float(document["stated_total"]),
        lines=lines,
    )


def _lines(documents: Any, prices: Prices, load: Mapping[str, float], *, is_left_out: bool = False) -> Iterator[Line]:
    return (_line(one, prices, load, is_left_out=is_left_out) for one in _sequence(documents))


def _line(document: Mapping[str, Any], prices: Prices, load: Mapping[str, float], *, is_left_out: bool) -> Line:
    right: Mapping[str, Any] = document.get("right", {})
    factors: Mapping[str, Any] = right.get("factors", {})
    return Line(
        id=str(document["id"]),
        group=str(document["group"]),
        what=str(document["what"]),
        factors={str(name): _factor(name, value, load) for name, value in factors.items()},
        per=float(right.get("per", 1)),
        price=prices[str(right["price"])] if right else None,
        stated=_stated(document["brief"]) if "brief" in document else None,
        why=str(document.get("why", "")),
        is_left_out=is_left_out,
    )


def _load(document: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in document.items()}


def _factor(name: str, value: Any, load: Mapping[str, float]) -> float:
    """A figure, or what the load says of `name`."""
    if value != "load":
        return float(value)
    return sum(load[each] for each in _SUMS.get(name, (name,)))


def _stated(document: Mapping[str, Any]) -> Stated:
    quantity, price = document.get("quantity"), document.get("price")
    return Stated(
        amount=float(document["amount"]),
        quantity=None if quantity is None else float(quantity),
        price=None if price is None else float(price),
        unit=str(document.get("unit", "")),
    )


def _sequence(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise TypeError("a list of lines is expected")
    return value


def _differ(one: float, other: float) -> bool:
    """Whether two figures differ by more than a hundredth."""
    return abs(one - other) > 0.01 * max(abs(one), abs(other))
