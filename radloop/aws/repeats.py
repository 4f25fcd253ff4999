"""What has been done is not done again: the idempotency of aws-lambda-powertools on our own table.

Notes stand among our records and are swept by the day (the function `outbox`), because the table has no attribute by
which it ages by itself. Only what is done is noted, not what is being done: who comes while a first delivery runs works
beside it, which every function of ours stands, instead of failing for as long as that takes and going to the dead
letters.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Final

from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyItemAlreadyExistsError,
    IdempotencyItemNotFoundError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord

from radloop.core.ports import Change, Clock, Put, Records
from radloop.core.tables import DELIVERIES

_UNTIMED: Final = SimpleNamespace(get_remaining_time_in_millis=lambda: 0)  # what runs is not noted, nor for how long


class DoneNotes(BasePersistenceLayer):
    """Notes of powertools as records of ours."""

    def __init__(self, records: Records, clock: Clock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._records = records
        self._clock = clock

    def _get_record(self, idempotency_key: str) -> DataRecord:
        if self._records.get(DELIVERIES, idempotency_key) is None:
            raise IdempotencyItemNotFoundError
        return _done(idempotency_key)

    def _put_record(self, data_record: DataRecord) -> None:
        key = data_record.idempotency_key
        if self._records.get(DELIVERIES, key) is not None:
            raise IdempotencyItemAlreadyExistsError(old_data_record=_done(key))

    def _update_record(self, data_record: DataRecord) -> None:
        day = self._clock().date().isoformat()
        self._records.commit(Change([Put(DELIVERIES, data_record.idempotency_key, {"day": day}, {"day": day})]))

    def _delete_record(self, data_record: DataRecord) -> None:
        """What failed was never noted."""


def once(work: Callable[[], None], delivery: str, *, of: str, records: Records, clock: Clock) -> None:
    """Do work, unless it has been done for this delivery.

    Args:
        work: What stands a repeat where the first comes to its end at the same time.
        delivery: Names what was delivered.
        of: Name of the function that it was delivered to.
        records: Where notes are kept.
        clock: The present moment.
    """

    @idempotent_function(  # type: ignore[untyped-decorator]
        data_keyword_argument="delivery",
        persistence_store=DoneNotes(records, clock),
        config=IdempotencyConfig(hash_function="sha256", lambda_context=_UNTIMED),  # type: ignore[arg-type]
        key_prefix=of,
    )
    def done(*, delivery: str) -> None:  # noqa: ARG001 — powertools takes its key from it
        work()

    done(delivery=delivery)


def _done(key: str) -> DataRecord:
    return DataRecord(idempotency_key=key, status=STATUS_CONSTANTS["COMPLETED"])
