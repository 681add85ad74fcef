# SPDX-License-Identifier: Apache-2.0 OR MIT
"""What the library's statuses are in Python. str() is the library's sentence: what happened, to which topic, what to do."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """enum tarn_status."""

    ARGUMENT = -1001
    TOPIC_NAME = -1002
    CLOSED = -1003
    FORKED = -1004
    DIRECTORY = -1005
    PERMISSION = -1006
    TOPIC_FILE = -1007
    VERSION = -1008
    TYPE = -1009
    BUSY = -1010
    NO_MEMORY = -1011
    LIMIT = -1012
    TOO_BIG = -1013
    FULL = -1014
    HOLDING = -1015
    INTERRUPTED = -1016
    RELEASED = -1017
    REFUSED = -1018
    DAMAGED = -1019
    TOPIC_REMOVED = -1020
    SYSTEM = -1021
    PATTERN = -1022
    PEER_DIED = -1023
    NO_PEER = -1024
    PENDING = -1025
    TAKEN = -1026


class Error(Exception):
    """All that the library says. status: which of its statuses; None for what only the binding knows."""

    status: Status | None = None


class ArgumentError(Error, ValueError):
    """A value out of range, or not a topic's name."""


class ClosedError(Error, ValueError):
    """The handle is closed."""


class ReleasedError(ClosedError):
    """The message was released, the request or job ended, or the loan sent or dropped, before."""


class ForkedError(Error, RuntimeError):
    """Of the parent process: a forked child opens its own."""


class ThreadError(Error, RuntimeError):
    """In use by another thread: a handle belongs to one thread at a time."""


class DirectoryError(Error, OSError):
    """The topic directory, or a topic's file, is missing, damaged or not to be trusted."""


class AccessError(Error, PermissionError):
    """Permissions refuse this process."""


class MismatchError(Error):
    """The topic is in use with another type, pattern or memory layout, or by a publisher that refuses this."""


class ResourceError(Error):
    """No memory, a limit, or a file that another process kept locked."""


class TooBigError(Error, ValueError):
    """Larger than the memory limit, or than the payload type."""


class FullError(Error):
    """No space now: full, as many held, or as many pending, as allowed. Nothing is lost."""


class WaitInterrupted(Error):
    """interrupt() has ended the wait."""


class DamagedError(Error):
    """A peer wrote nonsense to shared memory."""


class RemovedError(Error):
    """Somebody deleted the topic's file: newcomers will not meet this handle."""


class SystemFailure(Error, OSError):
    """The operating system failed in another way."""


class PeerError(Error):
    """Who was to answer, or to be answered, died, left, or is not there. request: the one it is about, or None."""

    request: int | None = None


class TakenError(Error):
    """It is another's: a key that another process writes, a job given to another since."""


BY_STATUS: dict[int, type[Error]] = {
    Status.ARGUMENT: ArgumentError,
    Status.TOPIC_NAME: ArgumentError,
    Status.CLOSED: ClosedError,
    Status.RELEASED: ReleasedError,
    Status.FORKED: ForkedError,
    Status.DIRECTORY: DirectoryError,
    Status.TOPIC_FILE: DirectoryError,
    Status.PERMISSION: AccessError,
    Status.VERSION: MismatchError,
    Status.TYPE: MismatchError,
    Status.PATTERN: MismatchError,
    Status.REFUSED: MismatchError,
    Status.BUSY: ResourceError,
    Status.NO_MEMORY: ResourceError,
    Status.LIMIT: ResourceError,
    Status.TOO_BIG: TooBigError,
    Status.FULL: FullError,
    Status.HOLDING: FullError,
    Status.PENDING: FullError,
    Status.INTERRUPTED: WaitInterrupted,
    Status.DAMAGED: DamagedError,
    Status.TOPIC_REMOVED: RemovedError,
    Status.SYSTEM: SystemFailure,
    Status.PEER_DIED: PeerError,
    Status.NO_PEER: PeerError,
    Status.TAKEN: TakenError,
}
