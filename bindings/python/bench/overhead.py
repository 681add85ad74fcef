# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
What a small message costs in Python beside C: sent and taken in one process, so that nothing but calls is measured.

    script/build && python bindings/python/bench/overhead.py       needs gcc, and build/libtarn.a for the column C
"""

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

import tarn_ipc

SOURCE = Path(__file__).resolve().parents[3]
COUNT, ROUNDS = 20_000, 25
DATA = b"12345678"


def message(publisher, subscriber):
    publisher.publish(DATA)
    subscriber.take()


def message_viewed(publisher, subscriber):
    publisher.publish(DATA)
    memoryview(subscriber.take())[0]


def message_as_array(publisher, subscriber):
    publisher.publish(DATA)
    subscriber.take().array("u1")[0]


def loan(publisher, subscriber):
    lent = publisher.loan(8)
    memoryview(lent)[:] = DATA
    lent.send()
    subscriber.take()


def event(notifier, listener):
    notifier.notify(3)
    listener.take()


def fastest_ns(works):
    """Of each (work, its two handles), in turns, as a shared machine is slower and faster for seconds."""
    best = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for i, (work, one, two) in enumerate(works):
            start = time.perf_counter_ns()
            for _ in range(COUNT):
                work(one, two)
            best[i] = min(best[i], (time.perf_counter_ns() - start) / COUNT)
    return best


def in_c(folder):
    library = SOURCE / "build" / "libtarn.a"
    if not library.exists():
        return "-", "-", "-"
    program = Path(folder) / "overhead"
    source = Path(__file__).parent / "overhead.c"
    subprocess.run(["gcc", "-O2", "-I", SOURCE / "include", "-o", program, source, library], check=True)
    runs = [subprocess.run([program], check=True, capture_output=True, text=True).stdout.split() for _ in range(ROUNDS)]
    return tuple(min(map(int, column)) for column in zip(*runs))


def main():
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.environ["TARN_DIR"] = folder
        open_one = stack.enter_context
        message_c, loan_c, event_c = in_c(folder)
        waits = open_one(tarn_ipc.Publisher("waits")), open_one(tarn_ipc.Subscriber("waits"))
        fails = open_one(tarn_ipc.Publisher("fails", when_full=tarn_ipc.WhenFull.FAIL)), open_one(tarn_ipc.Subscriber("fails"))
        events = open_one(tarn_ipc.Notifier("events")), open_one(tarn_ipc.Listener("events"))
        lines = (
            ("message", message_c, message, *waits),
            ("message, `when_full=FAIL`", "", message, *fails),
            ("message, and a memoryview of it", "", message_viewed, *waits),
            ("message, and an array of it", "", message_as_array, *waits),
            ("message by a loan", loan_c, loan, *waits),
            ("event", event_c, event, *events),
        )
        print("| 8 B, one process, ns | Python | C |\n|---|---:|---:|")
        for (name, c, *_), fastest in zip(lines, fastest_ns([line[2:] for line in lines])):
            print(f"| {name} | {fastest:.0f} | {c} |")


if __name__ == "__main__":
    main()
