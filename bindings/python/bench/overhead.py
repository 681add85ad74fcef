# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
What a small message costs in Python beside C: sent and taken in one process, so that nothing but calls is measured.

    script/build && python bindings/python/bench/overhead.py       needs gcc, and build/libtarn.a for the column C
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import tarn_ipc

SOURCE = Path(__file__).resolve().parents[3]
COUNT, ROUNDS = 100_000, 5
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


def fastest_ns(work, one, two):
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(COUNT):
            work(one, two)
        best = min(best, (time.perf_counter_ns() - start) / COUNT)
    return best


def in_c(folder):
    library = SOURCE / "build" / "libtarn.a"
    if not library.exists():
        return "-", "-"
    program = Path(folder) / "overhead"
    source = Path(__file__).parent / "overhead.c"
    subprocess.run(["gcc", "-O2", "-I", SOURCE / "include", "-o", program, source, library], check=True)
    runs = [subprocess.run([program], check=True, capture_output=True, text=True).stdout.split() for _ in range(ROUNDS)]
    return tuple(min(map(int, column)) for column in zip(*runs))


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TARN_DIR"] = folder
        message_c, event_c = in_c(folder)
        print("| 8 B, one process, ns | Python | C |\n|---|---:|---:|")
        with tarn_ipc.Publisher("overhead") as publisher, tarn_ipc.Subscriber("overhead") as subscriber:
            for work, c in ((message, message_c), (message_viewed, ""), (message_as_array, ""), (loan, "")):
                print(f"| {work.__name__.replace('_', ' ')} | {fastest_ns(work, publisher, subscriber):.0f} | {c} |")
            with tarn_ipc.Publisher("overhead", when_full=tarn_ipc.WhenFull.FAIL) as keeps:
                print(f"| message, when_full=FAIL | {fastest_ns(message, keeps, subscriber):.0f} | |")
        with tarn_ipc.Notifier("events") as notifier, tarn_ipc.Listener("events") as listener:
            print(f"| event | {fastest_ns(event, notifier, listener):.0f} | {event_c} |")


if __name__ == "__main__":
    main()
