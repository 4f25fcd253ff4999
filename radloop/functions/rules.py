"""Which function an event wakes: rules, and the patterns they match events with.

Patterns are EventBridge's, so that Terraform and this process read the same `contracts/events/rules.json` and agree
on it. The meaning is that of AWS's own Event Ruler. What is easily got wrong:

- Only leaves count: `[]` and `{}` do not exist, `null` does.
- `true` is not `1` and `"1"` is not `1`, but `1`, `1.0` and `1e0` are one number.
- Fields of objects in an array match only within one and the same element.
- `anything-but` needs a value that differs; an absent field does not match it.
- Paths are joined by dots, so `{"a.b": ..}` and `{"a": {"b": ..}}` say the same, and the later one counts.
"""

import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

from radloop.core.errors import InvalidPattern
from radloop.core.settings import Settings

_DEEPEST = 200  # EventBridge's 2,048 characters of pattern allow little more
_MOST_BRANCHES = 1000  # EventBridge's limit on combinations of $or

_OPERATORS = [
    "exactly",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
]
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_RESERVED_IN_OR = frozenset([*_OPERATORS, *_COMPARISONS, "regex", "not-wildcard", "not-equals-ignore-case"]) | {
    *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
    *("ip-address-in-range", "ip-address-not-in-range"),
}

Test = Callable[[object], bool]
"""Says of one leaf of an event whether it is what the pattern asks for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which events wake which function.

    Attributes:
        name: As in the brief, where it has the rule.
        pattern: EventBridge event pattern; one it would refuse raises InvalidPattern.
        target: Name of the function, a key of `functions.catalogue.FUNCTIONS`.
        delay_s: Seconds between the event and its delivery.
        branches: The pattern made ready.
    """

    name: str
    description: str
    pattern: Mapping[str, Any]
    target: str
    delay_s: float = 0.0
    branches: "list[_Branch]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "branches", _compiled(self.pattern))  # once, not for every event


def load_rules(texts: Iterable[str], settings: Settings) -> tuple[Rule, ...]:
    """The rules written in `texts`, in their order.

    Args:
        texts: JSON documents `{"rules": [{"name", "description", "pattern", "target", "delay"}, ..]}`; `delay` is
            optional and names the setting that tells the seconds delivery waits.
        settings: Where the delays are looked up.

    Raises:
        InvalidPattern: EventBridge would refuse a rule's pattern.
        ValueError: Two rules share a name, or one waits for a setting that does not exist.
    """
    rules = tuple(_rule(entry, settings) for text in texts for entry in json.loads(text)["rules"])
    if len({rule.name for rule in rules}) < len(rules):
        raise ValueError("two rules share a name")
    return rules


def _rule(entry: Mapping[str, Any], settings: Settings) -> Rule:
    delay = entry.get("delay")
    if delay is not None and delay not in {known.name for known in fields(Settings)}:
        raise ValueError(f"rule {entry['name']} waits for the setting {delay}, which does not exist")
    return Rule(
        name=entry["name"],
        description=entry["description"],
        pattern=entry["pattern"],
        target=entry["target"],
        delay_s=float(getattr(settings, delay)) if delay else 0.0,
    )


def targets(event: Mapping[str, Any], rules: Sequence[Rule]) -> list[Rule]:
    """The rules that `event`, in EventBridge's own spelling (`Event.as_json`), wakes."""
    found = _leaves(event)
    return [rule for rule in rules if any(_holds(branch, found) for branch in rule.branches)]


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Whether EventBridge would deliver `event` to a rule with `pattern`.

    Raises:
        InvalidPattern: EventBridge would refuse the pattern.

    >>> matches({"source": ["a"], "detail": {"n": [{"numeric": [">", 5]}]}}, {"source": "a", "detail": {"n": 6}})
    True
    >>> matches({"detail": {"x": [1], "y": [2]}}, {"detail": [{"x": 1}, {"y": 2}]})
    False
    """
    branches = _compiled(pattern)
    found = _leaves(event)
    return any(_holds(branch, found) for branch in branches)


# Events: leaves by path, each with its place in the arrays around it

_Place = Mapping[int, int]  # number of an array in the event -> index in it
_Choice = frozenset[tuple[int, int]]  # the same, for the elements a match has settled on


def _leaves(event: Mapping[str, Any]) -> dict[str, list[tuple[object, _Place]]]:
    """Every leaf by its dotted path; a stack instead of recursion, because events come from outside."""
    found: dict[str, list[tuple[object, _Place]]] = {}
    arrays = 0
    stack: list[tuple[str, object, _Place]] = [("", event, {})]
    while stack:
        path, value, place = stack.pop()
        if isinstance(value, Mapping):
            stack.extend((f"{path}.{key}" if path else str(key), inner, place) for key, inner in value.items())
        elif isinstance(value, list | tuple):
            stack.extend((path, inner, {**place, arrays: index}) for index, inner in enumerate(value))
            arrays += 1
        else:
            found.setdefault(path, []).append((value, place))
    return found


@dataclass(frozen=True, slots=True)
class _Field:
    """What a pattern asks of one path: any of `tests` holds for a leaf, or, where allowed, there is none."""

    tests: tuple[Test, ...]
    may_be_absent: bool


def _holds(branch: Mapping[str, _Field], found: Mapping[str, list[tuple[object, _Place]]]) -> bool:
    """Whether one choice of leaves satisfies every field without taking two elements of one array.

    Fields are taken in the order of their paths, as Event Ruler does: an absent field is judged within the elements
    that the paths before it chose. A choice in an array that no later path lies in is forgotten, so that many
    arrays in one event do not multiply.
    """
    paths = sorted(branch)
    places: set[_Choice] = {frozenset()}
    for index, path in enumerate(paths):
        later = {array for other in paths[index + 1 :] for _, place in found.get(other, []) for array in place}
        places = {
            frozenset(chosen for chosen in after if chosen[0] in later)
            for so_far in places
            for after in _after(branch[path], so_far, found.get(path, []))
        }
        if not places:
            return False
    return True


def _after(field: _Field, so_far: _Choice, leaves: list[tuple[object, _Place]]) -> Iterator[_Choice]:
    """Every choice of array elements under which `field` holds, given those chosen `so_far`."""
    chosen = dict(so_far)
    consistent = [
        (value, place)
        for value, place in leaves
        if all(chosen.get(array, index) == index for array, index in place.items())
    ]
    if field.may_be_absent and not consistent:
        yield so_far
    for value, place in consistent:
        if any(test(value) for test in field.tests):
            yield so_far | frozenset(place.items())


# Patterns: one branch per combination of $or, each a flat map from path to field

_Branch = dict[str, _Field]


def _compiled(pattern: Mapping[str, Any]) -> list[_Branch]:
    return _object([{}], "", pattern, depth=0, inside_or=False)


def _object(branches: list[_Branch], path: str, pattern: object, *, depth: int, inside_or: bool) -> list[_Branch]:
    """`branches`, each narrowed by one object of the pattern that stands under `path`."""
    if not isinstance(pattern, Mapping) or not pattern:
        raise InvalidPattern(f"{path or 'a pattern'} must be an object with at least one field")
    if depth > _DEEPEST:
        raise InvalidPattern(f"a pattern is at most {_DEEPEST} levels deep")
    for name, value in pattern.items():
        if not isinstance(name, str):
            raise InvalidPattern("field names are strings")
        if name == "$or":
            branches = _either(branches, path, value, depth=depth + 1)
            continue
        if inside_or and name in _RESERVED_IN_OR:
            raise InvalidPattern(f"{name} is a reserved word inside $or")
        below = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            branches = _object(branches, below, value, depth=depth + 1, inside_or=inside_or)
        elif isinstance(value, list | tuple):
            asked = _field(below, value)
            branches = [{**branch, below: asked} for branch in branches]
        else:
            raise InvalidPattern(f"{below} must be an object or an array")
    return branches


def _either(branches: list[_Branch], path: str, alternatives: object, *, depth: int) -> list[_Branch]:
    if not isinstance(alternatives, list | tuple) or len(alternatives) < 2:  # noqa: PLR2004 — one branch is no choice
        raise InvalidPattern("$or needs an array of at least two objects")
    grown: list[_Branch] = []
    for alternative in alternatives:
        grown += _object(branches, path, alternative, depth=depth, inside_or=True)
        if len(grown) > _MOST_BRANCHES:
            raise InvalidPattern(f"$or may make at most {_MOST_BRANCHES} combinations")
    return grown


def _field(path: str, values: Sequence[object]) -> _Field:
    if not values:
        raise InvalidPattern(f"{path} must not be an empty array")
    tests = []
    may_be_absent = False
    for value in values:
        if isinstance(value, Mapping):
            word, operand = _only(value)
            if word == "exists" and operand is False:
                may_be_absent = True
            else:
                tests.append(_operation(word, operand))
        else:
            tests.append(_exact(value))
    return _Field(tuple(tests), may_be_absent)


def _only(expression: Mapping[Any, Any]) -> tuple[object, object]:
    """The one operator of a match expression and what it is applied to."""
    if len(expression) != 1:
        raise InvalidPattern("a match expression has exactly one operator")
    ((word, operand),) = expression.items()
    return word, operand


# Tests on one leaf


def _operation(word: object, operand: object) -> Test:  # noqa: PLR0911 — a table of operators, one a line
    match word:
        case "exactly":
            return partial(_equals, _string(operand))
        case "prefix" | "suffix":
            return _affix(word, operand)
        case "equals-ignore-case":
            return _by_expression(_caseless(_string(operand)))
        case "wildcard":
            return _wildcard(_string(operand))
        case "anything-but":
            return _anything_but(operand)
        case "numeric":
            return _numeric(operand)
        case "cidr":
            return _cidr(_string(operand))
        case "exists" if operand is True:
            return lambda _: True
        case "exists":
            raise InvalidPattern("exists is either true or false")
        case _:
            raise InvalidPattern("a match expression has an operator that does not exist")


def _exact(wanted: object) -> Test:
    if wanted is None or isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, int | float):
        number = _double(wanted)
        return lambda value: _is_number(value) and _double(value) == number
    if isinstance(wanted, str):
        address = _address(wanted)
        if address is not None:  # one address has many spellings, and EventBridge knows them
            return lambda value: isinstance(value, str) and _address(value) == address
        return partial(_equals, wanted)
    raise InvalidPattern("a value to match is a string, a number, true, false or null")


def _equals(wanted: str, value: object) -> bool:
    return isinstance(value, str) and value == wanted


def _affix(word: object, operand: object) -> Test:
    """A beginning or an end, letter by letter or whatever the case."""
    at_start = word == "prefix"
    if isinstance(operand, Mapping):
        inner, text = _only(operand)
        if inner != "equals-ignore-case":
            raise InvalidPattern(f"{word} takes a string or equals-ignore-case")
        letters = _caseless(_string(text))
        return _by_expression(f"{letters}.*" if at_start else f".*{letters}")
    wanted = _string(operand)
    if at_start:
        return lambda value: isinstance(value, str) and value.startswith(wanted)
    return lambda value: isinstance(value, str) and value.endswith(wanted)


def _caseless(text: str) -> str:
    """A regular expression for `text` in any case, letter by letter: folding whole strings would match more."""
    return "".join(f"(?:{re.escape(letter.lower())}|{re.escape(letter.upper())})" for letter in text)


def _by_expression(expression: str) -> Test:
    whole = re.compile(expression, re.DOTALL)
    return lambda value: isinstance(value, str) and whole.fullmatch(value) is not None


def _wildcard(text: str) -> Test:
    """`*` for any characters, none included; a backslash makes the next character plain. Linear in the value."""
    pieces = re.findall(r"\\[*\\]|[^\\]", text, re.DOTALL)
    if "".join(pieces) != text:
        raise InvalidPattern("in a wildcard a backslash stands before an asterisk or a backslash")
    if ("*", "*") in pairwise(pieces):
        raise InvalidPattern("a wildcard must not have two asterisks in a row")
    parts = [""]
    for piece in pieces:
        if piece == "*":
            parts.append("")
        else:
            parts[-1] += piece[-1]
    return partial(_fits, tuple(parts))


def _fits(parts: tuple[str, ...], value: object) -> bool:
    if not isinstance(value, str):
        return False
    if len(parts) == 1:
        return value == parts[0]
    first, *middle, last = parts
    if not value.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = value.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(value) - at >= len(last) and value.endswith(last)


def _anything_but(operand: object) -> Test:
    """The leaf is there and none of what is refused fits it."""
    if isinstance(operand, Mapping):
        word, inner = _only(operand)
        if word not in {"prefix", "suffix", "equals-ignore-case", "wildcard"}:
            raise InvalidPattern("anything-but takes values, prefix, suffix, equals-ignore-case or wildcard")
        texts = [_string(text) for text in _listed(inner)]
        if word in {"prefix", "suffix"} and not all(texts):
            raise InvalidPattern("an empty prefix or suffix fits everything")
        refused = [_operation(word, text) for text in texts]
    else:
        values = _listed(operand)
        if not (all(isinstance(value, str) for value in values) or all(_is_number(value) for value in values)):
            raise InvalidPattern("anything-but takes strings or numbers, not both")
        refused = [partial(_equals, value) if isinstance(value, str) else _exact(value) for value in values]
    return lambda value: not any(test(value) for test in refused)


def _listed(operand: object) -> Sequence[object]:
    values = operand if isinstance(operand, list | tuple) else [operand]
    if not values:
        raise InvalidPattern("anything-but needs at least one value")
    return values


def _numeric(operand: object) -> Test:
    """A comparison, or a lower and then an upper bound."""
    if not isinstance(operand, list | tuple):
        raise InvalidPattern('numeric takes an array such as [">", 0, "<=", 5]')
    match tuple(operand):
        case (str(word), bound) if word in _COMPARISONS and _is_number(bound):
            bounds = [(_COMPARISONS[word], _double(bound))]
        case (">" | ">=" as lower, bottom, "<" | "<=" as upper, top) if _is_number(bottom) and _is_number(top):
            if _double(bottom) >= _double(top):
                raise InvalidPattern("the lower bound of a range must be less than the upper one")
            bounds = [(_COMPARISONS[lower], _double(bottom)), (_COMPARISONS[upper], _double(top))]
        case _:
            raise InvalidPattern("numeric takes =, <, <=, > or >= with a number, or a lower and then an upper bound")
    return lambda value: _is_number(value) and all(compare(_double(value), bound) for compare, bound in bounds)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _double(number: Any) -> float:
    """The IEEE double a JSON reader makes of a number; EventBridge compares these."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)


def _cidr(text: str) -> Test:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or re.fullmatch(r"[^/]+/[0-9]+", text) is None:
        raise InvalidPattern("cidr takes an address, a slash and a number of bits")
    if network.prefixlen == network.max_prefixlen:
        raise InvalidPattern("cidr takes fewer bits than the address has")
    return lambda value: isinstance(value, str) and (address := _address(value)) is not None and address in network


def _address(text: str) -> Any:
    """The IP address `text` spells, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _string(operand: object) -> str:
    if not isinstance(operand, str):
        raise InvalidPattern("this operator takes a string")
    return operand
