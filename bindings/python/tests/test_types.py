# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Payload types, and what is refused."""

from __future__ import annotations

import array
import ast
import ctypes
import dataclasses
from pathlib import Path

import numpy
import pytest

import tarn_ipc
from tarn_ipc import _tarn


@dataclasses.dataclass
class Point:
    x: float
    y: float


@dataclasses.dataclass
class Pose:
    stamp: int
    place: Point
    turn: tarn_ipc.array_of("f4", 3)
    fixed: bool = False
    quality: numpy.uint16 = 3


IMAGE = numpy.dtype([("stamp", "f8"), ("pixels", "u1", (4, 6, 3))])


def exchange(made, *values):
    with tarn_ipc.Publisher("topic", type=made) as publisher, tarn_ipc.Subscriber("topic", type=made) as subscriber:
        for value in values:
            publisher.publish(value)
        return [message.value() for message in subscriber.iterate(timeout=0)]


def test_a_dataclass():
    pose = Pose(7, Point(1.5, -2), numpy.array([1, 2, 3], "f4"), True, 9)
    got, default = exchange(Pose, pose, Pose(1, Point(0, 0), [0, 0, 0]))
    assert (got.stamp, got.place, list(got.turn), got.fixed, got.quality) == (7, Point(1.5, -2), [1, 2, 3], True, 9)
    assert type(got.stamp) is int and type(got.fixed) is bool and got.turn.flags.writeable and default.quality == 3


def test_a_dataclass_lies_as_in_c():
    made = tarn_ipc.Type.of(Pose)
    assert (made.name, made.bytes) == ("Pose", 40)
    assert made.schema.decode().splitlines() == [
        "0 stamp <i8",
        "8 place.x <f8",
        "16 place.y <f8",
        "24 turn <f4[3]",
        "36 fixed |b1",
        "38 quality <u2",
    ]


def test_a_structured_dtype_without_a_copy():
    with tarn_ipc.Publisher("topic", type=IMAGE) as publisher, tarn_ipc.Subscriber("topic", type=IMAGE) as subscriber:
        with publisher.loan(IMAGE.itemsize) as loan:
            loan.value()["pixels"][1, 2] = (7, 8, 9)
            loan.value()["stamp"] = 1.5
        image = subscriber.receive(1).value()
        assert image.shape == () and image["stamp"] == 1.5 and list(image["pixels"][1, 2]) == [7, 8, 9]
        assert not image["pixels"].flags.owndata and not image["pixels"].flags.writeable


def test_numbers_and_arrays():
    assert exchange("f8", 2.5, numpy.float64(3), numpy.array(4.0)) == [2.5, 3, 4]
    matrix = numpy.arange(6, dtype="i4").reshape(2, 3)
    assert (exchange(numpy.dtype(("i4", (2, 3))), matrix, matrix.T.reshape(2, 3))[0] == matrix).all()
    pairs = tarn_ipc.Type.of(numpy.dtype("i4,i4"), many=True)
    assert [one.tolist() for one in exchange(pairs, [(1, 2), (3, 4)], (5, 6))] == [[(1, 2), (3, 4)], [(5, 6)]]
    with tarn_ipc.Publisher("topic", type=pairs) as publisher, pytest.raises(TypeError, match="a record is a tuple"):
        publisher.publish([(1, 2), 3])
    many = exchange(tarn_ipc.Type.of("f4", name="samples", many=True), numpy.arange(5, dtype="f4"), [1, 2])
    assert [list(a) for a in many] == [[0, 1, 2, 3, 4], [1, 2]]


def test_slices_are_sent_as_they_are_seen():
    many = tarn_ipc.Type.of("f4", many=True)
    assert list(exchange(many, numpy.arange(10, dtype="f4")[::3])[0]) == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (Pose, Point(1, 2)),
        (Pose, numpy.zeros(40, "u1")),
        (Pose, 5),
        (Pose, [5]),
        ("f8", numpy.zeros(1, "f4")),
        ("f8", numpy.zeros(2, "f8")),
        ("f8", "text"),
        ("f8", {"a": 1}),
        ("f8", [1, 2]),
        ("f8", object()),
        ("f8", b"seven b"),
        ("f8", b"more than eight"),
        (IMAGE, numpy.zeros((), [("stamp", "f4"), ("pixels", "u1", (4, 6, 3))])),
    ],
)
def test_wrong_values(made, value):
    made = tarn_ipc.Type.of(made)
    with tarn_ipc.Publisher("topic", type=made) as publisher, tarn_ipc.Subscriber("topic", type=made) as subscriber:
        try:
            publisher.publish(value)
        except (TypeError, ValueError) as error:
            assert str(error)
            assert subscriber.take() is None
        else:  # the library takes what is smaller than its type
            assert isinstance(value, bytes) and len(value) < made.bytes
            with pytest.raises(ValueError):
                subscriber.receive(1).value()


def test_without_a_type(publisher, subscriber):
    for wrong in ("text", 3, None, object(), [1, 2], numpy.zeros((4, 4))[:, 1]):
        with pytest.raises((TypeError, ValueError, BufferError)):
            publisher.publish(wrong)
    publisher.publish(b"x")
    with pytest.raises(TypeError, match=r"use array\(dtype\)"):
        subscriber.receive(1).value()


def test_types_that_cannot_be():
    @dataclasses.dataclass
    class Text:
        text: str

    for wrong in (object, "O", "V0", [("a", "O")]):
        with pytest.raises(TypeError):
            tarn_ipc.Type.of(wrong)
    for wrong in ({"bytes": -1}, {"bytes": 1 << 64}, {"alignment": -8}, {"alignment": 8192}):
        with pytest.raises(ValueError, match="cannot be"):
            tarn_ipc.Type("x", **wrong)
    with pytest.raises(TypeError, match="field 'text'.*no fixed size"):
        tarn_ipc.Type.of(Text)


def test_types_that_differ():
    with tarn_ipc.Publisher("topic", type="f8"):
        with pytest.raises(tarn_ipc.MismatchError, match="<f8.*<f4|<f4.*<f8") as caught:
            tarn_ipc.Subscriber("topic", type="f4")
        assert caught.value.status == tarn_ipc.Status.TYPE
        tarn_ipc.Subscriber("topic").close()
        with pytest.raises(tarn_ipc.MismatchError) as caught:
            tarn_ipc.Listener("topic")
        assert caught.value.status == tarn_ipc.Status.PATTERN


def test_types_of_requests():
    with tarn_ipc.Server("topic", request_type=Point, response_type="f8") as server:
        with tarn_ipc.Client("topic", request_type=Point, response_type="f8") as client:
            client.send(Point(3, 4))
            request = server.receive(1)
            point = request.value()
            request.reply((point.x**2 + point.y**2) ** 0.5)
            assert client.receive(1).value() == 5
            client.send(Point(3, 4))
            with pytest.raises(TypeError):
                server.receive(1).reply("wrong")


def test_types_of_values_and_jobs():
    with tarn_ipc.Writer("board", type=Point) as writer, tarn_ipc.Reader("board", type=Point) as reader:
        writer.set("a", Point(1, 2))
        assert reader.value_of("a").value() == Point(1, 2)
    with tarn_ipc.Producer("jobs", type=Point, linger_s=0) as producer, tarn_ipc.Worker("jobs", type=Point) as worker:
        producer.push(Point(1, 2))
        with worker.receive(1) as job:
            assert job.value() == Point(1, 2)


# ---- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"topic": ""},
        {"topic": "a//b"},
        {"topic": "with space"},
        {"topic": "x" * 256},
        {"domain": "a/b"},
        {"depth": -1},
        {"depth": 1 << 70},
        {"when_full": 17},
        {"when_full": 1 << 40},
        {"memory_limit_bytes": 5},
        {"alignment": 3},
        {"linger_s": -1},
        {"linger_s": float("nan")},
        {"directory": "/dev/null/folder"},
        {"type": tarn_ipc.Type("")},
        {"type": tarn_ipc.Type("x", alignment=3)},
        {"topic": "a\0b"},
    ],
)
def test_values_out_of_range(options):
    with pytest.raises((ValueError, tarn_ipc.Error)) as caught:
        tarn_ipc.Publisher(**{"topic": "topic", **options})
    assert len(str(caught.value)) > 10
    if isinstance(caught.value, tarn_ipc.Error):
        assert isinstance(caught.value.status, int) and caught.value.status < -1000


@pytest.mark.parametrize(
    "arguments",
    [
        lambda: tarn_ipc.Publisher(),
        lambda: tarn_ipc.Publisher(3),
        lambda: tarn_ipc.Publisher("topic", "more"),
        lambda: tarn_ipc.Publisher("topic", nonsense=1),
        lambda: tarn_ipc.Publisher("topic", depth="many"),
        lambda: tarn_ipc.Publisher("topic", depth=1.5),
        lambda: tarn_ipc.Publisher("topic", linger_s="long"),
        lambda: tarn_ipc.Publisher("topic", type=3),
        lambda: tarn_ipc.Listener("topic", ids=3),
        lambda: tarn_ipc.Listener("topic", ids=["a"]),
        lambda: tarn_ipc.Waitset("topic"),
    ],
)
def test_values_of_wrong_types(arguments):
    with pytest.raises(TypeError):
        arguments()


def test_timeouts(subscriber):
    for wrong in (-1, float("nan"), -0.001):
        with pytest.raises(ValueError, match="seconds"):
            subscriber.receive(wrong)
    for wrong in ("1", b"", [1]):
        with pytest.raises(TypeError):
            subscriber.receive(wrong)


def test_loans_out_of_range(publisher):
    for wrong in (-1, 1 << 70, 1 << 62):
        with pytest.raises((ValueError, OverflowError, tarn_ipc.Error)):
            publisher.loan(wrong)
    with pytest.raises(TypeError):
        publisher.loan("8")


def test_statuses_have_classes_and_are_the_headers():
    statuses = [status for status in tarn_ipc.Status]
    assert [int(status) for status in statuses] == list(range(-1001, -1027, -1))
    header = Path(__file__).parents[3] / "include" / "tarn.h"
    for status in statuses:
        assert f"TARN_ERROR_{status.name} = {int(status)}," in header.read_text()


def test_a_handle_that_was_not_opened():
    for name in ("Publisher", "Subscriber", "Client", "Server", "Listener", "Reader", "Worker", "Monitor", "Waitset"):
        made = getattr(_tarn, name)
        handle = made.__new__(made)
        for method in ("close", "take", "wait", "fileno", "interrupt", "receive", "_keys"):
            if hasattr(handle, method) and method != "close":
                with pytest.raises(ValueError, match="the handle is closed"):
                    getattr(handle, method)()
        assert handle.closed and handle.close() == 0


def test_the_stubs_name_what_is_there():
    stubs = ast.parse((Path(tarn_ipc.__file__).parent / "_tarn.pyi").read_text())
    classes = {node.name: node for node in stubs.body if isinstance(node, ast.ClassDef)}
    common = {"Handle": ["Handle"], "_Buffer": ["Message", "Request", "Job", "Loan"]}
    for name in [n for n in dir(_tarn) if isinstance(getattr(_tarn, n), type)]:
        said = names_of(classes[name]) - {"__init__", "__len__", "__buffer__"}
        there = {n for n in vars(getattr(_tarn, name)) if not n.startswith("__")}
        for base, having in common.items():
            if name in having and name != base:
                said |= names_of(classes[base]) - {"__len__", "__buffer__"}
        assert said == there, name


def names_of(node):
    return {n.name if isinstance(n, ast.FunctionDef) else n.target.id for n in node.body if isinstance(n, (ast.FunctionDef, ast.AnnAssign))}


def test_the_stubs_have_all_options():
    stubs = ast.parse((Path(tarn_ipc.__file__).parent / "_tarn.pyi").read_text())
    for node in stubs.body:
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    options = {argument.arg: None for argument in method.args.kwonlyargs}
                    made = getattr(tarn_ipc, node.name)
                    made(*([] if node.name == "Waitset" else [f"{node.name}"]), **options).close()


SAMPLES = tarn_ipc.Type.of("f4", name="samples", many=True)


@pytest.mark.parametrize("value", [array.array("d", [1.5, 2.5]), array.array("B", b"1234")])
def test_other_buffers_are_not_converted(value):
    with tarn_ipc.Publisher("samples", type=SAMPLES) as publisher:
        with pytest.raises(TypeError, match="array is no samples"):
            publisher.publish(value)


def test_messages_are_passed_on_as_they_are():
    with tarn_ipc.Publisher("samples", type=SAMPLES) as publisher, tarn_ipc.Subscriber("samples", type=SAMPLES) as subscriber:
        publisher.publish(numpy.array([1.5, 2.5], "f4"))
        message = subscriber.receive(1)
        publisher.publish(message)
        assert list(subscriber.receive(1).array()) == [1.5, 2.5]


def test_arrays_of_objects_are_refused(publisher, subscriber):
    objects = numpy.array([None, "x"], object)
    record = numpy.zeros(2, [("a", "i4"), ("b", object)])
    for wrong in (objects, record, memoryview(objects), ctypes.py_object(3)):
        with pytest.raises(TypeError, match="Python objects mean nothing to another process"):
            publisher.publish(wrong)
    for fine in (numpy.zeros(2, [("OO", "i4")]), numpy.array(["2020"], "M8[s]"), array.array("d", [1.0])):
        publisher.publish(fine)
        assert bytes(subscriber.receive(1)) == fine.tobytes()


def test_tuples_are_values_as_lists_are():
    for dtype, value in (("3f8", (1.0, 2.0, 3.0)), ([("x", "i8"), ("y", "f8")], (1, 2.5)), (("f8", (1,)), (4.0,))):
        with tarn_ipc.Publisher("tuples", type=dtype) as publisher, tarn_ipc.Subscriber("tuples", type=dtype) as subscriber:
            publisher.publish(value)
            assert tuple(subscriber.take().value().tolist()) == value
