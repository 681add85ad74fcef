# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
tarn: processes on one Linux machine talk through shared memory.

    with tarn_ipc.Publisher("hello") as publisher:
        publisher.publish(b"Hello, world")

    with tarn_ipc.Subscriber("hello") as subscriber:
        for message in subscriber:
            print(bytes(message))

A handle belongs to one thread at a time, and to the process that opened it. Timeouts are seconds; None is for ever.
"""

import atexit as _atexit
import enum as _enum

from . import _tarn
from ._errors import (
    BY_STATUS as _BY_STATUS,
    AccessError,
    ArgumentError,
    ClosedError,
    DamagedError,
    DirectoryError,
    Error,
    ForkedError,
    FullError,
    MismatchError,
    PeerError,
    ReleasedError,
    RemovedError,
    ResourceError,
    Status,
    SystemFailure,
    TakenError,
    ThreadError,
    TooBigError,
    WaitInterrupted,
)
from ._handles import (
    Client,
    Event,
    Listener,
    Match,
    Keeper,
    Monitor,
    Notifier,
    Producer,
    Publisher,
    Reader,
    Ready,
    Server,
    Subscriber,
    Waitset,
    Worker,
    Writer,
)
from ._payloads import Job, Loan, Message, Request
from ._types import Type, array_of, array_of_payload as _array_of_payload, known_dtypes as _known_dtypes

__version__ = _tarn.version


class WhenFull(_enum.IntEnum):
    """What sending does where there is no space."""

    WAIT = 0
    FAIL = 1
    DROP = 2


class Wake(_enum.IntEnum):
    AUTO = 0
    FENCE = 1
    NEVER = 2


class WaitStrategy(_enum.IntEnum):
    SPIN_THEN_SLEEP = 0
    SPIN = 1
    SLEEP = 2


class MatchKind(_enum.IntEnum):
    JOINED = 1
    LEFT = 2
    DIED = 3
    MISSED = 4


class Role(_enum.IntEnum):
    PUBLISHER = 1
    SUBSCRIBER = 2
    CLIENT = 3
    SERVER = 4
    NOTIFIER = 5
    LISTENER = 6
    WRITER = 7
    READER = 8
    PRODUCER = 9
    WORKER = 10
    MONITOR = 11
    KEEPER = 12


process_register = _tarn.process_register

_tarn.use(
    errors=_BY_STATUS,
    error=Error,
    thread_error=ThreadError,
    message=Message,
    request=Request,
    job=Job,
    loan=Loan,
    event=Event,
    match=Match,
    ready=Ready,
    known_dtypes=_known_dtypes,
    array_of_payload=_array_of_payload,
)
_atexit.register(_tarn.close_all)

__all__ = [
    "AccessError",
    "ArgumentError",
    "Client",
    "ClosedError",
    "DamagedError",
    "DirectoryError",
    "Error",
    "Event",
    "ForkedError",
    "FullError",
    "Job",
    "Listener",
    "Loan",
    "Match",
    "MatchKind",
    "Message",
    "MismatchError",
    "Keeper",
    "Monitor",
    "Notifier",
    "PeerError",
    "Producer",
    "Publisher",
    "Reader",
    "Ready",
    "ReleasedError",
    "RemovedError",
    "Request",
    "ResourceError",
    "Role",
    "Server",
    "Status",
    "Subscriber",
    "SystemFailure",
    "TakenError",
    "ThreadError",
    "TooBigError",
    "Type",
    "WaitInterrupted",
    "WaitStrategy",
    "Waitset",
    "Wake",
    "WhenFull",
    "Worker",
    "Writer",
    "array_of",
    "process_register",
]
