# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The same topics between Python and C, identical bytes: with the command line, and with a program that has a struct."""

import os
import random
import subprocess
from pathlib import Path

import numpy
import pytest

import tarn_ipc
from conftest import until
from test_types import Point, Pose

TARN = os.environ.get("TARN_BIN", "")
BUILD = os.environ.get("TARN_BUILD", "")
SOURCE = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(not os.path.exists(TARN), reason="TARN_BIN names no command line")

BYTES = random.Random(8).randbytes(1_000_003)


@pytest.fixture
def tarn(place):
    """Starts the command line with some bytes as its input."""
    started = []
    (place / "input").write_bytes(BYTES)

    def start(*arguments):
        with open(place / "input", "rb") as file:
            process = subprocess.Popen([TARN, *arguments], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_messages_to_c(tarn):
    process = tarn("sub", "topic", "--raw", "--count", "1")
    with tarn_ipc.Publisher("topic", linger_s=10) as publisher:
        until(lambda: publisher.subscribers() == 1)
        publisher.publish(BYTES)
        assert process.communicate(timeout=10)[0] == BYTES


def test_messages_from_c(tarn, subscriber):
    tarn("pub", "topic", "--whole", "--quiet")
    assert bytes(subscriber.receive(10)) == BYTES


def test_requests_to_c(tarn):
    tarn("serve", "topic", "--", "cat")
    with tarn_ipc.Client("topic", server_timeout_s=10) as client:
        assert bytes(client.call(BYTES, 10)) == BYTES


def test_requests_from_c(tarn):
    with tarn_ipc.Server("topic") as server:
        process = tarn("call", "topic")
        request = server.receive(10)
        assert bytes(request) == BYTES
        loan = request.loan(len(BYTES))
        loan.array()[:] = numpy.frombuffer(BYTES, "u1")
        loan.send()
        assert process.communicate(timeout=10)[0] == BYTES


def test_events_to_c(tarn):
    process = tarn("listen", "topic", "--count", "1", "--json")
    with tarn_ipc.Notifier("topic") as notifier:
        until(lambda: notifier.listeners() == 1)
        notifier.notify(7, 12)
        assert b'"event": 7, "count": 12, "total": 12' in process.communicate(timeout=10)[0]


def test_events_from_c(tarn):
    with tarn_ipc.Listener("topic") as listener:
        tarn("notify", "topic", "7", "--count", "12").wait()
        assert listener.receive(10) == (7, 12, 12)


def test_values_to_c(tarn):
    with tarn_ipc.Writer("topic") as writer:
        writer.set("key", BYTES)
        assert tarn("get", "topic", "key").communicate(timeout=10)[0].rstrip(b"\n") == BYTES.rstrip(b"\n")


def test_values_from_c(tarn):
    with tarn_ipc.Reader("topic") as reader:
        tarn("set", "topic", "key", "-", "--quiet")
        assert reader.wait_key("key", timeout=10)
        assert bytes(reader.value_of("key")) == BYTES


def test_jobs_to_c(tarn):
    with tarn_ipc.Producer("topic") as producer:
        producer.push(BYTES)
        process = tarn("work", "topic", "--count", "1", "--", "cat")
        assert process.communicate(timeout=10)[0] == BYTES
        assert producer.flush(10)


def test_jobs_from_c(tarn):
    with tarn_ipc.Worker("topic") as worker:
        process = tarn("push", "topic", "--whole", "--done", "--quiet")
        with worker.receive(10) as job:
            assert bytes(job) == BYTES
        assert process.wait(10) == 0


def test_monitors_see_both(tarn):
    with tarn_ipc.Monitor("topic") as monitor:
        tarn("sub", "topic")
        assert monitor.receive(10).command == "tarn"
    process = tarn("match", "topic", "--count", "1", "--skip-present")
    with tarn_ipc.Monitor("topic", monitors=True) as monitor:
        until(lambda: monitor.receive(10).role == tarn_ipc.Role.MONITOR)
    with tarn_ipc.Publisher("topic"):
        assert b"publisher" in process.communicate(timeout=10)[0]


# ---- a struct -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    program = tmp_path_factory.mktemp("peer") / "peer"
    library = Path(BUILD) / "libtarn.a"
    if not library.exists():
        pytest.skip("TARN_BUILD has no libtarn.a")
    subprocess.run(["gcc", "-I", SOURCE / "include", "-o", program, Path(__file__).parent / "peer.c", library], check=True)
    return program


def test_a_struct_from_c(peer):
    with tarn_ipc.Subscriber("pose", type=Pose) as subscriber:
        process = subprocess.Popen([peer, "send"])
        pose = subscriber.receive(10).value()
        assert process.wait(10) == 0
    assert (pose.stamp, pose.place, list(pose.turn), pose.fixed, pose.quality) == (7, Point(1.5, -2), [1, 2, 3], True, 9)


def test_a_struct_to_c(peer):
    process = subprocess.Popen([peer, "show"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    with tarn_ipc.Publisher("pose", type=Pose) as publisher:
        publisher.publish(Pose(7, Point(1.5, -2), [1, 2, 3], True, 9))
    assert process.communicate(timeout=10)[0] == "7 1.5 -2 1 2 3 1 9\n"


def test_another_struct_is_refused(peer):
    with tarn_ipc.Subscriber("pose", type=Point):
        process = subprocess.run([peer, "send"], stderr=subprocess.PIPE, text=True)
        assert process.returncode == 1 and "Pose" in process.stderr and "Point" in process.stderr
