# SPDX-License-Identifier: Apache-2.0 OR MIT
"""No references, objects, blocks or descriptors are left behind, whether things go well or not."""

import asyncio
import gc
import os
import sys
import warnings

import pytest

import tarn_ipc

RUNS = 20  # what is left by each shows beside what caches keep


def fails(errors, work):
    """As pytest.raises, which keeps something of some of them."""
    try:
        work()
    except errors:
        return True
    return False


def messages():
    with tarn_ipc.Publisher("topic") as publisher, tarn_ipc.Subscriber("topic") as subscriber:
        publisher.publish(b"abc")
        message = subscriber.receive(1)
        view, array = memoryview(message), message.array()
        for wrong in (message.release, lambda: publisher.publish("x"), lambda: subscriber.receive(-1), lambda: message.array("f8")):
            assert fails((BufferError, TypeError, ValueError), wrong)
        del view, array
        message.release()
        with publisher.loan(8) as loan:
            loan.array()[:] = 1
        publisher.loan(8)


def requests():
    with tarn_ipc.Server("topic", request_type="f8", response_type="f8") as server:
        with tarn_ipc.Client("topic", request_type="f8", response_type="f8") as client:
            client.send(1.0)
            request = server.receive(1)
            loan = request.loan(8)
            loan.array()[0] = 2
            loan.send()
            client.send(2.0)
            server.receive(1)
            for answer in client:
                bytes(answer)
            assert fails(TimeoutError, lambda: client.call(3.0, 0.001))
            for wrong in (lambda: client.send("x"), lambda: client.send(b"x" * 9), lambda: request.reply(b"")):
                assert fails((TypeError, ValueError), wrong)


def other_patterns():
    with tarn_ipc.Notifier("events", death_event=3) as notifier, tarn_ipc.Listener("events", ids=[1, 3]) as listener:
        notifier.notify(1)
        assert [event.id for event in listener.iterate(timeout=0)] == [1]
    with tarn_ipc.Writer("board") as writer, tarn_ipc.Reader("board", keys=["a"]) as reader, tarn_ipc.Monitor("board") as monitor:
        writer.set("a", b"x")
        assert [key for key, value in reader.iterate(timeout=0)] == ["a"] and reader.keys() == ["a"]
        assert len(list(monitor.iterate(timeout=0))) == 2
    with tarn_ipc.Producer("jobs", linger_s=0) as producer, tarn_ipc.Worker("jobs") as worker, tarn_ipc.Waitset() as waitset:
        waitset.add(worker, object())
        producer.push(b"x")
        assert waitset.wait(1)[0].handle is worker
        with worker.receive(1):
            pass


def failures():
    for wrong in (
        lambda: tarn_ipc.Publisher("a b"),
        lambda: tarn_ipc.Publisher("a", nonsense=1),
        lambda: tarn_ipc.Publisher("a", type=tarn_ipc.Type("x", alignment=3)),
        lambda: tarn_ipc.Listener("a", ids=[1, "b"]),
        lambda: tarn_ipc.Publisher("a", directory="/dev/null/such"),
    ):
        assert fails((ValueError, TypeError, tarn_ipc.Error), wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tarn_ipc.Subscriber("unclosed")


async def call():
    with tarn_ipc.Server("topic") as server, tarn_ipc.Client("topic") as client:
        calling = asyncio.create_task(client.call_async(b"x"))
        request = await server.receive_async()
        request.reply(b"y")
        assert bytes(await calling) == b"y"
        waiting = asyncio.create_task(server.receive_async())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])


@pytest.fixture
def asynchronous():
    """One loop for all: a new one each time keeps this and that."""
    loop = asyncio.new_event_loop()
    yield lambda: loop.run_until_complete(call())
    loop.close()


def test_nothing_is_left_on_a_loop(asynchronous):
    test_nothing_is_left(asynchronous)


@pytest.mark.parametrize("work", [messages, requests, other_patterns, failures])
def test_nothing_is_left(work):
    def state():
        gc.collect()
        return len(gc.get_objects()), sys.getallocatedblocks(), len(os.listdir("/proc/self/fd"))

    for _ in range(RUNS):
        work()
    grown = []
    for _ in range(60):  # caches fill up, which took 400 runs, and then are full; a leak goes on
        before = state()
        for _ in range(RUNS):
            work()
        grown.append([after - was for was, after in zip(before, state())])
        objects, blocks, descriptors = grown[-1]
        if objects < 5 and blocks < RUNS / 2 and descriptors <= 0:
            return
    raise AssertionError(f"each {RUNS} runs leave objects, blocks, descriptors: {grown}")


def test_reference_counts_of_shared_objects():
    made, text = tarn_ipc.Type.of("f8"), b"12345678"
    counts = [sys.getrefcount(o) for o in (made, text, tarn_ipc.Message, tarn_ipc.Loan, tarn_ipc.Publisher, tarn_ipc.FullError)]
    for _ in range(20):
        with tarn_ipc.Publisher("topic", type=made) as publisher, tarn_ipc.Subscriber("topic", type=made) as subscriber:
            publisher.publish(text)
            with publisher.loan(8):
                pass
            assert len(list(subscriber.iterate(timeout=0))) == 2
    del publisher, subscriber
    gc.collect()
    now = [sys.getrefcount(o) for o in (made, text, tarn_ipc.Message, tarn_ipc.Loan, tarn_ipc.Publisher, tarn_ipc.FullError)]
    assert now == counts
