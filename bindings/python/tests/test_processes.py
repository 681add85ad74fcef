# SPDX-License-Identifier: Apache-2.0 OR MIT
"""fork, multiprocessing, kill -9, threads, collection anywhere, and the interpreter's end."""

import faulthandler
import gc
import multiprocessing
import os
import queue
import signal
import threading
import time
import warnings

import numpy
import pytest

import tarn_ipc
from conftest import until

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def in_child(work):
    """Runs it in a forked child, which must end by itself. What it returned, or the exception, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = repr(work())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, f"the child died, after: {said}"
    return said


# ---- forked children ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "touch",
    [
        lambda array, view: bytes(view),
        lambda array, view: array.sum(),
        lambda array, view: array[5000:].copy(),
        lambda array, view: [int(x) for x in array],
        lambda array, view: view.tolist(),
        lambda array, view: numpy.array(array),
        lambda array, view: b"".join([view, view]),
    ],
)
def test_views_in_a_child_end_in_an_exception(publisher, subscriber, touch):
    publisher.publish(numpy.ones(100_000, "u1"))
    message = subscriber.receive(1)
    array, view = message.array(), memoryview(message)
    said = in_child(lambda: touch(array, view))
    assert said.startswith("ForkedError: an array or memoryview was touched that the parent process had made")
    assert array.sum() == 100_000


def test_each_touch_is_told(publisher, subscriber):
    publisher.publish(numpy.ones(100_000, "u1"))
    array = subscriber.receive(1).array()

    def touch():
        told = 0
        for _ in range(5):
            try:
                array.sum()
            except tarn_ipc.ForkedError:
                told += 1
        return told

    assert in_child(touch) == "5"


def test_a_loans_views_in_a_child_are_not_the_parents(publisher, subscriber):
    loan = publisher.loan(8)
    array = loan.array()
    array[:] = 1
    assert in_child(lambda: array.fill(2)).startswith("ForkedError")
    del array
    loan.send()
    assert set(subscriber.receive(1).array()) == {1}


def test_grandchildren(publisher, subscriber):
    publisher.publish(numpy.ones(10, "u1"))
    array = subscriber.receive(1).array()
    assert "ForkedError" in in_child(lambda: in_child(lambda: bytes(array)))


@pytest.mark.parametrize("fault", ["of another place", "sent"])
def test_other_faults_stay_faults(publisher, subscriber, fault):
    publisher.publish(b"abc")
    view = memoryview(subscriber.receive(1))
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()
        import ctypes

        if fault == "sent":
            os.kill(os.getpid(), signal.SIGSEGV)
            os._exit(0)
        ctypes.string_at(8)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] & 127 == signal.SIGSEGV
    del view


def test_system_calls_on_views_in_a_child(publisher, subscriber):
    publisher.publish(b"abc")
    view = memoryview(subscriber.receive(1))
    reading, writing = os.pipe()
    assert in_child(lambda: os.write(writing, view)).startswith("OSError")
    os.close(reading)
    os.close(writing)


def test_objects_in_a_child_say_the_librarys_sentence(publisher, subscriber):
    publisher.publish(b"abc")
    message, loan = subscriber.receive(1), publisher.loan(8)
    server, client = tarn_ipc.Server("asked"), tarn_ipc.Client("asked")
    client.send(b"x")
    request = server.receive(1)
    for use, what in [
        (lambda: publisher.publish(b""), "publisher"),
        (lambda: publisher.loan(1), "publisher"),
        (lambda: subscriber.take(), "subscriber"),
        (lambda: subscriber.receive(1), "subscriber"),
        (lambda: subscriber.fileno(), "subscriber"),
        (lambda: bytes(message), "message"),
        (lambda: message.array(), "message"),
        (lambda: message.release(), "message"),
        (lambda: loan.array(), "loan"),
        (lambda: loan.send(), "loan"),
        (lambda: request.reply(b""), "request"),
        (lambda: client.call(b""), "client"),
        (lambda: [s for s in server], "server"),
    ]:
        said = in_child(use)
        assert said.startswith("ForkedError") and "fork" in said, said
    loan.drop()
    request.reply(b"")
    assert bytes(client.receive(1)) == b"" and bytes(message) == b"abc"
    client.close()
    server.close()


def test_a_child_opens_its_own_and_leaves_the_parents(publisher, subscriber):
    def work():
        publisher.close()
        subscriber.close()
        with tarn_ipc.Subscriber("topic") as own, tarn_ipc.Publisher("topic") as sender:
            sender.publish(b"of the child")
            return bytes(own.receive(1))

    assert in_child(work) == "b'of the child'"
    assert publisher.publish(b"x")
    assert b"x" in [bytes(message) for message in subscriber.iterate(timeout=0)]


def test_fork_while_another_thread_waits(subscriber):
    thread = threading.Thread(target=lambda: pytest.raises(tarn_ipc.WaitInterrupted, subscriber.receive))
    thread.start()
    time.sleep(0.1)
    assert in_child(subscriber.take).startswith("ForkedError")
    subscriber.interrupt()
    thread.join()


def echo_one(topic):
    with tarn_ipc.Server(topic) as server:
        request = server.receive(20)
        request.reply(bytes(request) * 2)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, monkeypatch):
    context = multiprocessing.get_context(method)
    process = context.Process(target=echo_one, args=("echo",))
    process.start()
    with tarn_ipc.Client("echo", server_timeout_s=20) as client:
        assert bytes(client.call(b"ab", 20)) == b"abab"
    process.join()
    assert process.exitcode == 0


# ---- threads --------------------------------------------------------------------------------------------------------


def test_a_handle_belongs_to_one_thread_at_a_time(publisher, subscriber):
    started, caught = threading.Event(), []

    def wait():
        started.set()
        caught.append(bytes(subscriber.receive(10)))

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    time.sleep(0.05)
    for use in (subscriber.take, subscriber.receive, subscriber.fileno, subscriber.close, subscriber.publishers):
        with pytest.raises(tarn_ipc.ThreadError, match="the subscriber is in use by another thread"):
            use()
    publisher.publish(b"x")
    thread.join()
    assert caught == [b"x"] and subscriber.take() is None


def test_what_is_dropped_by_another_thread_is_given_back_by_the_handles_own():
    with tarn_ipc.Server("topic", max_taken=1) as server, tarn_ipc.Client("topic") as client:
        client.send(b"1")
        held = [server.receive(1)]
        thread = threading.Thread(target=lambda: pytest.raises(tarn_ipc.WaitInterrupted, server.wait, 10))
        thread.start()
        time.sleep(0.1)
        held.clear()
        assert client.take() is None
        server.interrupt()
        thread.join()
        answer = client.receive(5)
        assert answer.no_data and answer.last


def test_what_is_dropped_by_another_thread_leaves_the_handle_to_its_own():
    dropped = queue.SimpleQueue()

    def drop():
        while dropped.get() is not None:
            pass

    with tarn_ipc.Server("topic", max_taken=200, linger_s=0) as server, tarn_ipc.Client("topic") as client:
        thread = threading.Thread(target=drop)
        thread.start()
        for _ in range(3000):
            client.send(b"x")
            dropped.put(server.receive(1))
            for _ in range(20):
                assert server.clients() == 1
            while client.pending() > 32:
                client.receive(1)
        dropped.put(None)
        thread.join()


def test_many_are_dropped_while_a_thread_with_a_small_stack_uses_the_handle():
    count = 20_000
    with tarn_ipc.Server("topic", max_taken=count, linger_s=0) as server:
        with tarn_ipc.Client("topic", max_pending=count) as client:
            held = []
            while len(held) < count:
                client.send(b"x")
                held.append(server.receive(1))
            before = threading.stack_size(256 * 1024)
            try:
                thread = threading.Thread(target=server.wait, args=(0.3,))
                thread.start()
            finally:
                threading.stack_size(before)
            time.sleep(0.1)
            held.clear()
            thread.join()
            assert sum(1 for _ in client) == count


def test_many_threads_on_handles_of_their_own():
    def work(number, failed):
        try:
            with tarn_ipc.Publisher(f"t{number}") as publisher, tarn_ipc.Subscriber(f"t{number}") as subscriber:
                for i in range(500):
                    publisher.publish(b"%d" % i)
                    assert bytes(subscriber.receive(5)) == b"%d" % i
        except BaseException as error:
            failed.append(error)

    failed = []
    threads = [threading.Thread(target=work, args=(i, failed)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


# ---- ends -----------------------------------------------------------------------------------------------------------


def test_a_signal_ends_a_wait(python):
    process = python("import tarn_ipc; s = tarn_ipc.Subscriber('topic'); print('ready', flush=True); s.receive()")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(5) in (-signal.SIGINT, 1) and "KeyboardInterrupt" in process.stderr.read()


def test_a_signal_handler_may_close_what_waits():
    subscriber = tarn_ipc.Subscriber("topic")
    signal.signal(signal.SIGUSR1, lambda *_: subscriber.close())
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
    with pytest.raises(tarn_ipc.ClosedError):
        subscriber.receive(10)


def test_kill_9_of_a_subscriber_that_holds_arrays(python):
    with tarn_ipc.Publisher("topic", memory_limit_bytes=4 << 20, full_timeout_s=5) as publisher:
        process = python(
            "import tarn_ipc\n"
            "s = tarn_ipc.Subscriber('topic', reliable=True)\n"
            "print('ready', flush=True)\n"
            "held = []\n"
            "for m in s:\n"
            "    held.append(m.array('f8'))\n"
            "    print(len(held), flush=True)\n"
        )
        process.stdout.readline()
        for _ in range(2):
            publisher.publish(numpy.ones(100_000))
            process.stdout.readline()
        process.kill()
        process.wait()
        for _ in range(20):
            publisher.publish(numpy.ones(100_000))
        assert publisher.subscribers() == 0


def test_kill_9_of_a_publisher(python, subscriber):
    process = python(
        "import tarn_ipc, time\n"
        "p = tarn_ipc.Publisher('topic')\n"
        "p.publish(b'x' * 1000000); p.flush(10)\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    assert process.stdout.readline() == "ready\n"
    message = subscriber.receive(10)
    view = message.array()
    process.kill()
    process.wait()
    assert set(view) == {ord("x")}


@pytest.mark.parametrize("held", ["m", "memoryview(m)", "m.array()", "p.loan(10)", "p.loan(10).array()", "(s, p, m)"])
def test_the_interpreter_ends_with_things_alive(python, held):
    process = python(
        "import tarn_ipc\n"
        "p, s = tarn_ipc.Publisher('topic'), tarn_ipc.Subscriber('topic')\n"
        f"p.publish(b'abc'); m = s.receive(1); held = {held}\n"
        "class Cycle: pass\n"
        "c = Cycle(); c.c = c; c.held = held\n",
        flags=["-X", "dev"],
    )
    assert process.communicate(timeout=20)[1].replace("\n", "") == "" and process.returncode == 0


def test_what_was_sent_last_arrives_though_nobody_closed(python, subscriber):
    process = python("import tarn_ipc\np = tarn_ipc.Publisher('topic')\np.publish(b'last')\n")
    assert bytes(subscriber.receive(10)) == b"last"
    assert process.wait(5) == 0


def test_the_interpreter_ends_while_a_daemon_thread_waits(python):
    process = python(
        "import tarn_ipc, threading, time\n"
        "s = tarn_ipc.Subscriber('topic')\n"
        "threading.Thread(target=s.receive, daemon=True).start()\n"
        "time.sleep(0.2)\n"
    )
    assert process.communicate(timeout=20)[1] == "" and process.returncode == 0


def test_cycles_are_collected():
    with tarn_ipc.Producer("jobs", linger_s=0) as producer, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)

        class Holder(tarn_ipc.Worker):
            pass

        worker = Holder("jobs")
        producer.push(b"x")
        worker.job = worker.receive(1)
        del worker
        gc.collect()
        until(lambda: producer.workers() == 0)


CLOSED_BY_OTHERS_AT_THE_END = """
import atexit, threading, time, tarn_ipc
reader = tarn_ipc.Subscriber("x", reliable=True)
others = [tarn_ipc.Subscriber("other") for _ in range(20)]
publisher = tarn_ipc.Publisher("x", linger_s=1)
publisher.publish(b"1")
ending = threading.Event()
def drop():
    ending.wait()
    time.sleep(0.3)
    others.clear()
    garbage = [bytearray(b"\\xff" * 200) for _ in range(10000)]
    time.sleep(5)
threading.Thread(target=drop, daemon=True).start() # not at the end: since 3.12 none can be started there
atexit.register(ending.set)
"""


def test_handles_dropped_while_the_interpreter_closes_all(python):
    process = python(CLOSED_BY_OTHERS_AT_THE_END)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_subinterpreter_is_refused_and_changes_nothing(python):
    process = python("""
import importlib, tarn_ipc
for name in ("_interpreters", "_xxsubinterpreters"):
    try:
        interpreters = importlib.import_module(name)
        break
    except ImportError:
        pass
try:
    other = interpreters.create("legacy")
except (TypeError, ValueError):
    other = interpreters.create()
run = getattr(interpreters, "exec", None) or interpreters.run_string
run(other, """ + '"""' + """
try:
    import tarn_ipc
    print("imported", flush=True)
except ImportError as error:
    print(error, flush=True)
""" + '"""' + """)
interpreters.destroy(other)
with tarn_ipc.Publisher("topic") as publisher, tarn_ipc.Subscriber("topic") as subscriber:
    publisher.publish(b"1")
    print(subscriber.receive(1))
""")
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    refused, used = out.splitlines()
    assert "interpreter" in refused and used == "<Message of 1 bytes>"


def test_an_end_while_threads_open_handles(python):
    process = python("""
import threading, time, tarn_ipc
def churn():
    while True:
        tarn_ipc.Subscriber("x").close()
for _ in range(2):
    threading.Thread(target=churn, daemon=True).start()
keep = [tarn_ipc.Publisher(f"x{i}") for i in range(20)]
time.sleep(0.2)
""")
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_dropped_producer_lets_other_threads_run():
    producer = tarn_ipc.Producer("jobs")
    producer.push(b"x")
    steps, running = [time.monotonic()], True

    def step():
        while running:
            time.sleep(0.005)
            steps.append(time.monotonic())

    thread = threading.Thread(target=step)
    thread.start()
    with pytest.warns(ResourceWarning):
        del producer
    running = False
    thread.join()
    assert steps[-1] - steps[0] > 0.9, "it waited for nobody"
    assert max(after - before for before, after in zip(steps, steps[1:])) < 0.6
