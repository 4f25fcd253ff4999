"""How busy a training keeps the machine."""

import os
import time

import torch

from radloop.training.busy import busy_percent


def test_a_busy_loop_keeps_one_processor_busy_and_there_is_no_figure_for_what_is_not_there() -> None:
    begun, computed = time.monotonic(), time.process_time()
    while time.process_time() - computed < 0.1:
        sum(range(1000))
    told = busy_percent(time.process_time() - computed, time.monotonic() - begun, 1)
    assert 0 < told["cpu_percent"] <= 100 / len(os.sched_getaffinity(0)) + 1
    assert ("gpu_percent" in told) <= torch.cuda.is_available()


def test_processes_that_share_the_work_are_counted_together() -> None:
    cores = len(os.sched_getaffinity(0))
    assert busy_percent(5.0, 10.0, 1)["cpu_percent"] == round(50 / cores, 1)
    assert busy_percent(5.0, 10.0, cores)["cpu_percent"] == 50
    assert busy_percent(50.0, 10.0, cores)["cpu_percent"] == 100
