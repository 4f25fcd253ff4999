"""The ports Records, Jobs and Bus at one emulator, each test with a table, queues and an event bus of its own."""

from collections.abc import Mapping
from functools import cached_property

from radloop.aws.bus import EventBridgeBus
from radloop.aws.jobs import SqsJobs
from radloop.aws.records import DynamoRecords
from radloop.core.settings import Settings
from radloop.functions.rules import load_rules
from tests.aws.emulators import client
from tests.aws.table import Watch, make_bus, make_queues, make_table
from tests.local.conftest import RULES


class Substrate:
    """A table, queues and an event bus at one address; what stands on them is made when it is asked for."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.watch = Watch()
        self.receives = 100
        self.rules = load_rules([RULES], Settings())

    @cached_property
    def table(self) -> str:
        return make_table(self.address)

    @cached_property
    def queues(self) -> Mapping[str, str]:
        return make_queues(self.address, ("events", "fold"), receives=self.receives)

    @cached_property
    def bus_name(self) -> str:
        return make_bus(self.address, self.rules, self.queues)

    @cached_property
    def records(self) -> DynamoRecords:
        return self.other_records()

    @cached_property
    def jobs(self) -> SqsJobs:
        return SqsJobs(self.records, client(self.address, "sqs"), self.queues, self.watch, max_tries=2, backoff_s=0.01)

    @cached_property
    def bus(self) -> EventBridgeBus:
        events = client(self.address, "events")
        return EventBridgeBus(self.records, events, self.bus_name, self.rules, self.jobs)

    def other_records(self) -> DynamoRecords:
        """As another process has them: nothing is shared but the table."""
        return DynamoRecords(client(self.address, "dynamodb"), self.table, self.watch)
