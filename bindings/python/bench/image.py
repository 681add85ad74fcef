# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
An image of 8 MB from one Python process to another, one way, beside what else Python has: all in one run, in turns.

    pip install tarn-ipc numpy pyzmq iceoryx2
    python bench/image.py [--frames 45] [--rounds 3]

received      the image is there, as a camera left it: at the place to send from, where there is one. The clock starts when the
              sender writes the time into its first 8 bytes, and stops when the receiver, who was waiting, has the message.
first bytes   and when it has an array of it, and has read these 8 bytes from that.
all           the clock starts before the sender writes all 8 MB (a copy by numpy from an array), and stops when the receiver
              has read all of them (a sum by numpy).

The next image is sent when the receiver has said, by a pipe, what it measured. What sleeps is woken by the kernel; what spins
asks again and again. Both read CLOCK_MONOTONIC. Medians, and the slowest of ten, of all rounds, in microseconds.
"""

import argparse
import ctypes
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from multiprocessing import shared_memory

import numpy

BYTES = 8 << 20
now = time.monotonic_ns


class Tarn:
    """Loans, and views of messages."""

    spins = False

    def open_sender(self, ends):
        import tarn_ipc

        self.handle = tarn_ipc.Publisher("image")
        while not self.handle.subscribers():
            time.sleep(0.01)

    def open_receiver(self, ends):
        import tarn_ipc

        strategy = tarn_ipc.WaitStrategy.SPIN if self.spins else tarn_ipc.WaitStrategy.SPIN_THEN_SLEEP
        self.handle = tarn_ipc.Subscriber("image", wait_strategy=strategy, reliable=True)

    def place(self):
        self.loan = self.handle.loan(BYTES)
        return self.loan.array("u8")

    def send(self):
        self.loan.send()

    def receive(self):
        return self.handle.receive()

    @staticmethod
    def view(message):
        return message.array("u8")


class TarnSpins(Tarn):
    spins = True


class Iceoryx2:
    """Loans, and samples; the receiver spins, as its subscriber has no wait."""

    def service(self):
        import iceoryx2 as iox2

        iox2.set_log_level(iox2.LogLevel.Error)
        self.node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        name = iox2.ServiceName.new("tarn_bench_image")
        return self.node.service_builder(name).publish_subscribe(iox2.Slice[ctypes.c_uint8]).open_or_create()

    def open_sender(self, ends):
        self.publisher = self.service().publisher_builder().initial_max_slice_len(BYTES).create()

    def open_receiver(self, ends):
        self.subscriber = self.service().subscriber_builder().create()

    @staticmethod
    def view(pointer):
        return numpy.frombuffer((ctypes.c_uint8 * BYTES).from_address(pointer), "u8")

    def place(self):
        self.sample = self.publisher.loan_slice_uninit(BYTES)
        return self.view(self.sample.payload_ptr)

    def send(self):
        self.sample.assume_init().send()
        del self.sample

    def receive(self):
        while True:
            self.received = self.subscriber.receive()
            if self.received is not None:
                return self.received.payload_ptr


class SharedMemory:
    """One block, a lock, and a semaphore that says that there is something; the next image overwrites it."""

    def open_sender(self, ends):
        self.block, self.lock, self.filled = ends
        self.array = numpy.frombuffer(self.block.buf, "u8", BYTES // 8)

    open_receiver = open_sender

    def place(self):
        self.lock.acquire()
        return self.array

    def send(self):
        self.lock.release()
        self.filled.release()

    def receive(self):
        self.filled.acquire()
        self.lock.acquire()
        return self.array

    @staticmethod
    def view(array):
        return array

    def done(self):
        self.lock.release()


class Floor:
    """One block, and a word of it that counts images, which the receiver reads in a loop; nothing more, and nothing is safe: what
    no way from Python to Python can be much below."""

    def open_sender(self, ends):
        self.block, self.taken = ends[0], 0
        self.array = numpy.frombuffer(self.block.buf, "u8", BYTES // 8)
        self.count = memoryview(self.block.buf)[BYTES : BYTES + 8].cast("Q")

    open_receiver = open_sender

    def place(self):
        return self.array

    def send(self):
        self.count[0] += 1

    def receive(self):
        while self.count[0] == self.taken:
            pass
        self.taken += 1
        return self.array

    view = staticmethod(SharedMemory.view)


class Copying:
    """What has no place of its own: the image lies in an array."""

    def place(self):
        if not hasattr(self, "array"):
            self.array = numpy.zeros(BYTES // 8, "u8")
        return self.array

    @staticmethod
    def view(received):
        return numpy.frombuffer(received, "u8")


class Pipe(Copying):
    """send_bytes and recv_bytes: the fastest that a Connection has."""

    def open_sender(self, ends):
        self.end = ends[0]

    def open_receiver(self, ends):
        self.end = ends[1]

    def send(self):
        self.end.send_bytes(self.array)

    def receive(self):
        return self.end.recv_bytes()


class Queue(Copying):
    """put and get of the array: pickled."""

    def open_sender(self, ends):
        self.queue = ends

    open_receiver = open_sender

    def send(self):
        self.queue.put(self.array)

    def receive(self):
        return self.queue.get()

    view = staticmethod(SharedMemory.view)


class ZeroMQ(Copying):
    """PUSH and PULL over ipc://, copy=False on both sides."""

    def open_sender(self, ends):
        import zmq

        self.socket = zmq.Context.instance().socket(zmq.PUSH)
        self.socket.bind(ends)

    def open_receiver(self, ends):
        import zmq

        self.socket = zmq.Context.instance().socket(zmq.PULL)
        self.socket.connect(ends)

    def send(self):
        self.socket.send(self.array, copy=False)

    def receive(self):
        self.frame = self.socket.recv(copy=False)
        return self.frame.buffer


def make_ends(name, context, folder):
    """What the two processes inherit."""
    if name == "Pipe":
        return context.Pipe()
    if name == "Queue":
        return context.Queue()
    if name in ("SharedMemory", "Floor"):
        return shared_memory.SharedMemory(create=True, size=BYTES + 64), context.Lock(), context.Semaphore(0)
    return f"ipc://{folder}/zmq"


def receive_all(name, ends, report, frames):
    transport = globals()[name]()
    transport.open_receiver(ends)
    report.send("ready")
    for is_whole in (False, True):
        for _ in range(frames):
            message = transport.receive()
            received = now()
            array = transport.view(message)
            start = int(array[0])
            if is_whole:
                int(array.sum())
            end = now()
            del array, message
            if hasattr(transport, "done"):
                transport.done()
            report.send((received - start, end - start))
    report.recv()
    os._exit(0)  # nothing is to be closed in order here


def send_all(transport, report, frames):
    image = numpy.arange(BYTES // 8, dtype="u8")
    times = ([], [])
    for is_whole, kept in enumerate(times):
        for _ in range(frames):
            array = transport.place()
            if is_whole:
                start = now()
                array[:] = image
            else:
                array[:] = image
                start = now()
            array[0] = start
            del array  # a loan with views cannot be sent
            transport.send()
            kept.append(report.recv())
    return times


def measure(name, frames, folder):
    """(of first bytes, of all): pairs of times in ns, till it was received and till it was read."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    ends = make_ends(name, context, folder)
    process = context.Process(target=receive_all, args=(name, ends, theirs, frames), daemon=True)
    process.start()
    theirs.close()
    try:
        mine.recv()
        transport = globals()[name]()
        transport.open_sender(ends)
        times = send_all(transport, mine, frames)
    finally:
        mine.close() if sys.exc_info()[0] else mine.send("done")
        process.join(10)
        if name in ("SharedMemory", "Floor"):
            transport.array = transport.count = None
            ends[0].close()
            ends[0].unlink()
    if hasattr(transport, "handle"):
        transport.handle.close()
    return times


NAMES = {
    "TarnSpins": "**tarn**, receiver spins",
    "Tarn": "**tarn**, receiver sleeps",
    "Iceoryx2": "iceoryx2, receiver spins",
    "SharedMemory": "shared_memory, Lock, Semaphore",
    "Floor": "*floor: a word in shared_memory, spinning*",
    "Pipe": "multiprocessing.Pipe",
    "ZeroMQ": "pyzmq, copy=False",
    "Queue": "multiprocessing.Queue",
}


def tenth_slowest(values):
    return sorted(values)[len(values) * 9 // 10]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--frames", type=int, default=45)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", nargs="*", choices=list(NAMES))
    given = arguments.parse_args()
    gathered = {name: ([], [], []) for name in given.only or NAMES}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TARN_DIR"] = folder
        for _ in range(given.rounds):
            for name, (received, first, whole) in gathered.items():
                one, two = (times[given.frames // 3 :] for times in measure(name, given.frames, folder))  # before: makes memory
                received += [time for time, _ in one]
                first += [time for _, time in one]
                whole += [time for _, time in two]
    print("| 8 MB, one way, us: median, and of ten the slowest | received | | first bytes read | | all written and read | |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, columns in gathered.items():
        cells = [f"{f(column) / 1e3:.0f}" if f(column) > 1e5 else f"{f(column) / 1e3:.1f}" for column in columns for f in (statistics.median, tenth_slowest)]
        print(f"| {NAMES[name]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
