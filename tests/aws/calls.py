"""Requests to AWS, counted where they leave: botocore's by its HTTP session, those for objects in S3 by obstore."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import obstore
import pytest
from botocore.httpsession import URLLib3Session

from radloop.aws import blobs

_OBJECTS = ("put", "get", "get_range", "get_ranges", "head", "delete")


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what is asked meanwhile, by operation, each time it is sent again as once more."""
    calls: Counter[str] = Counter()
    send = URLLib3Session.send

    def sent(session: Any, request: Any) -> Any:
        target = dict(request.headers).get("X-Amz-Target", b"")
        told = target.decode() if isinstance(target, bytes) else str(target)
        calls[told.rpartition(".")[2] or f"{request.method} {request.url.partition('?')[0].rpartition('/')[2]}"] += 1
        return send(session, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", sent)
        patch.setattr(blobs, "obstore", SimpleNamespace(**{name: _counting(name, calls) for name in _OBJECTS}))
        yield calls


def _counting(name: str, calls: Counter[str]) -> Callable[..., Any]:
    function = getattr(obstore, name)

    def called(*args: Any, **options: Any) -> Any:
        calls[f"S3 {name}"] += 1
        return function(*args, **options)

    return called
