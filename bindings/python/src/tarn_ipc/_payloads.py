# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
Messages, requests, jobs and loans. Each is a buffer: bytes(m), memoryview(m), numpy.frombuffer(m, dtype), m.array(dtype).

A view keeps what it is of; and what it is of cannot end while there are views: release(), reply(), acknowledge() and send() then
raise BufferError, and nothing has changed.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from . import _tarn
from ._types import array_of_payload


class _Values:
    __slots__ = ()

    def value(self) -> Any:
        """What the topic's type says it is: a dataclass's object, or an array."""
        kind = self.type  # type: ignore[attr-defined]
        if kind is None or kind.dtype is None:
            raise TypeError("the topic has no type from which Python could tell; use array(dtype), bytes() or memoryview()")
        return kind.decode(self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """For numpy, where the buffer protocol refused: says why."""
        array = array_of_payload(self)
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name}, over>" if self.over else f"<{name} of {len(self)} bytes>"  # type: ignore


class Message(_Values, _tarn.Message):
    """A message, a response, or a blackboard's value, where it was written. with message: releases it at the end."""

    __slots__ = ()

    def __enter__(self) -> Message:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class Request(_Values, _tarn.Request):
    """
    A request: answered by reply(), or by stream() and end(). One that is dropped is ended without an answer.

    Any answer ends it if its client is gone, and its memory is the client's: there must be no views of it, not even between
    two answers of a stream. Have them in a with block (with memoryview(request) as view: ...), or copy: request.array().copy().
    """

    __slots__ = ()


class Job(_Values, _tarn.Job):
    """A job. with job: acknowledges it at the end, or gives it back if an exception comes out."""

    __slots__ = ()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.over:
            return
        if error is None:
            self.acknowledge()
        elif self.has_no_views:
            self.give_back()


class Loan(_Values, _tarn.Loan):
    """
    A place for a message in the making. with loan: sends it at the end, or drops it if an exception comes out.

    What was sent must not be written: there must be no views of it then. Do not give its array a name (loan.array()[:] = ...),
    or del the name before.
    """

    __slots__ = ()

    def __enter__(self) -> Loan:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.over:
            return
        if error is None:
            self.send()
        elif self.has_no_views:
            self.drop()
