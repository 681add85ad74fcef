# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Requests, events, blackboards, work queues, monitors and waitsets, within one process."""

import os
import select
import socket
import threading
import time
import unittest.mock

import numpy
import pytest

import tarn_ipc
from conftest import until


@pytest.fixture
def server():
    with tarn_ipc.Server("topic", linger_s=0) as opened:
        yield opened


@pytest.fixture
def client(server):
    with tarn_ipc.Client("topic") as opened:
        yield opened


def answering(server, count, answer):
    def work():
        for _ in range(count):
            answer(server.receive(10))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


# ---- requests -------------------------------------------------------------------------------------------------------


def test_a_call(server, client):
    thread = answering(server, 1, lambda request: request.reply(bytes(request).upper()))
    answer = client.call(b"hello", 10)
    thread.join()
    assert bytes(answer) == b"HELLO" and answer.last and not answer.no_data
    assert client.pending() == 0 and client.servers() == 1 and server.clients() == 1


def test_a_call_sets_other_responses_aside(server, client):
    first = client.send(b"first")
    thread = answering(server, 2, lambda request: request.reply(request))
    assert bytes(client.call(b"second", 10)) == b"second"
    thread.join()
    assert client.wait(0) is True
    other = client.receive(1)
    assert (bytes(other), other.request) == (b"first", first) and client.take() is None


def test_a_waitset_sees_what_a_call_has_set_aside(server, client):
    with tarn_ipc.Waitset() as waitset:
        waitset.add(client, "client")
        waitset.add(server, "server")
        numbers = [client.send(b"%d" % i) for i in range(2)]
        thread = answering(server, 3, lambda request: request.reply(request))
        assert bytes(client.call(b"call", 5)) == b"call"
        thread.join()
        for number in numbers:
            assert [ready[:] for ready in waitset.wait(5)] == [("client", client, -1, 0, 0)]
            assert client.wait(0) and client.take().request == number
        assert waitset.wait(0) == []
        client.send(b"x")
        assert [ready.tag for ready in waitset.wait(5)] == ["server"]


def test_a_closed_client_has_nothing_set_aside(server, client):
    client.send(b"1")
    thread = answering(server, 2, lambda request: request.reply(request))
    client.call(b"2", 5)
    thread.join()
    with tarn_ipc.Waitset() as waitset:
        waitset.add(client)
        client.close()
        assert waitset.wait(0) == []
    for use in (client.wait, client.take):
        with pytest.raises(tarn_ipc.ClosedError):
            use()


def test_a_stream_and_its_end(server, client):
    client.send(b"3")
    request = server.receive(1)
    assert (request.number, bytes(request)) == (1, b"3")
    for i in range(3):
        assert request.stream(b"%d" % i) is True
    request.end()
    with pytest.raises(tarn_ipc.ReleasedError):
        request.stream(b"")
    answers = list(client)
    assert [bytes(a) for a in answers] == [b"0", b"1", b"2", b""] and [a.no_data for a in answers] == [False] * 3 + [True]


def test_loans_of_requests_and_responses(server, client):
    with client.loan(16) as loan:
        loan.array("f8")[:] = (1, 2)
        number = loan.request
    request = server.receive(1)
    assert request.number == number
    part = request.loan(8, last=False)
    part.array("f8")[:] = request.array("f8").sum()
    part.send()
    assert not request.over
    last = request.loan(8)
    view = request.array("f8")
    with pytest.raises(BufferError, match="request cannot be answered"):
        last.send()
    del view
    last.array("f8")[:] = 7
    last.send()
    assert request.over
    assert [a.array("f8")[0] for a in client] == [3, 7]


def test_a_request_with_views_cannot_be_answered(server, client):
    client.send(numpy.arange(4))
    request = server.receive(1)
    view = request.array("i8")
    with pytest.raises(BufferError, match="delete it, or copy"):
        request.reply(view * 2)
    with pytest.raises(BufferError):
        request.end()
    with pytest.raises(BufferError):
        server.close()
    doubled = view * 2
    del view
    request.reply(doubled)
    assert list(client.receive(1).array("i8")) == [0, 2, 4, 6]


def test_a_request_that_is_dropped_is_ended(server, client):
    client.send(b"x")
    server.receive(1)
    assert client.receive(1).no_data


def test_no_answer_in_time(server, client):
    with pytest.raises(TimeoutError, match="abandoned"):
        client.call(b"x", 0.05)
    request = server.receive(0.1)
    assert request is None or request.abandoned()
    if request is not None:
        assert request.reply(b"in vain") is False
    assert client.pending() == 0


def test_abandoning(server, client):
    number = client.send(b"x")
    request = server.receive(1)
    assert not request.abandoned() and client.abandon(number) is True and client.abandon(number) is False
    assert request.abandoned() and request.reply(b"") is False and request.over


def test_no_server_and_a_server_that_leaves():
    with tarn_ipc.Client("topic", server_timeout_s=0) as client:
        with pytest.raises(tarn_ipc.PeerError) as caught:
            client.send(b"x")
        assert caught.value.status == tarn_ipc.Status.NO_PEER
        with tarn_ipc.Server("topic", linger_s=0) as server:
            number = client.send(b"x")
            held = server.receive(1)
        with pytest.raises(tarn_ipc.PeerError) as caught:
            client.receive(5)
        assert caught.value.status == tarn_ipc.Status.PEER_DIED and caught.value.request == number
        with pytest.raises(tarn_ipc.ClosedError):
            held.reply(b"")


def test_a_server_that_is_killed(python):
    process = python("import tarn_ipc\ns = tarn_ipc.Server('topic')\nr = s.receive()\nprint('got', flush=True)\nimport time; time.sleep(60)\n")
    with tarn_ipc.Client("topic", server_timeout_s=10) as client:
        threading.Thread(target=lambda: (process.stdout.readline(), process.kill())).start()
        with pytest.raises(tarn_ipc.PeerError, match="died"):
            client.call(b"x", 20)


def test_as_many_as_allowed(server):
    with tarn_ipc.Client("topic", max_pending=1) as client:
        client.send(b"x")
        with pytest.raises(tarn_ipc.FullError) as caught:
            client.send(b"x")
        assert caught.value.status == tarn_ipc.Status.PENDING


# ---- events ---------------------------------------------------------------------------------------------------------


def test_events():
    with tarn_ipc.Notifier("topic") as notifier, tarn_ipc.Listener("topic") as all, tarn_ipc.Listener("topic", ids=[2, 3]) as some:
        notifier.notify(1)
        notifier.notify(event=2, count=10)
        assert sorted(all.iterate(timeout=0)) == [(1, 1, 1), (2, 10, 10)]
        assert list(some.iterate(timeout=0)) == [tarn_ipc.Event(id=2, count=10, total=10)]
        assert notifier.listeners() == 2
        for wrong in (65536, 1 << 40):
            with pytest.raises(tarn_ipc.ArgumentError):
                notifier.notify(wrong)
        with pytest.raises((OverflowError, TypeError)):
            notifier.notify(-1)
        with tarn_ipc.Listener("topic", history=True) as late:
            assert late.receive(1).total == 1


def test_a_notifiers_death(python):
    with tarn_ipc.Listener("topic") as listener:
        process = python("import tarn_ipc, os\nn = tarn_ipc.Notifier('topic', death_event=0)\nos._exit(1)\n")
        process.wait()
        assert listener.receive(10) == (0, 1, 1)


# ---- blackboard -----------------------------------------------------------------------------------------------------


def test_values():
    with tarn_ipc.Writer("topic") as writer, tarn_ipc.Reader("topic", keys=["speed"]) as reader:
        assert reader.get("speed") is None and reader.value_of("speed") is None and reader.take() is None
        writer.set("speed", b"1")
        writer.set("speed", b"2.5")
        value = reader.value_of("speed")
        assert (bytes(value), value.sequence, value.publisher) == (b"2.5", 2, writer.identity)
        writer.set("speed", b"3")
        assert bytes(value) == b"2.5" and reader.get("speed") == b"3"
        with writer.loan("place", 16) as loan:
            loan.array("f8")[:] = (1, 2)
        assert list(reader.value_of("place").array("f8")) == [1, 2]
        assert reader.keys() == ["speed", "place"] and writer.readers() == 1
        assert reader.wait_key("speed", 2, 1) is True and reader.wait_key("speed", 3, 0.02) is False


def test_changes():
    with tarn_ipc.Writer("topic") as writer, tarn_ipc.Reader("topic", keys=["a", "b"]) as reader:
        writer.set("a", b"1")
        writer.set("b", b"2")
        writer.set("a", b"3")
        assert sorted((key, bytes(value)) for key, value in reader.iterate(timeout=0)) == [("a", b"3"), ("b", b"2")]
        threading.Timer(0.1, lambda: writer.set("b", b"4")).start()
        key, value = reader.receive(10)
        assert (key, bytes(value)) == ("b", b"4")
        assert reader.receive(0.02) is None and reader.wait(0) is False


def test_wrong_timeouts_of_a_reader():
    with tarn_ipc.Reader("board", keys=["a"]) as reader:
        for wrong, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError)):
            for wait in (reader.receive, reader.wait, lambda timeout: reader.wait_key("a", 0, timeout)):
                with pytest.raises(error):
                    wait(wrong)


def test_a_key_has_one_writer():
    with tarn_ipc.Writer("topic") as one, tarn_ipc.Writer("topic") as two:
        one.set("a", b"1")
        with pytest.raises(tarn_ipc.TakenError, match=str(os.getpid())):
            two.set("a", b"2")
        one.release_key("a")
        two.set("a", b"2")
        for wrong in ("", "with space", "x" * 64):
            with pytest.raises(tarn_ipc.ArgumentError):
                one.set(wrong, b"")
        with pytest.raises(TypeError):
            one.set("a")
        with tarn_ipc.Reader("topic") as reader, pytest.raises(OverflowError):
            reader.wait_key("a", -1, 1)


# ---- work queue -----------------------------------------------------------------------------------------------------


def test_jobs():
    with tarn_ipc.Producer("topic", linger_s=0) as producer, tarn_ipc.Worker("topic", prefetch=8) as worker:
        for job in (b"done", b"again", b"never"):
            producer.push(job)
        with producer.loan(4) as loan:
            memoryview(loan)[:] = b"lent"
        done, again, never, lent = (worker.receive(1) for _ in range(4))
        assert (bytes(done), done.attempts, done.number, done.producer) == (b"done", 1, 1, producer.identity)
        done.acknowledge()
        again.give_back()
        never.reject()
        with lent:
            assert bytes(lent) == b"lent"
        with pytest.raises(tarn_ipc.ReleasedError, match="before"):
            done.acknowledge()
        job = worker.receive(1)
        assert (bytes(job), job.attempts) == (b"again", 2)
        view = job.array()
        with pytest.raises(BufferError, match="job cannot be acknowledged"):
            job.acknowledge()
        with pytest.raises(BufferError, match="worker cannot be closed"):
            worker.close()
        del view
        with pytest.raises(KeyError):
            with job:
                raise KeyError
        with worker.receive(1) as job:
            assert job.attempts == 3
        assert producer.flush(1) and (producer.unacknowledged, producer.rejected, producer.workers()) == (0, 1, 1)


def test_a_job_that_is_dropped_is_given_back():
    with tarn_ipc.Producer("topic", linger_s=0) as producer, tarn_ipc.Worker("topic") as worker:
        producer.push(b"x")
        worker.receive(1)
        with worker.receive(1) as job:
            assert job.attempts == 2


def test_a_workers_jobs_are_gone_with_it():
    with tarn_ipc.Producer("topic", linger_s=0) as producer:
        with tarn_ipc.Worker("topic") as worker:
            producer.push(b"x")
            job = worker.receive(1)
        with pytest.raises(tarn_ipc.ClosedError):
            bytes(job)
        with pytest.raises(tarn_ipc.ClosedError):
            job.acknowledge()
        with tarn_ipc.Worker("topic") as other, other.receive(5) as job:
            assert bytes(job) == b"x"


def test_a_keeper_and_a_producer_that_closes(python):
    process = python("import tarn_ipc\nw = tarn_ipc.Keeper('topic')\nprint('here', flush=True)\nwhile True: w.wait(1)\n")
    process.stdout.readline()
    with tarn_ipc.Producer("topic") as producer:
        producer.push(b"kept")
        assert producer.kept(5) is True
    with tarn_ipc.Worker("topic") as worker, worker.receive(5) as job:
        assert bytes(job) == b"kept"


def test_a_keeper_keeps_messages_of_publishers_that_left(python):
    process = python("import tarn_ipc\nk = tarn_ipc.Keeper('topic', left_max=1)\nprint('here', flush=True)\nwhile True: k.wait(0.1)\n")
    process.stdout.readline()
    for text in (b"first", b"second"):
        with tarn_ipc.Publisher("topic") as publisher:
            publisher.publish(text)
            time.sleep(0.3)  # it attaches who comes
    time.sleep(0.3)
    with tarn_ipc.Subscriber("topic", history=8) as subscriber:
        with subscriber.receive(5) as message:
            assert bytes(message) == b"second"
        assert subscriber.receive(0.1) is None


def test_a_keeper_counts():
    with tarn_ipc.Keeper("topic", memory_max_bytes=1 << 20) as keeper:
        with tarn_ipc.Publisher("topic") as publisher:
            publisher.publish(b"x")
            assert keeper.wait(0) is False
        keeper.wait(0.05)
        assert (keeper.left(), keeper.let_go()) == (1, 0)
    with pytest.raises(tarn_ipc.MismatchError):
        with tarn_ipc.Server("asked"):
            tarn_ipc.Keeper("asked")


def test_ctrl_c_ends_a_close_that_lingers(python):
    process = python("import tarn_ipc\np = tarn_ipc.Producer('topic')\np.push(b'x')\nprint('here', flush=True)\np.close()\n")
    process.stdout.readline()
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(2)
    assert "KeyboardInterrupt" in process.communicate(timeout=5)[1]


def test_a_queue_that_is_full():
    with tarn_ipc.Producer("topic", capacity=2, when_full=tarn_ipc.WhenFull.FAIL, linger_s=0) as producer:
        producer.push(b"1")
        producer.push(b"2")
        with pytest.raises(tarn_ipc.FullError):
            producer.push(b"3")


# ---- monitors -------------------------------------------------------------------------------------------------------


def test_who_comes_and_goes(python):
    with tarn_ipc.Monitor("topic") as monitor:
        with tarn_ipc.Publisher("topic") as publisher:
            joined = monitor.receive(5)
            assert (joined.kind, joined.role, joined.identity) == (tarn_ipc.MatchKind.JOINED, tarn_ipc.Role.PUBLISHER, publisher.identity)
            assert joined.pid == os.getpid() and joined.role_text == "publisher" and joined.foreign_pid is False
        assert monitor.receive(5).kind == tarn_ipc.MatchKind.LEFT
        process = python("import tarn_ipc, os\ns = tarn_ipc.Subscriber('topic')\nos.kill(os.getpid(), 9)\n")
        process.wait()
        told = [monitor.receive(5), monitor.receive(5)]
        assert [(m.kind, m.pid) for m in told] == [(tarn_ipc.MatchKind.JOINED, process.pid), (tarn_ipc.MatchKind.DIED, process.pid)]


# ---- waitsets -------------------------------------------------------------------------------------------------------


def test_a_waitset(publisher, subscriber):
    left, right = socket.socketpair()
    with tarn_ipc.Waitset() as waitset, tarn_ipc.Listener("events") as listener, tarn_ipc.Notifier("events") as notifier, left, right:
        waitset.add(subscriber, "messages")
        waitset.add(listener)
        waitset.add_fd(left, tag=("a", "socket"))
        assert waitset.wait(0.01) == []
        publisher.publish(b"x")
        notifier.notify(3)
        right.send(b"y")
        ready = {source.fd: source for source in waitset.wait(1)} and waitset.wait(1)
        assert {(source.tag, source.fd >= 0) for source in ready} == {("messages", False), (None, False), (("a", "socket"), True)}
        assert {source.handle for source in ready} == {subscriber, listener, None}
        left.recv(1)
        subscriber.take()
        assert [source.handle for source in waitset.wait(1)] == [listener]
        listener.take()
        waitset.remove(listener)
        waitset.remove_fd(left)
        notifier.notify(3)
        right.send(b"y")
        assert waitset.wait(0.01) == []
        publisher.publish(b"x")
        assert select.select([waitset], [], [], 5)[0] == [waitset]


def test_a_waitsets_mistakes(publisher, subscriber):
    with tarn_ipc.Waitset() as waitset:
        for wrong in (publisher, 3, None, unittest.mock.Mock(spec=subscriber)):
            with pytest.raises((tarn_ipc.ArgumentError, TypeError)):
                waitset.add(wrong)
        waitset.add(subscriber)
        with pytest.raises(tarn_ipc.ArgumentError):
            waitset.add(subscriber)
        with pytest.raises(tarn_ipc.ArgumentError):
            waitset.remove(publisher)
        with pytest.raises(tarn_ipc.ArgumentError):
            waitset.remove(object())
        with pytest.raises(tarn_ipc.ArgumentError):
            waitset.remove_fd(0)
        with tarn_ipc.Subscriber("other") as other:
            waitset.add(other)
        assert waitset.wait(0.01) == []
        waitset.remove(other)


def test_handles_in_a_waitset_belong_to_who_waits(publisher, subscriber):
    with tarn_ipc.Waitset() as waitset:
        waitset.add(subscriber)
        thread = threading.Thread(target=lambda: pytest.raises(tarn_ipc.WaitInterrupted, waitset.wait))
        thread.start()
        time.sleep(0.05)
        for use in (subscriber.take, subscriber.close, waitset.wait, lambda: waitset.remove(subscriber)):
            with pytest.raises(tarn_ipc.ThreadError):
                use()
        waitset.interrupt()
        thread.join()
        assert subscriber.take() is None


def test_many_sources():
    handles = [tarn_ipc.Listener(f"t{i}") for i in range(80)]
    notifiers = [tarn_ipc.Notifier(f"t{i}") for i in range(80)]
    with tarn_ipc.Waitset() as waitset:
        for i, handle in enumerate(handles):
            waitset.add(handle, i)
        for notifier in notifiers:
            notifier.notify(0)
        seen = set()
        until(lambda: seen.update(ready.tag for ready in waitset.wait(1) if ready.handle.take()) or len(seen) == 80)
    for handle in handles + notifiers:
        handle.close()


@pytest.mark.parametrize("use", [lambda w, r: w.set("a\0b", b"x"), lambda w, r: r.get("a\0b"), lambda w, r: w.loan("\0", 8)])
def test_a_key_with_a_nul_is_refused(use):
    with tarn_ipc.Writer("board") as writer, tarn_ipc.Reader("board") as reader:
        with pytest.raises(ValueError, match="null"):
            use(writer, reader)
        assert reader.keys() == []


def test_the_rest_of_a_called_stream_is_given_up(server):
    def answer(request):
        assert request.stream(b"0")
        while request.stream(b"more"):
            time.sleep(0.001)

    with tarn_ipc.Client("topic", max_pending=2) as client:
        for _ in range(5):
            thread = answering(server, 1, answer)
            assert bytes(client.call(b"x", 10)) == b"0"
            thread.join()
            assert client.pending() == 0
        assert client.take() is None
