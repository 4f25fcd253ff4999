"""Dockerfiles read as instructions, and the rules that ours obey. There is no Docker engine behind it."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SECRETS = re.compile(r"secret|token|passw|credential|access_?key|private", re.IGNORECASE)
PINNED = re.compile(r"[a-z0-9./-]+(:(?!latest)[\w][\w.-]*)?(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True)
class Instruction:
    line: int
    word: str
    rest: str


def read(text: str) -> list[Instruction]:
    """Instructions with what stands behind them; comments are left out and continued lines joined."""
    found: list[Instruction] = []
    begun = ""
    first = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().startswith("#") or not (begun or line.strip()):
            continue
        first = first if begun else number
        begun += line.rstrip("\\").strip() + " "
        if not line.endswith("\\"):
            word, _, rest = begun.strip().partition(" ")
            found.append(Instruction(first, word.upper(), rest.strip()))
            begun = ""
    return found


def faults(text: str, context: Path = REPOSITORY, ignored: Sequence[str] = ()) -> list[str]:
    """What a Dockerfile of ours must not do, one clause each with its line."""
    return [f"line {line}: {what}" for line, what in _faults(read(text), context, ignored)]


def _faults(instructions: list[Instruction], context: Path, ignored: Sequence[str]) -> Iterator[tuple[int, str]]:
    arguments = dict(each.rest.partition("=")[::2] for each in instructions if each.word == "ARG")
    stages: set[str] = set()
    for each in instructions:
        if each.word == "FROM":
            yield from _based(each, arguments, stages)
        elif each.word == "COPY":
            yield from _copied(each, context, ignored, stages)
        elif each.word == "RUN":
            yield from _run(each)
        else:
            yield from _said(each)
    yield from _ended(instructions, arguments)


def _based(each: Instruction, arguments: dict[str, str], stages: set[str]) -> Iterator[tuple[int, str]]:
    image, *named = re.split(r"\s+AS\s+", _filled(each.rest, arguments), flags=re.IGNORECASE)
    if image not in stages and not _is_pinned(image):
        yield each.line, f"the base {image} is pinned by neither tag nor digest"
    stages.update(named)


def _said(each: Instruction) -> Iterator[tuple[int, str]]:
    if each.word in {"ARG", "ENV"} and any(SECRETS.search(name) for name in _names(each)):
        yield each.line, "a secret does not belong into an image"
    if each.word == "ADD":
        yield each.line, "ADD fetches and unpacks; COPY does not"
    if each.word in {"ENTRYPOINT", "CMD"} and not each.rest.startswith("["):
        yield each.line, f"{each.word} is no list, so a shell would get the signals"


def _ended(instructions: list[Instruction], arguments: dict[str, str]) -> Iterator[tuple[int, str]]:
    """What holds of the last stage alone."""
    begun = max(number for number, each in enumerate(instructions) if each.word == "FROM")
    last = instructions[begun:]
    users = [_filled(each.rest, arguments) for each in last if each.word == "USER"]
    if not users or users[-1] in {"root", "0", ""}:
        yield last[-1].line, "the container runs as root"
    if not any(each.word in {"ENTRYPOINT", "CMD"} for each in last):
        yield last[-1].line, "nothing says what the container starts"


def _copied(each: Instruction, context: Path, ignored: Sequence[str], stages: set[str]) -> Iterator[tuple[int, str]]:
    *sources, _ = (word for word in shlex.split(each.rest) if not word.startswith("--"))
    stage = re.search(r"--from=(\S+)", each.rest)
    if stage is not None:
        if stage[1] not in stages:
            yield each.line, f"there is no stage {stage[1]}"
        return
    for source in sources:
        if not (context / source).exists():
            yield each.line, f"{source} is not there"
        elif is_left_out(source, ignored):
            yield each.line, f"{source} is left out by .dockerignore"


def _run(each: Instruction) -> Iterator[tuple[int, str]]:
    for command in re.split(r"&&|\|\||;", each.rest):
        words = shlex.split(command)
        if "install" in words and words[0].endswith("pip") and not {"-c", "--no-deps"} & set(words):
            yield each.line, "pip installs what no constraint pins"
        if words[0].endswith(("apt-get", "apt")) and "install" in words and "--no-install-recommends" not in words:
            yield each.line, "apt installs more than was asked for"
        if words[0] in {"sudo", "su"}:
            yield each.line, "sudo is not needed where everything is root"
    if re.search(r"(curl|wget)[^|]*\|\s*(ba)?sh", each.rest):
        yield each.line, "what is fetched is run unseen"


def _names(each: Instruction) -> list[str]:
    return [word.partition("=")[0] for word in shlex.split(each.rest)]


def _filled(text: str, arguments: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: arguments.get(found[1], ""), text)


def _is_pinned(image: str) -> bool:
    return PINNED.fullmatch(image) is not None and (":" in image.rpartition("/")[2])


def ignore_patterns(context: Path = REPOSITORY) -> list[str]:
    lines = (context / ".dockerignore").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def is_left_out(path: str, patterns: Sequence[str]) -> bool:
    """Whether Docker leaves a path out of the build; the last pattern that matches it, or a folder over it, decides.

    What lies over a path that is let in again is let in as far as it leads there.
    """
    left = False
    for pattern in patterns:
        bare = pattern.lstrip("!")
        names = [path, *(str(parent) for parent in Path(path).parents)]
        is_over = pattern.startswith("!") and bare.startswith(f"{path}/")
        if is_over or any(fnmatch(name, bare.removeprefix("**/")) for name in names if name != "."):
            left = not pattern.startswith("!")
    return left


def command(instructions: list[Instruction]) -> list[str]:
    """What the container starts without an argument."""
    last = {each.word: json.loads(each.rest) for each in instructions if each.word in {"ENTRYPOINT", "CMD"}}
    return [*last.get("ENTRYPOINT", []), *last.get("CMD", [])]
