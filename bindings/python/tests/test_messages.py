# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Publish and subscribe: what C's examples do."""

import math
import threading
import time

import numpy
import pytest

import tarn_ipc


def test_a_message(publisher, subscriber):
    assert publisher.publish(b"Hello, world") is True
    message = subscriber.receive(1)
    assert bytes(message) == b"Hello, world" and len(message) == 12
    assert (message.sequence, message.lost, message.publisher) == (1, 0, publisher.identity)
    assert subscriber.take() is None and subscriber.receive(0) is None and subscriber.receive(0.01) is None


@pytest.mark.parametrize("data", [b"", b"x", bytearray(b"abc"), memoryview(b"abcd")[1:3], numpy.arange(7), bytes(3_000_000)])
def test_bytes_arrive_as_they_are(publisher, subscriber, data):
    publisher.publish(data)
    assert bytes(subscriber.receive(1)) == bytes(data)


def test_a_loan(publisher, subscriber):
    with publisher.loan(80) as loan:
        loan.array("f8")[:] = 2.5
    assert (subscriber.receive(1).array("f8") == numpy.full(10, 2.5)).all()


def test_a_loan_sends_its_first_bytes_or_nothing(publisher, subscriber):
    loan = publisher.loan(100)
    memoryview(loan)[:4] = b"abcd"
    with pytest.raises(ValueError, match="100"):
        loan.send(101)
    assert loan.send(bytes=4) and loan.over
    assert bytes(subscriber.receive(1)) == b"abcd"
    publisher.loan(5).drop()
    with pytest.raises(KeyError):
        with publisher.loan(5):
            raise KeyError
    del loan
    assert subscriber.take() is None


@pytest.mark.parametrize("do", ["drop", "send", "view", "close"])
def test_a_number_that_ends_what_it_is_for(do):
    class Number:
        def __index__(self):
            views.append(memoryview(loan) if do == "view" else publisher.close() if do == "close" else getattr(loan, do)())
            return 4

    views = []
    with tarn_ipc.Publisher("topic") as publisher:
        loan = publisher.loan(8)
        with pytest.raises(BufferError if do == "view" else tarn_ipc.ClosedError):
            loan.send(Number())
        views.clear()


def test_iteration_ends_in_time(publisher, subscriber):
    for i in range(5):
        publisher.publish(b"%d" % i)
    started = time.monotonic()
    assert [bytes(m) for m in subscriber.iterate(timeout=0.2)] == [b"0", b"1", b"2", b"3", b"4"]
    assert 0.2 <= time.monotonic() - started < 5


def test_iteration_holds_one_message_at_a_time(publisher):
    with tarn_ipc.Subscriber("topic", max_held=2, reliable=True) as subscriber:
        for _ in range(10):
            publisher.publish(b"x")
        assert sum(1 for message in subscriber.iterate(timeout=0)) == 10


def test_a_wait_gives_up_the_gil(publisher, subscriber):
    threading.Timer(0.2, lambda: publisher.publish(b"x")).start()
    assert bytes(subscriber.receive(10)) == b"x"


def test_a_publisher_that_waits_for_a_thread_of_its_own_process_gets_space():
    with tarn_ipc.Publisher("topic", memory_limit_bytes=1 << 20, full_timeout_s=10) as publisher:
        with tarn_ipc.Subscriber("topic", reliable=True) as subscriber:
            thread = threading.Thread(target=lambda: [m.release() for m in subscriber.iterate(timeout=0.5)])
            thread.start()
            for _ in range(40):
                assert publisher.publish(bytes(100_000))
            thread.join()


def test_interrupt(subscriber):
    threading.Timer(0.1, subscriber.interrupt).start()
    with pytest.raises(tarn_ipc.WaitInterrupted) as caught:
        subscriber.receive()
    assert caught.value.status == tarn_ipc.Status.INTERRUPTED


def test_full_and_dropped():
    with tarn_ipc.Subscriber("topic", reliable=True):
        with tarn_ipc.Publisher("topic", memory_limit_bytes=1 << 20, full_timeout_s=0.01, linger_s=0) as publisher:
            with pytest.raises(tarn_ipc.FullError, match="topic"):
                for _ in range(20):
                    publisher.publish(bytes(100_000))
        options = {"when_full": tarn_ipc.WhenFull.DROP, "memory_limit_bytes": 1 << 20, "linger_s": 0}
        with tarn_ipc.Publisher("topic", **options) as publisher:
            assert False in [publisher.publish(bytes(100_000)) for _ in range(20)]
            assert None in [publisher.loan(100_000) for _ in range(20)]


def test_history_and_counts():
    with tarn_ipc.Publisher("topic", depth=8, timestamps=True) as publisher:
        for i in range(6):
            publisher.publish(b"%d" % i)
        with tarn_ipc.Subscriber("topic", history=3) as subscriber:
            assert publisher.subscribers() == 1 and subscriber.publishers() == 1
            messages = list(subscriber.iterate(timeout=0))
            assert [bytes(m) for m in messages] == [b"3", b"4", b"5"]
            assert abs(messages[0].sent_ns - time.monotonic_ns()) < 10e9
            assert publisher.flush(1) is True and subscriber.lost == 0


def test_lost_messages_are_counted():
    with tarn_ipc.Publisher("topic", depth=4, memory_limit_bytes=512 << 10) as publisher, tarn_ipc.Subscriber("topic") as subscriber:
        for _ in range(100):
            publisher.publish(bytes(50_000))
        got = list(subscriber.iterate(timeout=0))
        assert sum(m.lost for m in got) + len(got) == 100 and subscriber.lost == 100 - len(got)


def test_two_domains_and_directories(place, publisher):
    (place / "other").mkdir(mode=0o700)
    with tarn_ipc.Subscriber("topic", domain="other") as one, tarn_ipc.Subscriber("topic", directory=place / "other") as two:
        publisher.publish(b"x")
        assert one.take() is None and two.take() is None


def test_closed_in_every_way():
    publisher = tarn_ipc.Publisher("topic")
    assert not publisher.closed
    publisher.close()
    publisher.close()
    assert publisher.closed and "closed" in repr(publisher)
    with pytest.raises(tarn_ipc.ClosedError, match="the publisher is closed"):
        publisher.publish(b"")
    with pytest.raises(TypeError, match="opened before"):
        publisher.__init__("topic")


def test_messages_outlive_subscriber_and_publisher():
    publisher, subscriber = tarn_ipc.Publisher("topic"), tarn_ipc.Subscriber("topic")
    publisher.publish(b"abc" * 1000)
    message = subscriber.receive(1)
    view = message.array()
    subscriber.close()
    publisher.close()
    assert bytes(view) == bytes(message) == b"abc" * 1000


def test_not_closing_is_told():
    publisher = tarn_ipc.Publisher("topic")
    with pytest.warns(ResourceWarning, match="a publisher was not closed"):
        del publisher


def test_infinite_times():
    with tarn_ipc.Publisher("topic", full_timeout_s=math.inf, linger_s=math.inf) as publisher:
        publisher.publish(b"x")
