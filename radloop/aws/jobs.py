"""The Jobs port on DynamoDB and SQS: the table knows how a job stands, a queue a lane says when to look at it.

A job is a record, written with the change that asks for it. What goes through SQS only wakes: whoever receives it looks
at the record, and claims the job by a conditional write or lets it be. So a message may come twice, late or never:

- twice: the second finds the job claimed or done;
- late: a job that is not due goes back into its queue for the time that is left;
- never: a job that is not done keeps a time at which the next message about it goes out (`send`), far behind the last.

A claim ends with `done` or `failed`, or by its lease. SQS shows the message again after the queue's own visibility
timeout, which should be the lease or longer, and whoever receives it then counts a crash. A message that is no job of
ours is never taken away, so that the queue's redrive policy moves it to the dead-letter queue of SQS; jobs that were
given up on are dead letters in the table, where they have names, can be listed, tried again and discarded.
"""

import json
import logging
import math
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import translated
from radloop.aws.outbox import JOBS, asked_job, job_document, waiting
from radloop.core.errors import Conflict, NotFound, RadloopError, Unavailable
from radloop.core.events import event_of
from radloop.core.ports import Adjust, Change, Claim, Clock, DeadLetter, Job, Put, Records, Row, Term

_LOG = logging.getLogger(__name__)
_LONGEST_BACKOFF_S = 600.0
_LONGEST_DELAY_S = 900  # SQS's own limit
_REMINDED_AFTER_S = 6 * 3600.0
_CRASHES_ALLOWED = 40
_SENT_AT_ONCE = 100
_TRIES = 20
_After = Callable[[Row], Mapping[str, Any]]


def job_of(body: str) -> Job:
    """The job that a message is about: one of ours, or the delivery of an event as a rule's target writes it.

    A rule whose target is a queue has an input transformer without paths and with this template, where `delay_s` may
    be left out:

        {"rule": "<name>", "kind": "<function>", "delay_s": 60, "event": <aws.events.event.json>}

    One event makes one job a rule, however often it is delivered, because the job's id follows from both.

    Raises:
        ValueError: It is neither.
    """
    try:
        told = json.loads(body)
        return _delivered(told) if "event" in told else Job(**told)
    except (KeyError, TypeError, AttributeError):
        raise ValueError("a message holds no job") from None


def _delivered(told: Mapping[str, Any]) -> Job:
    envelope = told["event"]
    event = event_of(envelope)
    again = "".join(f"-again-{mark}" for mark in marks_of(envelope))
    return Job(
        id=f"{event.id}-{told['rule']}{again}",
        lane="events",
        kind=told["kind"],
        payload={**event.as_json(), "trace": event.trace},
        delay_s=float(told.get("delay_s", 0.0)),
        trace=event.trace,
    )


_AGAIN = "urn:radloop:again:"


def again(mark: str) -> str:
    """What an event is told with so that its delivery is a new one; see `Bus.replay`."""
    return f"{_AGAIN}{mark}"


def marks_of(envelope: Mapping[str, Any]) -> list[str]:
    """The marks that `again` has put on an event."""
    return [each.removeprefix(_AGAIN) for each in envelope.get("resources", ()) if each.startswith(_AGAIN)]


@dataclass(slots=True)
class _Message:
    """A message that was received; until it is settled it will come again.

    Attributes:
        queue: Address of the queue to take it out of; empty where somebody else does that.
        is_left: Somebody works on its job now, and it must come again in case they die.
    """

    body: str
    receipt: str
    queue: str = ""
    id: str = ""
    is_settled: bool = False
    is_left: bool = False


@dataclass(frozen=True, slots=True)
class SqsClaim(Claim):
    """A claim, and the message it came with."""

    message: _Message = field(compare=False, repr=False)


class SqsJobs:
    """The Jobs port.

    Args:
        records: Where jobs stand.
        sqs: A client of SQS.
        queues: The address of each lane's queue.
        clock: The present moment.
        lanes: Lanes whose jobs are sent from here; None is every lane. Jobs of others wait for whoever may send them.
        max_tries: A job that failed so often is given up on.
        backoff_s: Seconds before the second try; twice as many before each further one. SQS counts whole seconds.
        lease_s: Seconds after which a worker that says nothing counts as dead. No function runs longer.
    """

    def __init__(
        self,
        records: Records,
        sqs: Any,
        queues: Mapping[str, str],
        clock: Clock,
        *,
        lanes: tuple[str, ...] | None = None,
        max_tries: int = 8,
        backoff_s: float = 1.0,
        lease_s: int = 900,
    ) -> None:
        self._records = records
        self._sqs = sqs
        self._queues = queues
        self._clock = clock
        self._lanes = lanes
        self._max_tries = max_tries
        self._backoff_s = backoff_s
        self._lease_s = lease_s
        self._sending = threading.Lock()

    def claim(self, lane: str) -> Claim | None:
        """See `Jobs.claim`.

        Raises:
            NotFound: The lane has no queue.
        """
        self.relay()
        while (message := self._received(lane)) is not None:
            claim = self._taken(message)
            if claim is not None:
                return claim
        return None

    def serve(
        self,
        messages: Sequence[Mapping[str, Any]],
        work: Callable[[Claim], None],
        *,
        gave_up: Callable[[Claim, str], None] = lambda _claim, _error: None,
        about: Callable[[Claim], AbstractContextManager[None]] = lambda _claim: nullcontext(),
    ) -> list[str]:
        """Work on messages that SQS hands to a function, which takes them out of their queue by itself.

        Args:
            messages: `Records` of the function's event.
            work: Does one job; what it raises is a failed try.
            gave_up: Told of a job that is out of tries, and the error's code.
            about: Entered while something is done or said about a job.

        Returns:
            The ids of messages that must come again, for `batchItemFailures`.
        """
        held = [_Message(body=each["body"], receipt=each["receiptHandle"], id=each["messageId"]) for each in messages]
        for message in held:
            claim = self._taken(message)
            if claim is not None:
                with about(claim):
                    self._work(claim, work, gave_up)
        self.relay()
        return [message.id for message in held if not message.is_settled]

    def done(self, claim: Claim) -> None:
        """See `Jobs.done`."""
        ended = {"state": "done", "lane": None, "send": None, "dead": None, "error": ""}
        self._records.commit(Change(writes=[Adjust(JOBS, claim.job.id, assign=ended)]))
        self._settle(claim)

    def failed(self, claim: Claim, error: str) -> bool:
        """See `Jobs.failed`; where the claim was lost to its lease, nothing is changed."""
        now = self._now()
        is_over = claim.tries >= self._max_tries
        wait_s = min(self._backoff_s * 2 ** (claim.tries - 1), _LONGEST_BACKOFF_S) * random.uniform(0.8, 1.2)  # noqa: S311 — jitter
        after = _dead(now, error) if is_over else _again(now + wait_s, error)
        is_ours = self._turned(
            claim.job.id,
            lambda columns: (columns["state"], columns["tries"]) == ("claimed", claim.tries),
            lambda row: {**row.columns, **after},
        )
        self._settle(claim)
        return is_ours and is_over

    def release_abandoned(self) -> int:
        """See `Jobs.release_abandoned`; here it is those whose lease is over, and anybody may call it at any time."""
        now = self._now()
        terms = [Term("send", "between", (None, now + _LONGEST_DELAY_S)), Term("state", "is", ("claimed",))]
        terms.append(Term("due", "between", (None, now)))
        return sum(self._crashed(row) for row in self._records.search(JOBS, terms, order="send"))

    def pending(self, lane: str | None = None) -> int:
        """See `Jobs.pending`; deliveries of events count from when they are first received."""
        term = Term("lane", "between", (None, None)) if lane is None else Term("lane", "is", (lane,))
        return self._records.search_count(JOBS, [term])

    def dead_letters(self) -> list[DeadLetter]:
        """See `Jobs.dead_letters`."""
        rows = self._records.search(JOBS, [Term("dead", "between", (None, None))], order="dead")
        return [
            DeadLetter(job=asked_job(row), tries=int(row.columns["tries"]), error=str(row.columns["error"]))
            for row in rows
        ]

    def replay(self, job_id: str) -> None:
        """See `Jobs.replay`."""
        self._turn_dead_letter(job_id, {"dead"}, lambda row: waiting(asked_job(row), self._now()))

    def discard(self, job_id: str) -> None:
        """See `Jobs.discard`."""
        gone = {"state": "discarded", "lane": None, "send": None, "dead": None}
        self._turn_dead_letter(job_id, {"dead", "discarded"}, lambda row: {**row.columns, **gone})

    def relay(self) -> int:
        """Send a message for every job of our lanes that is due while SQS can hold one back; returns how many.

        A crash behind a sending sends again.

        Raises:
            Unavailable: SQS does not take them now.
        """
        with self._sending:
            horizon = self._now() + _LONGEST_DELAY_S
            terms = [Term("send", "between", (None, horizon))]
            if self._lanes is not None:
                terms.append(Term("queue", "in", self._lanes))
            rows = self._records.search(JOBS, terms, order="send", limit=_SENT_AT_ONCE)
            return sum(self._relayed(row) for row in rows)

    def _relayed(self, row: Row) -> bool:
        job, due = asked_job(row), float(row.columns["due"])
        if job.lane in self._queues:
            self._send(job, due)
        else:
            _LOG.error("lane %s has no queue, so a job %s waits", job.lane, job.kind)
        columns = {**row.columns, "send": max(due, self._now()) + _REMINDED_AFTER_S}
        self._written(row, columns)  # where another was faster, it has found out by itself
        return True

    # Messages

    def _received(self, lane: str) -> _Message | None:
        queue = self._queue(lane)
        answer = self._ask(
            "receive_message",
            QueueUrl=queue,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=0,
            VisibilityTimeout=self._lease_s,
        )
        for found in answer.get("Messages", ()):
            return _Message(body=found["Body"], receipt=found["ReceiptHandle"], queue=queue)
        return None

    def _taken(self, message: _Message) -> SqsClaim | None:
        """The job that a message is about, if it is now ours; the message is settled unless it must come again."""
        try:
            job = job_of(message.body)
        except ValueError:
            _LOG.error("a message holds no job and is left to the dead-letter queue")
            return None
        for _ in range(_TRIES):
            row = self._records.get(JOBS, job.id)
            if row is None:  # the delivery of an event, which becomes a job here
                self._records.commit(Change(jobs=[job]))
                continue
            claim = self._claimed(row, message)
            if claim is not None or message.is_settled or message.is_left:
                return claim
        raise Unavailable("a job kept changing while it was claimed")

    def _claimed(self, row: Row, message: _Message) -> SqsClaim | None:
        """One attempt at a job as it stood in `row`."""
        job, columns, now = asked_job(row), row.columns, self._now()
        if columns["state"] not in {"waiting", "claimed"}:
            self._take_away(message)
            return None
        if columns["state"] == "claimed":
            message.is_left = columns["due"] > now
            if not message.is_left:
                self._crashed(row)
            return None
        if columns["due"] > now:
            self._send(job, columns["due"])
            self._take_away(message)
            return None
        tries, until = int(columns["tries"]) + 1, now + self._lease_s
        claimed = {"state": "claimed", "tries": tries, "due": until, "send": until + _LONGEST_DELAY_S}
        return SqsClaim(job, tries, message) if self._written(row, {**columns, **claimed}) else None

    def _crashed(self, row: Row) -> bool:
        """Free a job whose worker died; no try is used up, but nobody dies of the same job for ever."""
        columns = dict(row.columns)
        crashes, now = int(columns["crashes"]) + 1, self._now()
        after = _dead(now, "worker-died") if crashes > _CRASHES_ALLOWED else _again(now, columns["error"] or "")
        counts = {"crashes": crashes, "tries": int(columns["tries"]) - 1}
        return self._written(row, {**columns, **counts, **after})

    def _work(self, claim: Claim, work: Callable[[Claim], None], gave_up: Callable[[Claim, str], None]) -> None:
        try:
            work(claim)
        except Exception as error:  # noqa: BLE001 — every failure becomes a retry and in the end a dead letter
            cause = error.code if isinstance(error, RadloopError) else type(error).__name__
            _LOG.warning("job %s failed at try %d: %s", claim.job.kind, claim.tries, cause)
            if self.failed(claim, cause):
                gave_up(claim, cause)
        else:
            self.done(claim)

    def _settle(self, claim: Claim) -> None:
        if isinstance(claim, SqsClaim):
            self._take_away(claim.message)

    def _take_away(self, message: _Message) -> None:
        message.is_settled = True
        if message.queue:
            with suppress(RadloopError):  # it comes again, and finds its job settled
                self._ask("delete_message", QueueUrl=message.queue, ReceiptHandle=message.receipt)

    def _send(self, job: Job, due: float) -> None:
        delay_s = min(max(math.ceil(due - self._now()), 0), _LONGEST_DELAY_S)
        body = json.dumps(job_document(job), separators=(",", ":"))
        self._ask("send_message", QueueUrl=self._queue(job.lane), MessageBody=body, DelaySeconds=delay_s)

    def _queue(self, lane: str) -> str:
        if lane not in self._queues:
            raise NotFound(f"there is no queue for lane {lane}")
        return self._queues[lane]

    def _ask(self, operation: str, **asked: Any) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = getattr(self._sqs, operation)(**asked)
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "sqs") from None
        return answer

    # The record of a job

    def _turn_dead_letter(self, job_id: str, states: set[str], after: _After) -> None:
        if not self._turned(job_id, lambda columns: columns["state"] in states, after):
            raise NotFound(f"no dead letter {job_id}")

    def _turned(self, job_id: str, is_so: Callable[[Mapping[str, Any]], bool], after: _After) -> bool:
        """Change a job as long as `is_so` holds of its columns; tells whether it did."""
        for _ in range(_TRIES):
            row = self._records.get(JOBS, job_id)
            if row is None or not is_so(row.columns):
                return False
            if self._written(row, after(row)):
                return True
        raise Unavailable("a job kept changing while it was changed")

    def _written(self, row: Row, columns: Mapping[str, Any]) -> bool:
        """Change a job unless somebody else has changed it since it was read; tells whether it was done."""
        try:
            self._records.commit(Change(writes=[Put(JOBS, row.key, row.document, columns, expected=row.revision)]))
        except Conflict:
            return False
        return True

    def _now(self) -> float:
        return self._clock().timestamp()


def _again(due_s: float, error: str) -> dict[str, Any]:
    return {"state": "waiting", "due": due_s, "send": due_s, "error": error}


def _dead(now_s: float, error: str) -> dict[str, Any]:
    return {"state": "dead", "dead": now_s, "lane": None, "send": None, "error": error}
