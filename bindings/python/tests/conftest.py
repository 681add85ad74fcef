# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Each test has a topic directory of its own, a time limit, and leaves no handle open."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tarn_ipc

LIMIT_S = 40
TESTS = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TARN_DIR", str(tmp_path / "topics"))
    os.mkdir(tmp_path / "topics", 0o700)

    def too_long(number, frame):
        raise TimeoutError(f"longer than {LIMIT_S} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    yield tmp_path
    signal.alarm(0)
    gc.collect()


@pytest.fixture
def publisher():
    with tarn_ipc.Publisher("topic") as opened:
        yield opened


@pytest.fixture
def subscriber():
    with tarn_ipc.Subscriber("topic") as opened:
        yield opened


@pytest.fixture
def python():
    """Starts a Python process that runs the given text; ended with the test."""
    started = []

    def start(text, **options):
        environment = dict(os.environ, PYTHONPATH=str(TESTS), **options.pop("environment", {}))
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *options.pop("flags", []), "-c", text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition, seconds=10):
    """Waits until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.01)
