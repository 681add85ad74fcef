# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A view is valid as long as it lives, and what it is of does not end before. Nothing is written after it was sent."""

import ctypes
import gc
import os
import pickle
import sys
import threading
import unittest.mock

import numpy
import pytest

import tarn_ipc


@pytest.fixture
def message(publisher, subscriber):
    publisher.publish(numpy.arange(100, dtype="i4"))
    return subscriber.receive(1)


def test_a_view_is_not_a_copy(publisher, subscriber):
    loan = publisher.loan(4096)
    where = loan.array().__array_interface__["data"][0]
    ctypes.memset(where, 7, 4096)
    loan.send()
    assert set(subscriber.receive(1).array()) == {7}


def test_messages_are_read_only(message):
    array = message.array("i4")
    assert (array == numpy.arange(100)).all() and not array.flags.writeable and not array.flags.owndata
    with pytest.raises(ValueError):
        array[0] = 1
    with pytest.raises(ValueError):
        array.flags.writeable = True
    with pytest.raises(TypeError):
        memoryview(message)[0] = 1
    with pytest.raises(TypeError, match="not writable"):
        (ctypes.c_char * 4).from_buffer(message)
    assert memoryview(message).readonly


@pytest.mark.parametrize(
    "view",
    [
        memoryview,
        lambda m: memoryview(m)[3:7],
        lambda m: m.array(),
        lambda m: m.array("i4")[::2],
        lambda m: numpy.asarray(m),
        lambda m: numpy.frombuffer(m, "i2"),
        lambda m: m.array("i4").reshape(10, 10).T,
        lambda m: [m.array()],
        lambda m: iter(memoryview(m)),
    ],
)
def test_what_has_views_cannot_be_released(message, view):
    made = view(message)
    with pytest.raises(BufferError, match="message cannot be released: an array or memoryview"):
        message.release()
    assert len(message) == 400
    del made
    message.release()
    message.release()
    assert message.over
    for use in (memoryview, bytes, len, lambda m: m.array(), numpy.asarray, numpy.frombuffer):
        with pytest.raises(tarn_ipc.ReleasedError) as caught:
            use(message)
        assert "released" in str(caught.value) and caught.value.status == tarn_ipc.Status.RELEASED


def test_a_view_keeps_the_message(publisher):
    with tarn_ipc.Subscriber("topic", max_held=1) as subscriber:
        for _ in range(3):
            publisher.publish(b"abc")
        view = subscriber.receive(1).array()
        with pytest.raises(tarn_ipc.FullError, match="release"):
            subscriber.take()
        assert bytes(view) == b"abc"
        del view
        assert bytes(subscriber.take()) == b"abc"


def test_numpys_way_that_does_not_say_when_it_is_done(message, publisher):
    loan = publisher.loan(8)
    for payload in (message, loan):
        with pytest.raises(BufferError, match=r"use its array\(\)"):
            numpy.ndarray((8,), "u1", buffer=payload)
    loan.drop()


def test_a_loan_with_views_cannot_be_sent(publisher, subscriber):
    loan = publisher.loan(8)
    array = loan.array("i8")
    array[0] = 5
    for end in (loan.send, loan.drop):
        with pytest.raises(BufferError, match="loan cannot be"):
            end()
    with pytest.raises(BufferError, match="publisher cannot be closed"):
        publisher.close()
    assert subscriber.take() is None
    del array
    loan.send()
    assert subscriber.take().array("i8")[0] == 5
    for use in (memoryview, len, lambda lent: lent.array(), lambda lent: lent.send(), lambda lent: lent.drop()):
        with pytest.raises(tarn_ipc.ReleasedError, match="sent or dropped before"):
            use(loan)


def test_what_ends_with_its_handle_says_so():
    publisher = tarn_ipc.Publisher("topic")
    loan = publisher.loan(8)
    publisher.close()
    for use in (memoryview, len, lambda lent: lent.array(), lambda lent: lent.send(), lambda lent: lent.drop()):
        with pytest.raises(tarn_ipc.ClosedError):
            use(loan)


def test_a_loan_keeps_its_publisher():
    loan = tarn_ipc.Publisher("topic").loan(8)
    gc.collect()
    loan.array()[:] = 1
    with pytest.warns(ResourceWarning):
        del loan


def test_empty(publisher, subscriber):
    publisher.publish(b"")
    message = subscriber.receive(1)
    assert bytes(message) == b"" and len(message.array("f8")) == 0 and len(memoryview(message)) == 0


def test_wrong_sizes_and_dtypes(message):
    with pytest.raises(ValueError, match="400 bytes are not a number of .* of 7 bytes"):
        message.array(numpy.dtype([("a", "i4"), ("b", "S3")]))
    with pytest.raises(ValueError, match="reshape"):
        message.array("i4", shape=(7, 7))
    with pytest.raises(TypeError, match="Python objects"):
        message.array(object)
    with pytest.raises(TypeError):
        message.array("no such type")
    assert message.array(numpy.dtype(("i4", (10, 5)))).shape == (2, 10, 5)


def test_released_on_another_thread(publisher, subscriber):
    publisher.publish(b"abc")
    held = [subscriber.receive(1).array()]

    def drop():
        assert bytes(held.pop()) == b"abc"
        gc.collect()

    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert not held


def test_not_to_be_pickled_or_made(message):
    with pytest.raises(TypeError):
        pickle.dumps(message)
    with pytest.raises(TypeError, match="come from handles"):
        len(tarn_ipc.Message())
    with pytest.raises(TypeError, match="come from handles"):
        tarn_ipc.Message().release()
    with pytest.raises(TypeError, match="come from handles"):
        tarn_ipc.Request().reply(b"")
    with pytest.raises(TypeError, match="come from handles"):
        tarn_ipc.Loan().send()
    assert repr(message) == "<Message of 400 bytes>" and "over" in repr(tarn_ipc.Job())


def test_with_a_message(publisher, subscriber):
    publisher.publish(b"abc")
    with subscriber.receive(1) as message:
        assert bytes(message) == b"abc"
    assert message.over


@pytest.mark.skipif(sys.version_info < (3, 11), reason="of the stable ABI since 3.11")
def test_the_layout_of_py_buffer_is_the_interpreters(message):
    view = memoryview(message)
    assert (view.nbytes, view.itemsize, view.format, view.ndim, view.shape, view.strides) == (400, 1, "B", 1, (400,), (1,))


@pytest.mark.parametrize("answer", [lambda r: r.stream(b"x"), lambda r: r.loan(8), lambda r: r.loan(8, last=False)])
def test_an_abandoned_request_does_not_end_under_a_view(answer):
    with tarn_ipc.Server("topic") as server, tarn_ipc.Client("topic") as client:
        number = client.send(b"A" * 1000)
        request = server.receive(1)
        view = memoryview(request)
        client.abandon(number)
        assert request.abandoned()
        with pytest.raises(BufferError, match="request cannot be answered: an array or memoryview"):
            answer(request)
        assert not request.over and set(view) == {ord("A")}
        del view
        assert answer(request) in (False, None) and request.over


def test_an_answers_loan_does_not_end_its_request_under_a_view():
    with tarn_ipc.Server("topic") as server, tarn_ipc.Client("topic") as client:
        number = client.send(b"A" * 1000)
        request = server.receive(1)
        loan = request.loan(8, last=False)
        view = memoryview(request)
        client.abandon(number)
        assert request.abandoned()
        with pytest.raises(BufferError, match="request cannot be answered"):
            loan.send()
        assert not loan.over and not request.over
        del view
        assert loan.send() is False and request.over


def test_arrays_are_as_numpy_makes_them(publisher, subscriber):
    packed = numpy.dtype([("a", "u1"), ("b", "f8"), ("c", "S3")])
    shifted = numpy.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 12})
    for dtype in ("u1", "f8", ">i4", "S5", "U1", "M8[s]", "c16", "g", numpy.uint16, bool, float, packed, shifted):
        bytes_in_all = 60 * numpy.dtype(dtype).itemsize
        publisher.publish(os.urandom(bytes_in_all))
        for payload in (subscriber.take(), publisher.loan(bytes_in_all)):
            for _ in range(2):  # looked up, and known
                array, other = payload.array(dtype), numpy.frombuffer(payload, dtype)
                assert type(array) is numpy.ndarray and array.dtype is other.dtype or array.dtype == other.dtype
                assert array.__array_interface__ == other.__array_interface__ and str(array.flags) == str(other.flags)
                assert array.tobytes() == other.tobytes() and not payload.has_no_views
                del array, other
            assert payload.has_no_views
    for dtype in ("S", "V0"):
        publisher.publish(b"12345678")
        message = subscriber.take()
        for _ in range(2):
            with pytest.raises(ValueError):
                message.array(dtype)
        assert message.has_no_views


def test_a_dtype_is_the_one_that_was_asked_for(publisher, subscriber):
    publisher.publish(b"12345678")
    message = subscriber.take()
    plain, record = numpy.dtype([("a", "f4")]), numpy.dtype((numpy.record, [("a", "f4")]))
    told = numpy.dtype("f4", metadata={"unit": "m"})
    for _ in range(2):
        assert message.array(plain).dtype is plain and message.array(record)[0].a == message.array(plain)["a"][0]
        assert message.array("f4").dtype.metadata is None and message.array(told).dtype.metadata == {"unit": "m"}
        assert message.array(record, (2,)).dtype is record
    message.array("u1,u1").dtype.names = ("x", "y")
    assert message.array("u1,u1").dtype.names == ("f0", "f1")
    assert message.array(numpy.float64(1)).dtype == "f8" and message.array(numpy.int32(1)).dtype == "i4"
    changes = unittest.mock.Mock(dtype=numpy.dtype("f4"))
    assert message.array(changes).dtype == "f4"
    changes.dtype = numpy.dtype("u1")
    assert message.array(changes).dtype == "u1"


def test_a_loans_array_may_be_made_writable_again(publisher, subscriber):
    with publisher.loan(8) as loan:
        array = loan.array()
        array.flags.writeable = False
        array.flags.writeable = True
        array[:] = 7
        assert loan.array().base is not None and memoryview(array.base) == array.tobytes()
        del array
        assert loan.has_no_views
    message = subscriber.take()
    array = message.array()
    with pytest.raises(ValueError):
        array.flags.writeable = True
    with pytest.raises(BufferError):
        numpy.ndarray(8, "u1", buffer=array.base)
    assert memoryview(array.base).readonly
    with pytest.raises(TypeError):
        memoryview(tarn_ipc._tarn.View())


def test_arrays_when_numpy_is_not_to_be_found_any_more(message, monkeypatch):
    assert message.array("u1").sum() == message.array("u1", (2, -1)).sum()
    monkeypatch.setitem(sys.modules, "numpy", None)
    for arguments in (("u1", (2, -1)), ("f2",)):
        with pytest.raises(ImportError, match="arrays need numpy"):
            message.array(*arguments)


def test_an_array_keeps_its_message_and_nothing_more(publisher, subscriber):
    publisher.publish(b"12345678")
    message = subscriber.take()
    array, of_array = message.array("u1"), message.array("u8")
    part = array[2:4]
    before = sys.getrefcount(message)
    del array, of_array
    assert sys.getrefcount(message) == before - 1 and not message.has_no_views  # part has the other
    with pytest.raises(BufferError):
        message.release()
    assert bytes(part) == b"34"
    del part
    message.release()
    for dtype in ("u1", "u8", None):
        with pytest.raises(tarn_ipc.ReleasedError):
            message.array(dtype)
