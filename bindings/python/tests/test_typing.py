# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What a strict type checker says of the package, and of a program that uses it."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import tarn_ipc

with tarn_ipc.Publisher("a", when_full=tarn_ipc.WhenFull.FAIL, linger_s=0.5) as publisher:
    reveal_type(publisher)  # Publisher
    with publisher.loan(8) as loan:
        loan.array()[:] = 1
    fine: bool = publisher.publish(b"x")
with tarn_ipc.Subscriber("a", history=3) as subscriber, tarn_ipc.Client("b") as client, tarn_ipc.Server("b") as server:
    reveal_type(subscriber.receive())  # Message
    reveal_type(subscriber.receive(1))  # Message | None
    reveal_type(subscriber.receive(timeout=None if fine else 1))  # Message | None
    for message in subscriber.iterate(timeout=1):
        reveal_type(message)  # Message
    reveal_type(client.call(b"x", timeout=1))  # Message
    reveal_type(client.receive())  # Message | None
    reveal_type(server.receive())  # Request
    reveal_type(server.take())  # Request | None
with tarn_ipc.Reader("c", keys=["a"]) as reader, tarn_ipc.Writer("c") as writer:
    reveal_type(reader.receive(1))  # tuple[str, Message] | None
    reveal_type(writer.loan("a", 8))  # Loan
with tarn_ipc.Producer("d") as producer, tarn_ipc.Worker("d") as worker, tarn_ipc.Listener("e", ids=[1]) as listener:
    with worker.receive() as job:
        reveal_type(job)  # Job
    reveal_type(listener.receive().total)  # int
    reveal_type(producer.loan(8))  # Loan
with tarn_ipc.Monitor("a") as monitor, tarn_ipc.Waitset() as waitset:
    reveal_type(monitor.receive().role_text)  # str
    reveal_type(waitset.wait(1)[0].fd)  # int

async def main() -> None:
    async for one in subscriber:
        reveal_type(one)  # Message
    reveal_type(await client.call_async(b"x"))  # Message
    reveal_type((await listener.receive_async()).total)  # int

subscriber.nonsense  # error: "Subscriber" has no attribute "nonsense"
tarn_ipc.Client("b", nonsense=1)  # error: Unexpected keyword argument "nonsense" for "Client"
publisher.publish()  # error: Too few arguments for "publish"
subscriber.receive(1).release()  # error: Item "None" of "Message | None" has no attribute "release"
"""


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    place = tmp_path_factory.mktemp("mypy")

    def check(*arguments):
        command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.12", "--cache-dir", place / "cache", *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MYPY")}
        return subprocess.run(command, capture_output=True, text=True, cwd=place, env=environment).stdout

    return place, check


def test_the_package_is_typed(mypy):
    assert mypy[1]("-p", "tarn_ipc").startswith("Success")


def test_a_program_is_checked(mypy):
    place, check = mypy
    (place / "program.py").write_text(PROGRAM)
    told = {}
    for line in check("program.py").splitlines():
        name, _, rest = line.partition(":")
        number, _, text = rest.partition(":")
        if name == "program.py":
            told.setdefault(int(number), text)
    for number, line in enumerate(PROGRAM.splitlines(), 1):
        code, _, wanted = line.partition("  # ")
        if not wanted:
            assert number not in told, told[number]
        elif wanted.startswith("error: "):
            assert wanted in told[number]
        else:
            assert plain(told[number]) == f' note: Revealed type is "{wanted}"'


def plain(text):
    for module in ("tarn_ipc._handles.", "tarn_ipc._payloads.", "builtins."):
        text = text.replace(module, "")
    return text
