"""How the image sets of a data store are read: who sets it, and what that leaves as it is."""

from dataclasses import replace

from radloop.core.errors import InvalidInput
from radloop.core.identity import Principal
from radloop.core.ports import AuditEntry, Change, Clock, Records
from radloop.core.reads import Project, ReadingPolicy, project_of, put_project


def set_policy(
    records: Records, clock: Clock, datastore: str, *, policy: str, settle_at: float | None, by: Principal
) -> Project:
    """Have the image sets of a data store be read under another policy from their next read on.

    What is ground truth stays so, and reads stay where they are; they count under the new policy as they did before.

    Args:
        records: Where it is kept.
        clock: The present moment.
        datastore: Id of the data store, which exists.
        policy: A `ReadingPolicy`.
        settle_at: See `Project`; None leaves it as it is.
        by: Who wants it.

    Raises:
        InvalidInput: There is no such policy, or `settle_at` is out of range.
    """
    if policy not in set(ReadingPolicy):
        raise InvalidInput(f"policy must be one of {', '.join(ReadingPolicy)}")
    before = project_of(records, datastore)
    after = replace(
        before,
        policy=ReadingPolicy(policy),
        settle_at=before.settle_at if settle_at is None else settle_at,
        changed_at=clock(),
        changed_by=by.id,
    )
    change = Change(writes=[put_project(after)], audit=[AuditEntry(by.id, "project.set", datastore)])
    records.commit(change)
    return after
