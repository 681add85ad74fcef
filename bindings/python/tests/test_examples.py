# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The examples do what their first lines say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tarn_ipc
from conftest import until

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example():
    started = []

    def start(name, *arguments):
        process = subprocess.Popen(
            [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ, MPLCONFIGDIR=os.environ.get("MPLCONFIGDIR", os.environ["TARN_DIR"] + "/../matplotlib")),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ends(process):
    said, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")
    return said


def test_hello(example):
    subscriber = example("hello_sub")
    with tarn_ipc.Publisher("hello") as publisher:
        until(lambda: publisher.subscribers() == 1)
        ends(example("hello_pub"))
    assert subscriber.stdout.readline() == "Hello, world\n"


def test_asyncio_many(example):
    process = example("asyncio_many")
    with tarn_ipc.Notifier("doors") as doors, tarn_ipc.Publisher("hello") as hello:
        until(lambda: doors.listeners() == 1 and hello.subscribers() == 1)
        hello.publish(b"abc")
        assert process.stdout.readline() == "message: abc\n"
        assert ends(example("client", "abc")) == "ABC\n"
        doors.notify(3, 2)
        assert process.stdout.readline() in ("door 3: 2\n", "another second\n")
        doors.notify(0)
        assert "door 0: 1" in ends(process)


@pytest.mark.filterwarnings("default")  # what matplotlib and pandas warn of is theirs
def test_notebook(monkeypatch):
    """Its cells, one after the other, as they are."""
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    matplotlib.use("agg")
    monkeypatch.chdir(EXAMPLES)
    cells = json.loads(Path("notebook.ipynb").read_text())["cells"]
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["stamps"]) == 40 and sorted(names["stamps"]) == names["stamps"]
    assert [pixels.max() for pixels in names["shown"]] == [255, 255]
    figure, pictures = names["figure"], names["figure"].axes[:2]
    assert [axes.images[0].get_array().shape for axes in pictures] == [(480, 640)] * 2
    assert len(figure.axes[2].lines[0].get_xdata()) == 40 and len(names["axes"].lines) == 4
    means = names["table"].groupby("sensor")["celsius"].mean()
    assert means.round(6).to_dict() == {0: 20.0, 1: 21.0, 2: 22.0, 3: 23.0} and len(names["table"]) == 1000
    said = [cell["outputs"][-1]["data"]["text/plain"] for cell in cells if cell.get("outputs")]
    assert any("23.5" in line for line in said[1]) and len(said) >= 3  # it is kept with what it shows


def test_requests(example):
    example("server")
    with tarn_ipc.Client("upper", server_timeout_s=10) as client:
        client.call(b"", 10)
    assert ends(example("client", "hello")) == "HELLO\n"


def test_jobs(example):
    worker = example("worker")
    with tarn_ipc.Producer("jobs") as producer:
        producer.push(b"a")
        assert worker.stdout.readline() == "a, attempt 1\n" and producer.flush(10)


def test_values(example):
    board = example("board")
    with tarn_ipc.Writer("robot") as writer:
        writer.set("speed", b"1.5")
        assert board.stdout.readline() == "speed 1.5\n"
