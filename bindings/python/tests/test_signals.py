# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A signal's handler ends each wait soon, whatever waits, with nothing lost or half done; and waits are as long as they were said to be."""

import contextlib
import gc
import math
import os
import signal
import threading
import time

import numpy
import pytest

import tarn_ipc

SOON_S = 0.6  # a slice of 0.1 s, on a machine that has other things to do


class Rung(Exception):
    pass


@contextlib.contextmanager
def rung(after_s=0.25, also=lambda: None):
    """What is in it ends in a Rung that a signal's handler raises."""

    def ring(number, frame):
        also()
        raise Rung

    signal.signal(signal.SIGUSR1, ring)
    timer = threading.Timer(after_s, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    started = time.monotonic()
    timer.start()
    with pytest.raises(Rung):
        yield
    timer.join()
    assert after_s * 0.9 < time.monotonic() - started < after_s + SOON_S


def lasts(seconds, work):
    started = time.monotonic()
    result = work()
    assert seconds <= time.monotonic() - started < seconds + SOON_S
    return result


def fails_after(seconds, error, work):
    def fail():
        with pytest.raises(error):
            work()

    lasts(seconds, fail)


OPTIONS = {"memory_limit_bytes": 1 << 20, "full_timeout_s": math.inf}


def text_of(number):
    return b"%8d" % number * 8192


def send_until_rung(send):
    """How many were sent before one waited for space, and was ended."""
    sent = 0
    with rung():
        while True:
            send(text_of(sent))
            sent += 1
    assert sent > 3
    return sent


def by_loan(handle):
    def send(data):
        with handle.loan(len(data)) as loan:
            loan.array()[:] = numpy.frombuffer(data, "u1")

    return send


def numbers(taken):
    return [int(bytes(one)[:8]) for one in taken]


# ---- sending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [lambda publisher: publisher.publish, by_loan])
def test_publishing_without_space(how):
    with tarn_ipc.Subscriber("topic", reliable=True) as subscriber:
        with tarn_ipc.Publisher("topic", linger_s=0, **OPTIONS) as publisher:
            sent = send_until_rung(how(publisher))
            first = numbers(subscriber.take() for _ in range(4))
            publisher.publish(text_of(98))
            how(publisher)(text_of(99))
            assert first + numbers(subscriber.iterate(timeout=0)) == [*range(sent), 98, 99]
            assert subscriber.lost == 0


@pytest.mark.parametrize("how", [lambda producer: producer.push, by_loan])
def test_a_queue_without_space(how):
    with tarn_ipc.Producer("topic", linger_s=0, **OPTIONS) as producer, tarn_ipc.Worker("topic") as worker:
        sent = send_until_rung(how(producer))
        taken = []
        for number in range(sent + 1):
            with worker.receive(1) as job:
                taken += numbers([job])
            if number == 0:
                how(producer)(text_of(98))
        assert taken == [*range(sent), 98]
        assert worker.take() is None and producer.unacknowledged == 0


@pytest.mark.parametrize("how", [lambda client: client.send, by_loan])
def test_a_request_without_space(how):
    with tarn_ipc.Server("topic", linger_s=0) as server, tarn_ipc.Client("topic", **OPTIONS) as client:
        sent = send_until_rung(how(client))
        assert client.pending() == sent
        asked = [server.receive(1) for _ in range(sent)]
        assert numbers(asked) == list(range(sent)) and server.take() is None
        asked.clear()
        how(client)(text_of(98))
        assert numbers([server.receive(1)]) == [98]


@pytest.mark.parametrize("how", ["stream", "loan"])
def test_an_answer_without_space(how):
    with tarn_ipc.Server("topic", linger_s=0, **OPTIONS) as server, tarn_ipc.Client("topic") as client:
        client.send(b"x")
        request = server.receive(1)
        send = request.stream if how == "stream" else by_loan(Parts(request))
        sent = send_until_rung(send)
        assert not request.over
        first = numbers(client.take() for _ in range(4))
        assert request.stream(text_of(98)) and request.reply(text_of(99))
        assert first + numbers(client) == [*range(sent), 98, 99]
        assert client.pending() == 0


def test_a_request_dropped_without_space_leaves_the_client_its_turn():
    """Its end needs space, which comes when the client takes: in another thread of the same process."""
    with tarn_ipc.Server("topic", linger_s=0, **OPTIONS) as server, tarn_ipc.Client("topic") as client:
        client.send(b"x")
        request = server.receive(1)
        sent = send_until_rung(request.stream) + send_until_rung(lambda data: request.stream(b""))
        taken = []

        def take():
            time.sleep(0.3)
            assert server.take() is None  # nor is the server in use by who drops
            taken.extend((message.last, message.no_data) for message in client.iterate(timeout=1))

        thread = threading.Thread(target=take)
        thread.start()
        del request
        gc.collect()  # what was raised had it, too
        thread.join()
        assert taken == [(False, False)] * sent + [(True, True)]
        assert client.pending() == 0 and server.take() is None


def test_a_request_dropped_without_space_is_not_waited_for_for_ever():
    with tarn_ipc.Server("topic", linger_s=0, **OPTIONS) as server, tarn_ipc.Client("topic") as client:
        client.send(b"x")
        request = server.receive(1)
        send_until_rung(request.stream)
        send_until_rung(lambda data: request.stream(b""))
        gc.collect()
        start = time.monotonic()
        del request
        assert 0.5 < time.monotonic() - start < 5


def test_a_request_dropped_without_space_while_a_waitset_waits():
    """The set and what is in it are in use until its end was sent, or that was given up."""
    ends = os.pipe()
    with tarn_ipc.Waitset() as waitset, tarn_ipc.Server("topic", linger_s=0, **OPTIONS) as server, tarn_ipc.Client("topic") as client:
        waitset.add(server)
        waitset.add_fd(ends[0])
        client.send(b"x")
        held = [server.receive(1)]
        send_until_rung(held[0].stream)
        send_until_rung(lambda data: held[0].stream(b""))
        gc.collect()
        thread = threading.Thread(target=waitset.wait, args=(0.2,))
        thread.start()
        time.sleep(0.05)
        held.clear()
        time.sleep(0.3)  # the wait is over, and waits for space
        for use in (lambda: waitset.remove_fd(ends[0]), server.take):
            with pytest.raises(tarn_ipc.ThreadError):
                use()
        last = [message.last for message in client.iterate(timeout=1)][-1]
        thread.join()
        assert last and client.pending() == 0
    for fd in ends:
        os.close(fd)


class Parts:
    def __init__(self, request):
        self.request = request

    def loan(self, size):
        return self.request.loan(size, last=False)


@pytest.mark.parametrize("how", [lambda client: client.send(b"x"), lambda client: client.loan(1), lambda client: client.call(b"x", 1)])
def test_no_server(how):
    with tarn_ipc.Client("topic", server_timeout_s=math.inf) as client:
        with rung():
            how(client)
        assert client.pending() == 0
        with tarn_ipc.Server("topic", linger_s=0) as server:
            client.send(b"y")
            assert bytes(server.receive(1)) == b"y" and server.take() is None


def test_a_handler_may_close_what_waits_to_send():
    with tarn_ipc.Client("topic", server_timeout_s=math.inf) as client:
        with rung(also=client.close):
            client.send(b"x")
        assert client.closed
    with tarn_ipc.Subscriber("topic", reliable=True), tarn_ipc.Publisher("topic", linger_s=0, **OPTIONS) as publisher:
        signal.signal(signal.SIGUSR1, lambda number, frame: publisher.close())
        threading.Timer(0.25, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(tarn_ipc.ClosedError):
            while True:
                publisher.publish(text_of(1))


def test_sending_waits_as_long_as_it_was_told_to():
    for timeout_s in (0.01, 0.25):
        options = {**OPTIONS, "full_timeout_s": timeout_s}
        with tarn_ipc.Subscriber("topic", reliable=True), tarn_ipc.Publisher("topic", linger_s=0, **options) as publisher:
            sent = 0
            while sent < 100 and (started := time.monotonic()):
                try:
                    publisher.publish(text_of(sent))
                except tarn_ipc.FullError as error:
                    assert "kept by reliable subscriber" in str(error) and error.status == tarn_ipc.Status.FULL
                    break
                sent += 1
            assert timeout_s <= time.monotonic() - started < timeout_s + SOON_S and sent > 3
            fails_after(timeout_s, tarn_ipc.FullError, lambda: publisher.loan(1 << 16))
        with tarn_ipc.Client("asked", server_timeout_s=timeout_s) as client:
            fails_after(timeout_s, tarn_ipc.PeerError, lambda: client.send(b"x"))
            fails_after(timeout_s, tarn_ipc.PeerError, lambda: client.loan(1))
    with tarn_ipc.Client("asked") as client:
        fails_after(1, tarn_ipc.PeerError, lambda: client.send(b"x"))


def test_space_that_comes_late_is_used():
    with tarn_ipc.Subscriber("topic", reliable=True) as subscriber:
        with tarn_ipc.Publisher("topic", linger_s=0, **OPTIONS) as publisher:
            sent = send_until_rung(publisher.publish)
            thread = threading.Timer(0.45, lambda: numbers(subscriber.take() for _ in range(sent)))
            thread.start()
            publisher.publish(b"x")
            thread.join()
            assert bytes(subscriber.take()) == b"x"


# ---- closing --------------------------------------------------------------------------------------------------------


def test_closing_that_lingers():
    with tarn_ipc.Subscriber("topic", reliable=True) as subscriber:
        publisher = tarn_ipc.Publisher("topic", linger_s=math.inf)
        publisher.publish(b"1")
        with rung():
            publisher.close()
        assert not publisher.closed
        publisher.publish(b"2")
        assert [bytes(subscriber.receive(1)) for _ in range(2)] == [b"1", b"2"]
        assert publisher.close() == 0 and publisher.closed


def test_closing_lingers_as_long_as_it_was_told_to():
    with tarn_ipc.Subscriber("topic", reliable=True):
        for linger_s in (0, 0.25, None):
            publisher = tarn_ipc.Publisher("topic", linger_s=linger_s)
            publisher.publish(b"1")
            assert lasts(1 if linger_s is None else linger_s, publisher.close) == 1
        publisher = tarn_ipc.Publisher("topic", linger_s=math.inf)
        lasts(0, publisher.close)  # nothing was sent
        producer = tarn_ipc.Producer("jobs", linger_s=0.25)
        producer.push(b"1")
        assert lasts(0.25, producer.close) == 1


@pytest.mark.parametrize("linger_s", [0, 0.25, math.inf])
def test_what_is_dropped_lingers_as_it_was_told_to_but_not_for_ever(linger_s):
    with tarn_ipc.Subscriber("topic", reliable=True):
        publisher = tarn_ipc.Publisher("topic", linger_s=linger_s)
        publisher.publish(b"1")
        started = time.monotonic()
        with pytest.warns(ResourceWarning):
            del publisher
        least = min(linger_s, 1)
        assert least <= time.monotonic() - started < least + SOON_S


def test_keepers_that_are_stopped_are_waited_for_as_long_as_by_the_library(python):
    keeper = python("import tarn_ipc\nk = tarn_ipc.Keeper('topic')\nprint('here', flush=True)\nk.wait()\n")
    keeper.stdout.readline()
    keeper.send_signal(signal.SIGSTOP)
    publisher = tarn_ipc.Publisher("topic", linger_s=5)
    publisher.publish(b"x")
    assert lasts(1, publisher.close) == 0


def test_views_are_told_before_closing_lingers():
    with tarn_ipc.Subscriber("topic", reliable=True):
        with tarn_ipc.Publisher("topic", linger_s=0.5) as publisher:
            publisher.publish(b"1")
            loan = publisher.loan(8)
            view = memoryview(loan)
            fails_after(0, BufferError, publisher.close)
            view.release()
