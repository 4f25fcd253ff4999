"""A model that passed goes to work, where the policy leaves that to the gate."""

from radloop.core.errors import Conflict, Unavailable
from radloop.core.events import Event
from radloop.core.platform import Platform

POLICY = "policy"
"""Who approved, where no person did."""


def handle(event: Event, platform: Platform) -> None:
    """Approve the version that a passed execution registered, if `approve_automatically` says so.

    Approving twice is approving once. What a person decided before stands.

    Raises:
        Unavailable: The pipeline has not registered the version yet; the event comes again.
    """
    execution = str(event.detail["execution"])
    model = platform.models.of_execution(execution)
    if model is None:
        raise Unavailable(f"execution {execution} has registered no model yet")
    if not platform.settings.approve_automatically:
        return
    try:
        platform.models.decide(model.version, approved=True, by=POLICY)
    except Conflict:  # rejected by a person, who outranks the policy
        return
