# SPDX-License-Identifier: Apache-2.0 OR MIT
"""
The handles. What waits takes a timeout in seconds, None being for ever, and can be iterated: for, and async for.

Options have the names they have in tarn.h. Times are seconds here, and end in _s; None, or leaving one out, is the default.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, AsyncIterator, Generic, Iterator, NamedTuple, TypeVar

from . import _tarn
from ._errors import ThreadError
from ._payloads import Job, Loan, Message, Request
from ._types import Type

T = TypeVar("T")
Self = TypeVar("Self")  # typing's own is of 3.11

# So many are taken by async for before other tasks have their turn.
FAIR_COUNT = 64


class _Closing:
    __slots__ = ()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<{'closed ' if self.closed else ''}{type(self).__name__}>"  # type: ignore[attr-defined]


class _Awaitable(_Closing):
    """Has a descriptor that asyncio's loop can watch. Classes have a slot _waiting."""

    __slots__ = ()

    async def _readable(self) -> None:
        if getattr(self, "_waiting", None) is not None:
            raise ThreadError(f"another task waits for this {type(self).__name__.lower()} already")
        loop = asyncio.get_running_loop()
        fd = self.fileno()  # type: ignore[attr-defined]
        readable = loop.create_future()
        loop.add_reader(fd, _set, readable)
        self._waiting: tuple[asyncio.Future[None], int] | None = (readable, fd)  # type: ignore[misc]
        try:
            await readable
        finally:
            if self._waiting is not None:
                loop.remove_reader(fd)
                self._waiting = None  # type: ignore[misc]

    def close(self) -> int:
        """Leaves the topic. What it returns tarn.h says, of most 0. A task that waits for it gets a ClosedError."""
        result: int = super().close()  # type: ignore[misc]
        waiting, self._waiting = getattr(self, "_waiting", None), None  # type: ignore[misc]
        if waiting is not None:
            readable, fd = waiting
            readable.get_loop().remove_reader(fd)
            _set(readable)
        return result


class _Waiting(_Awaitable, Generic[T]):
    """What take() and receive() give can be iterated, and awaited on asyncio's loop: no thread, no polling."""

    __slots__ = ()

    def __iter__(self) -> Iterator[T]:
        return self.iterate()

    def iterate(self, timeout: float | None = None) -> Iterator[T]:
        """Until none has come for timeout seconds."""
        while (one := self.receive(timeout)) is not None:  # type: ignore[attr-defined]
            yield one
            del one  # not held while the next is waited for

    async def receive_async(self) -> T:
        """The next one. Cancelling loses none; for a timeout use asyncio.wait_for."""
        while True:
            one: T | None = self.take()  # type: ignore[attr-defined]
            if one is not None:
                return one
            await self._readable()

    async def __aiter__(self) -> AsyncIterator[T]:
        taken = 0
        while True:
            one = self.take()  # type: ignore[attr-defined]
            if one is None:
                await self._readable()
                taken = 0
                continue
            taken += 1
            if taken % FAIR_COUNT == 0:
                await asyncio.sleep(0)
            yield one
            del one


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _typed(options: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        if options.get(name) is not None:
            options[name] = Type.of(options[name])
    return options


# ---- publish and subscribe ------------------------------------------------------------------------------------------


class Publisher(_Closing, _tarn.Publisher):
    __slots__ = ()

    if not TYPE_CHECKING:  # whose options _tarn.pyi has

        def __init__(self, topic, **options):
            super().__init__(topic, **_typed(options, "type"))


class Subscriber(_Waiting[Message], _tarn.Subscriber):
    __slots__ = ("_waiting",)

    if not TYPE_CHECKING:  # whose options _tarn.pyi has

        def __init__(self, topic, **options):
            super().__init__(topic, **_typed(options, "type"))


# ---- requests -------------------------------------------------------------------------------------------------------


class Client(_Waiting[Message], _tarn.Client):
    """What is iterated are responses, of any request; it ends when none is pending."""

    __slots__ = ("_answers", "_reading", "_waiting")

    _answers: dict[int, asyncio.Future[Message]]
    _reading: asyncio.Task[None] | None

    if not TYPE_CHECKING:  # whose options _tarn.pyi has

        def __init__(self, topic, **options):
            super().__init__(topic, **_typed(options, "request_type", "response_type"))
            self._answers = {}
            self._reading = None

    async def call_async(self, data: Any) -> Message:
        """Sends a request, and waits for its first response; any number of tasks may. Cancelling abandons it, as does a
        response that is not the last: for all of them use send() and receive_async().

        While such calls are under way they get all responses: those of other requests are dropped."""
        request = self.send(data)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())
        try:
            response = await answer
            if not response.last and not self.closed:
                self.abandon(request)
            return response
        except asyncio.CancelledError:
            if not self.closed:
                self.abandon(request)
            raise
        finally:
            self._answers.pop(request, None)
            if not self._answers and self._reading is not None:
                self._reading.cancel()
                self._reading = None  # not done before it runs again

    async def _read(self) -> None:
        while self._answers:
            try:
                self._hand_out(await self.receive_async())
            except Exception as error:
                self._fail(error)

    def _hand_out(self, message: Message) -> None:
        answer = self._answers.get(message.request)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _fail(self, error: Exception) -> None:
        """A death is of one request; anything else of all."""
        request = getattr(error, "request", None)
        for number, answer in list(self._answers.items()):
            if (request is None or request == number) and not answer.done():
                answer.set_exception(error)
        if request is None:
            self._answers.clear()


class Server(_Waiting[Request], _tarn.Server):
    """Answers requests. close() waits for up to linger_s (1 s) until clients have attached the memory of their responses; that wait
    is the library's, and Ctrl-C is seen after it."""

    __slots__ = ("_waiting",)

    if not TYPE_CHECKING:  # whose options _tarn.pyi has

        def __init__(self, topic, **options):
            super().__init__(topic, **_typed(options, "request_type", "response_type"))


# ---- events ---------------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """That an event was raised: count times since this listener last took it, total times since the topic began."""

    id: int
    count: int  # type: ignore[assignment]
    total: int


class Notifier(_Closing, _tarn.Notifier):
    __slots__ = ()


class Listener(_Waiting[Event], _tarn.Listener):
    __slots__ = ("_waiting",)


# ---- blackboard -----------------------------------------------------------------------------------------------------


class Writer(_Closing, _tarn.Writer):
    """Keys are called by name; each is this writer's from its first use on, until release_key() or close()."""

    __slots__ = ("_numbers",)

    _numbers: dict[str, int]

    if not TYPE_CHECKING:  # whose options _tarn.pyi has

        def __init__(self, topic, **options):
            super().__init__(topic, **_typed(options, "type"))
            self._numbers = {}

    def key(self, name: str) -> int:
        """Takes a key, so that others may not set it. Its number."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = self._key(name)
        return number

    def set(self, key: str, data: Any) -> None:
        """Sets a key to a copy of data."""
        self._set(self.key(key), data)

    def loan(self, key: str, bytes: int) -> Loan:
        """A place to write a value to: sending it sets the key."""
        return self._loan(self.key(key), bytes)

    def release_key(self, key: str) -> None:
        """Gives a key up: another may take it. Its value stays until that sets another."""
        self._release_key(self.key(key))
        del self._numbers[key]


class Reader(_Waiting["tuple[str, Message]"], _tarn.Reader):
    """What is iterated are (key, value), of the keys that were looked up, as they change; values between may be skipped."""

    __slots__ = ("_numbers", "_waiting")

    def __init__(self, topic: str, *, keys: Any = (), **options: Any) -> None:
        super().__init__(topic, **_typed(options, "type"))
        self._numbers: dict[str, int] = {}
        for key in keys:
            self.key(key)

    def key(self, name: str) -> int:
        """Looks a key up, so that its changes are noticed. Its number."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = self._key(name)
        return number

    def keys(self) -> list[str]:
        """The names of all keys of the topic."""
        names = (self._key_name(number) for number in range(self._keys()))
        return [name for name in names if name is not None]

    def value_of(self, key: str) -> Message | None:
        """The latest value, where it lies; sequence is its version. None: it has none."""
        return self._take(self.key(key))

    def get(self, key: str) -> bytes | None:
        """A copy of the latest value."""
        value = self._take(self.key(key))
        return None if value is None else bytes(value)

    def wait_key(self, key: str, version: int = 0, timeout: float | None = None) -> bool:
        """Whether, within timeout seconds, the key has a version above that."""
        return self._wait_key(self.key(key), version, timeout)

    def take(self) -> tuple[str, Message] | None:
        """A key that changed, with its value; or None."""
        while (number := self._changed()) is not None:
            value = self._take(number)
            if value is not None:
                return self._name_of(number), value
        return None

    def receive(self, timeout: float | None = None) -> tuple[str, Message] | None:
        """The same, waiting up to timeout seconds."""
        started, left = time.monotonic(), timeout
        while (number := self._next(left)) is not None:
            value = self._take(number)
            if value is not None:
                return self._name_of(number), value
            left = None if timeout is None else max(0.0, started + timeout - time.monotonic())
        return None

    def _name_of(self, number: int) -> str:
        for name, known in self._numbers.items():
            if known == number:
                return name
        return self._key_name(number) or ""


# ---- work queue -----------------------------------------------------------------------------------------------------


class Producer(_Closing, _tarn.Producer):
    __slots__ = ()

    if not TYPE_CHECKING:  # whose options _tarn.pyi has

        def __init__(self, topic, **options):
            super().__init__(topic, **_typed(options, "type"))


class Worker(_Waiting[Job], _tarn.Worker):
    __slots__ = ("_waiting",)

    if not TYPE_CHECKING:  # whose options _tarn.pyi has

        def __init__(self, topic, **options):
            super().__init__(topic, **_typed(options, "type"))


# ---- who is there, and waiting for many -----------------------------------------------------------------------------


class Match(NamedTuple):
    """That somebody joined, left or died: tarn_match."""

    kind: int
    role: int
    identity: int
    opened_ns: int
    pid: int
    uid: int
    foreign_pid: bool
    command: str
    missed: int

    @property
    def role_text(self) -> str:
        return _tarn.role_text(self.role)


class Monitor(_Waiting[Match], _tarn.Monitor):
    __slots__ = ("_waiting",)


class Keeper(_Closing, _tarn.Keeper):
    """What is in a topic outlives the processes that sent it, as long as this waits, or is asked again and again."""

    __slots__ = ()


class Ready(NamedTuple):
    """A source that is ready. handle, or fd and its poll events; status: 0, or what the handle's next call will tell."""

    tag: Any
    handle: Any
    fd: int
    events: int
    status: int


class Waitset(_Awaitable, _tarn.Waitset):
    __slots__ = ("_waiting",)

    async def wait_async(self) -> list[Ready]:
        """What is ready, on asyncio's loop."""
        while not (ready := self.wait(0)):
            await self._readable()
        return ready
