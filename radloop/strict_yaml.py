"""YAML that people sign and argue about, read strictly: entries are known, none is missing or twice, each has its line.

Parsed into nodes and never into objects, so that a value means what stands there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from radloop.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class StrictYaml:
    """How one kind of document is read.

    Attributes:
        name: What its messages call it, such as `policy`.
        error: What they are raised as.
        lacks: What is said besides where an entry is missing.
    """

    name: str
    error: type[InvalidInput] = InvalidInput
    lacks: str = ""

    def root(self, text: str | bytes) -> Any:
        """The outermost node of a document; None where it is empty.

        Raises:
            InvalidInput: It is no YAML, not UTF-8, or nested beyond reason; as `error`.
        """
        try:
            return yaml.compose(text.decode("utf-8") if isinstance(text, bytes) else text, Loader=yaml.SafeLoader)
        except UnicodeDecodeError:
            raise self.error(f"{self.name} line 1: this is not UTF-8") from None
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            raise self.error(f"{self.name} line {mark.line + 1 if mark else 1}: this is not YAML") from None

    def entries(self, node: Any, where: str, expected: Sequence[str]) -> dict[str, Any]:
        """The nodes of a mapping by key, which are exactly the expected ones.

        Raises:
            InvalidInput: It is no mapping, or an entry is unknown, missing or written twice; as `error`.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{where} holds names and values, expected {', '.join(expected)}")
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "a key that is no word"
            if name not in expected:
                raise self.wrong(key, f"{where} has no {name[:40]!r}, expected {', '.join(expected)}")
            if name in found:
                raise self.wrong(key, f"{name} stands in {where} twice, expected once")
            found[name] = value
        lacking = [name for name in expected if name not in found]
        if lacking:
            raise self.wrong(node, f"{where} lacks {', '.join(lacking)}{self.lacks}")
        return found

    def wrong(self, node: Any, sentence: str) -> InvalidInput:
        """What to raise about a node: the sentence with its line."""
        return self.error(f"{self.name} line {1 if node is None else node.start_mark.line + 1}: {sentence}")


def shown(node: Any) -> str:
    """A node as a message may show it: the beginning of a value."""
    return repr(node.value[:40]) if isinstance(node, yaml.ScalarNode) else "a list or a mapping"
