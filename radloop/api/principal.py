"""Who stands behind a request: the one place that decides it."""

from starlette.requests import Request

from radloop.core.identity import OWNER, Principal


def principal_of(request: Request) -> Principal:  # noqa: ARG001 — who signs in will be read from it
    """The caller. Without sign-in, which only a loopback address allows, every caller is the owner."""
    return OWNER
