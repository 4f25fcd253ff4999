"""OpenJPH fills tables at its first use in a process, and two threads must not meet there."""

import subprocess
import sys

PROGRAM = """
import threading, time
import imagecodecs, numpy as np
from radloop.codec import htj2k

calls, inside, most, guard = [], 0, 0, threading.Lock()

def watched(work):
    def call(*args, **kwargs):
        global inside, most
        with guard:
            calls.append(threading.get_ident())
            inside += 1
            most = max(most, inside)
            met.append(inside)
        time.sleep(0.002)
        try:
            return work(*args, **kwargs)
        finally:
            with guard:
                inside -= 1
    return call

met = []
imagecodecs.htj2k_encode, imagecodecs.htj2k_decode = map(watched, (imagecodecs.htj2k_encode, imagecodecs.htj2k_decode))
begin = threading.Barrier(4)
frame = np.random.default_rng(1).integers(0, 4000, (64, 64)).astype(np.int16)

def fold():
    begin.wait()
    for _ in range(4):
        htj2k.verify(frame, htj2k.encode_lossless(frame))

threads = [threading.Thread(target=fold) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
alone = next(at for at, number in enumerate(met) if number > 1)
print(len(set(calls[: alone - 1])), alone, most)
"""


def test_one_thread_alone_fills_the_tables_before_any_two_work_beside_each_other() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    who, alone, most = map(int, done.stdout.split())
    assert who == 1
    assert alone >= 24, "grey and colour, three types, lossless and lossy, in and out"
    assert most > 1, "afterwards they do work beside each other"
