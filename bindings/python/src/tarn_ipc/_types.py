# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Payload types: from a numpy dtype, from a dataclass, or by hand. numpy is imported when one is used."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any

from . import _tarn

if typing.TYPE_CHECKING:
    import numpy


def numpy_or_say() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError("arrays need numpy: pip install 'tarn-ipc[numpy]'; without it, use memoryview() and bytes()") from error
    return numpy


class ArrayOf:
    """Of a dataclass's field: a fixed array, as numpy.ndarray. Written array_of("f4", 3)."""

    def __init__(self, dtype: Any, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape = dtype, shape


def array_of(dtype: Any, *shape: int) -> Any:
    """The annotation of a dataclass's field that is an array of fixed shape."""
    return Annotated[Any, ArrayOf(dtype, shape)]


SCALARS = {bool: "?", int: "<i8", float: "<f8", complex: "<c16"}


def _field_dtype(hint: Any, name: str) -> Any:
    numpy = numpy_or_say()
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, ArrayOf):
            return numpy.dtype((extra.dtype, extra.shape))
    if hint in SCALARS:
        return numpy.dtype(SCALARS[hint])
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return dataclass_dtype(hint)
    if isinstance(hint, numpy.dtype) or (isinstance(hint, type) and issubclass(hint, numpy.generic)):
        return numpy.dtype(hint)
    raise TypeError(
        f"field {name!r}: {hint!r} has no fixed size; use bool, int, float, complex, a numpy scalar type, array_of(dtype, ...), "
        "or another dataclass of these"
    )


def dataclass_dtype(made: type) -> numpy.dtype[Any]:
    """The dtype of a dataclass: fields where a C compiler would put them."""
    hints = typing.get_type_hints(made, include_extras=True)
    fields = [(field.name, _field_dtype(hints[field.name], field.name)) for field in dataclasses.fields(made)]
    made_of: numpy.dtype[Any] = numpy_or_say().dtype(fields, align=True)
    return made_of


def _describe(dtype: Any, prefix: str = "", at: int = 0) -> list[str]:
    if dtype.names is None:
        base, shape = dtype.subdtype or (dtype, ())
        dimensions = "".join(f"[{size}]" for size in shape)
        if base.names is None:
            return [f"{at} {prefix or 'value'} {base.str}{dimensions}"]
        return [f"{at} {prefix} struct{dimensions}"] + _describe(base, f"{prefix}." if prefix else "", at)
    lines = []
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        inner = field.names is not None
        lines += _describe(field, f"{prefix}{name}." if inner else f"{prefix}{name}", at + offset)
    return lines


def _plain(dtype: Any) -> Any:
    dtype = numpy_or_say().dtype(dtype)
    if dtype.hasobject:
        raise TypeError(f"{dtype} has Python objects, which mean nothing to another process")
    if dtype.itemsize == 0:
        raise TypeError(f"{dtype} has no bytes")
    return dtype


class Type:
    """
    What the payload of a topic is. Participants of a topic agree on name, bytes, alignment and encoding; C's are tarn_type.

    Type("sensor/Image", bytes=0)                   by hand: any size
    Type.of(numpy.dtype([("x", "f4"), ("y", "f4")]), name="point")      one such record
    Type.of(numpy.dtype("f4"), name="samples", many=True)               any number of them
    Type.of(Pose)                                    a dataclass; named as the class is
    """

    __slots__ = ("name", "bytes", "alignment", "encoding", "schema", "dtype", "dataclass", "many", "_parts")

    def __init__(
        self, name: str, *, bytes: int = 0, alignment: int = 0, encoding: str = "raw", schema: bytes | None = None
    ) -> None:
        if not 0 <= bytes < 1 << 64 or not 0 <= alignment <= 4096:
            raise ValueError(f"a type of {bytes} bytes, aligned to {alignment}, cannot be")
        self.name, self.bytes, self.alignment, self.encoding, self.schema = name, bytes, alignment, encoding, schema
        self.dtype: Any = None
        self.dataclass: type | None = None
        self.many = False
        self._parts = (name, bytes, alignment, encoding, schema)

    @classmethod
    def of(cls, what: Any, *, name: str | None = None, many: bool = False, alignment: int = 0) -> Type:
        """From a Type, a dataclass, or anything numpy takes for a dtype. many: messages are any number of these."""
        if isinstance(what, Type):
            return what
        is_dataclass = isinstance(what, type) and dataclasses.is_dataclass(what)
        dtype = _plain(dataclass_dtype(what) if is_dataclass else what)
        schema = "\n".join(_describe(dtype)).encode()
        made = cls(
            name or (what.__name__ if is_dataclass else _dtype_name(dtype)),
            bytes=0 if many else dtype.itemsize,
            alignment=alignment,
            schema=schema,
        )
        made.dtype, made.many = dtype, many
        made.dataclass = what if is_dataclass else None
        return made

    def __repr__(self) -> str:
        return f"Type({self.name!r}, bytes={self.bytes}, dtype={self.dtype})"

    # ---- to bytes -----------------------------------------------------------------------------------------------

    def encode(self, value: Any) -> Any:
        """Something with a buffer: what is sent for value. Called for all but bytes, bytearray and memoryview."""
        if self.dtype is None or isinstance(value, (_tarn.Message, _tarn.Request, _tarn.Job, _tarn.Loan)):
            return value
        numpy = numpy_or_say()
        if self.dataclass is not None and isinstance(value, self.dataclass):
            return numpy.array(_as_tuple(value), dtype=self.dtype)
        if not isinstance(value, (numpy.ndarray, numpy.generic)):
            return self._convert(value)
        base = self.dtype.subdtype[0] if self.dtype.subdtype else self.dtype
        if value.dtype != base:
            raise TypeError(f"an array of {value.dtype} is no {self.name}, which is of {self.dtype}")
        self._check_shape(value)
        return numpy.ascontiguousarray(value)

    def _convert(self, value: Any) -> Any:
        if _has_buffer(value) or isinstance(value, (str, dict, set)):
            raise TypeError(f"{type(value).__name__} is no {self.name}, which is of {self.dtype}")
        base = self.dtype.subdtype[0] if self.dtype.subdtype else self.dtype
        if base.names is not None and not _is_of_tuples(value):  # numpy would put a number into each field
            raise TypeError(f"{value!r} is no {self.name}, which is of {self.dtype}: a record is a tuple")
        array = numpy_or_say().array(value, dtype=base)
        self._check_shape(array)
        return array

    def _check_shape(self, array: Any) -> None:
        if self.many and array.nbytes % self.dtype.itemsize == 0:
            return
        if array.nbytes != self.dtype.itemsize:
            raise ValueError(f"{array.nbytes} bytes of shape {array.shape} are no {self.name}, which is of {self.dtype}")

    # ---- from bytes ---------------------------------------------------------------------------------------------

    def decode(self, payload: Any) -> Any:
        """A dataclass's object, a copy; or an array of the payload, without one: of shape () if not many."""
        array = array_of_payload(payload, self.dtype)
        if not self.many:
            array = array.reshape(self.dtype.subdtype[1] if self.dtype.subdtype else ())
        if self.dataclass is None:
            return array
        if self.many:
            return [_from_record(self.dataclass, record) for record in array]
        return _from_record(self.dataclass, array[()])


def _is_of_tuples(value: Any) -> bool:
    return isinstance(value, tuple) or (isinstance(value, list) and all(map(_is_of_tuples, value)))


def _has_buffer(value: Any) -> bool:
    try:
        memoryview(value).release()
    except TypeError:
        return False
    return True


def _dtype_name(dtype: Any) -> str:
    name = dtype.str if dtype.names is None and not dtype.subdtype else str(dtype).replace(" ", "")
    return name if len(name) <= 255 else name[:240] + f"...{len(name)}"


def _as_tuple(value: Any) -> tuple[Any, ...]:
    parts = (getattr(value, field.name) for field in dataclasses.fields(value))
    return tuple(_as_tuple(part) if dataclasses.is_dataclass(part) else part for part in parts)


def _from_record(made: type, record: Any) -> Any:
    hints = typing.get_type_hints(made)
    values = {}
    for field in dataclasses.fields(made):
        value, hint = record[field.name], hints[field.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            value = _from_record(hint, value)
        elif hint in SCALARS:
            value = value.item()
        elif getattr(value, "ndim", 0):
            value = value.copy()
        values[field.name] = value
    return made(**values)


# What a dtype comes to, by what it was asked for as: (of one element, shape of what the dtype has many of, an element's bytes).
# The C half looks here, too: array.c.
known_dtypes: dict[Any, tuple[Any, tuple[int, ...], int]] = {}
_KNOWN_MAX = 256


def _look_up(dtype: Any) -> tuple[Any, tuple[int, ...], int]:
    numpy = numpy_or_say()
    wanted = numpy.dtype(numpy.uint8 if dtype is None else dtype)
    if wanted.hasobject:
        raise TypeError(f"{wanted} has Python objects, which mean nothing to another process")
    base, inner = wanted.subdtype or (wanted, ())
    found = (base, inner, base.itemsize)
    if len(known_dtypes) < _KNOWN_MAX and _always_means(dtype, base):
        known_dtypes[dtype] = found
    return found


def _always_means(dtype: Any, base: Any) -> bool:
    """Whether it can be kept: not what numpy makes a new dtype of, whose names may be set, nor an object with an attribute dtype."""
    numpy = numpy_or_say()
    if isinstance(dtype, numpy.dtype):
        return True
    scalars = (numpy.generic, bool, int, float, complex)
    return base.names is None and (dtype is None or type(dtype) is str or isinstance(dtype, type) and issubclass(dtype, scalars))


def _array_of_odd_size(payload: Any, base: Any) -> Any:
    if len(payload):
        raise ValueError(f"{len(payload)} bytes are not a number of {base}, of {base.itemsize} bytes each")
    array = numpy_or_say().empty(0, base)
    array.flags.writeable = False
    return array


def array_of_payload(payload: Any, dtype: Any = None, shape: Any = None) -> Any:
    """An array of a payload's memory: writable for loans, read-only else. array() comes here unless C can make it."""
    try:
        base, inner, _ = known_dtypes[dtype]
    except (KeyError, TypeError):
        base, inner, _ = _look_up(dtype)
    numpy = numpy_or_say()
    if isinstance(dtype, numpy.dtype) and not inner:
        base = dtype  # what is equal may still be another, as a numpy.record is
    try:
        array = numpy.frombuffer(memoryview(payload), base)  # which numpy before 1.22 keeps, but not its buffer
    except ValueError:  # says less than we can
        array = _array_of_odd_size(payload, base)
    if shape is not None:
        return array.reshape(shape)
    return array.reshape((-1, *inner)) if inner else array


__all__ = ["ArrayOf", "Type", "array_of"]
