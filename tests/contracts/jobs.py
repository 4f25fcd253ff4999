"""What every Jobs must do. Subclass it and provide `records` and `jobs` (2 tries, hardly any backoff)."""

import threading
import time

import pytest

from radloop.core.errors import NotFound
from radloop.core.ports import Change, Claim, Job, Jobs, Records


def ask(records: Records, *names: str, delay_s: float = 0.0, lane: str = "events") -> None:
    jobs = [Job(id=name, lane=lane, kind="k", payload={"name": name}, delay_s=delay_s, trace="t") for name in names]
    records.commit(Change(jobs=jobs))


def next_claim(jobs: Jobs, lane: str = "events") -> Claim:
    for _ in range(200):
        claim = jobs.claim(lane)
        if claim is not None:
            return claim
        time.sleep(0.01)
    raise AssertionError("no job became due")


class JobsContract:
    def time_out(self, jobs: Jobs) -> None:
        """Let the time pass after which a worker that says nothing counts as dead, where it takes any."""

    def test_asking_twice_for_the_same_job_asks_once(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a")
        ask(records, "a")
        claim = jobs.claim("events")
        assert claim.job == Job(id="a", lane="events", kind="k", payload={"name": "a"}, trace="t")
        assert jobs.claim("events") is None
        jobs.done(claim)
        ask(records, "a")
        assert jobs.claim("events") is None
        assert jobs.pending() == 0

    def test_lanes_do_not_see_each_other(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a", lane="fold")
        assert jobs.claim("events") is None
        assert jobs.claim("fold").job.id == "a"

    def test_a_delayed_job_does_not_hold_up_the_others(self, records: Records, jobs: Jobs) -> None:
        ask(records, "later", delay_s=1.2)  # longer than a busy machine takes for the next three lines
        ask(records, "now")
        assert jobs.claim("events").job.id == "now"
        assert jobs.claim("events") is None
        time.sleep(1.25)
        assert next_claim(jobs).job.id == "later"  # no sooner than asked for, and soon after

    def test_a_failed_job_comes_again_and_is_given_up_on_in_the_end(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a")
        first = jobs.claim("events")
        assert (first.tries, jobs.failed(first, "unavailable")) == (1, False)
        second = next_claim(jobs)
        assert (second.tries, jobs.failed(second, "unavailable")) == (2, True)
        assert jobs.claim("events") is None
        (letter,) = jobs.dead_letters()
        assert (letter.job.id, letter.tries, letter.error) == ("a", 2, "unavailable")

    def test_a_dead_letter_can_be_tried_again(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a")
        for _ in range(2):
            jobs.failed(next_claim(jobs), "broken")
        jobs.replay("a")
        assert next_claim(jobs).tries == 1
        assert jobs.dead_letters() == []
        with pytest.raises(NotFound):
            jobs.replay("a")

    def test_a_discarded_dead_letter_is_never_done(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a", "b")
        for _ in range(4):
            jobs.failed(next_claim(jobs), "broken")
        for _ in range(2):
            jobs.discard("a")
        assert [letter.job.id for letter in jobs.dead_letters()] == ["b"]
        ask(records, "a")
        assert jobs.claim("events") is None
        assert jobs.pending() == 0
        for name in ("a", "none"):
            with pytest.raises(NotFound):
                jobs.replay(name)
        with pytest.raises(NotFound):
            jobs.discard("none")

    def test_only_a_dead_letter_can_be_discarded(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a")
        with pytest.raises(NotFound):
            jobs.discard("a")
        jobs.done(next_claim(jobs))
        with pytest.raises(NotFound):
            jobs.discard("a")

    def test_a_worker_that_died_does_not_use_up_a_try(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a")
        for _ in range(5):
            assert jobs.claim("events").tries == 1
            self.time_out(jobs)
            assert jobs.release_abandoned() == 1

    def test_a_job_that_keeps_killing_its_worker_is_given_up_on(self, records: Records, jobs: Jobs) -> None:
        ask(records, "a")
        for _ in range(100):
            if jobs.claim("events") is None:
                break
            self.time_out(jobs)
            jobs.release_abandoned()
        assert [letter.error for letter in jobs.dead_letters()] == ["worker-died"]

    def test_no_two_threads_get_the_same_job(self, records: Records, jobs: Jobs) -> None:
        for start in range(0, 40, 10):
            ask(records, *(f"{n}" for n in range(start, start + 10)))
        claimed: list[str] = []

        def work() -> None:
            while (claim := jobs.claim("events")) is not None:
                claimed.append(claim.job.id)
                jobs.done(claim)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(claimed, key=int) == [f"{n}" for n in range(40)]
