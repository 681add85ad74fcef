# SPDX-License-Identifier: Apache-2.0 OR MIT
"""asyncio's own loop: iteration, cancelling, fairness, and many callers of one client."""

import asyncio
import threading

import pytest

import tarn_ipc


def test_async_for(publisher, subscriber):
    async def main():
        got = []
        asyncio.get_running_loop().call_later(0.05, publisher.publish, b"later")
        publisher.publish(b"now")
        async for message in subscriber:
            got.append(bytes(message))
            if len(got) == 2:
                break
        return got

    assert asyncio.run(main()) == [b"now", b"later"]
    assert threading.active_count() == 1


def test_cancelling_loses_nothing(publisher, subscriber):
    async def main():
        for i in range(50):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(subscriber.receive_async(), 0.001)
            publisher.publish(b"%d" % i)
            assert bytes(await asyncio.wait_for(subscriber.receive_async(), 5)) == b"%d" % i

    asyncio.run(main())


def test_calls_one_after_the_other():
    async def main():
        with tarn_ipc.Server("topic") as server, tarn_ipc.Client("topic") as client:

            async def serve():
                async for request in server:
                    request.reply(bytes(request))

            serving = asyncio.create_task(serve())
            for i in range(5):
                assert bytes(await asyncio.wait_for(client.call_async(b"%d" % i), 5)) == b"%d" % i
            serving.cancel()
            await asyncio.wait([serving])

    asyncio.run(main())


def test_cancelled_by_chance(publisher, subscriber):
    async def main():
        got, sent = [], 0

        async def read():
            async for message in subscriber:
                got.append(int(bytes(message)))

        for _ in range(100):
            task = asyncio.create_task(read())
            publisher.publish(b"%d" % sent)
            sent += 1
            for _ in range(sent % 4):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        got += [int(bytes(m)) for m in subscriber.iterate(timeout=0)]
        assert got == list(range(sent))

    asyncio.run(main())


def test_a_busy_topic_leaves_other_tasks_their_turn(publisher, subscriber):
    async def main():
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        count = 0
        publisher.publish(b"")
        async for _ in subscriber:
            publisher.publish(b"")
            count += 1
            if count == 2000:
                break
        task.cancel()
        return turns

    assert asyncio.run(main()) >= 20


def test_one_task_waits_at_a_time(subscriber):
    async def main():
        first = asyncio.create_task(subscriber.receive_async())
        await asyncio.sleep(0.01)
        with pytest.raises(tarn_ipc.ThreadError, match="another task waits for this subscriber"):
            await subscriber.receive_async()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(main())


def test_all_that_can_be_awaited():
    async def main():
        with tarn_ipc.Listener("events") as listener, tarn_ipc.Notifier("events") as notifier:
            asyncio.get_running_loop().call_later(0.02, notifier.notify, 5)
            assert (await listener.receive_async()).id == 5
        with tarn_ipc.Writer("board") as writer, tarn_ipc.Reader("board", keys=["k"]) as reader:
            asyncio.get_running_loop().call_later(0.02, writer.set, "k", b"v")
            key, value = await reader.receive_async()
            assert (key, bytes(value)) == ("k", b"v")
        with tarn_ipc.Producer("jobs", linger_s=0) as producer, tarn_ipc.Worker("jobs") as worker:
            asyncio.get_running_loop().call_later(0.02, producer.push, b"j")
            async for job in worker:
                job.acknowledge()
                break
        with tarn_ipc.Monitor("watched") as monitor:
            waiting = asyncio.create_task(monitor.receive_async())
            await asyncio.sleep(0.02)
            with tarn_ipc.Publisher("watched"):
                assert (await waiting).role == tarn_ipc.Role.PUBLISHER
        with tarn_ipc.Waitset() as waitset, tarn_ipc.Listener("events") as listener, tarn_ipc.Notifier("events") as notifier:
            waitset.add(listener, "tag")
            asyncio.get_running_loop().call_later(0.02, notifier.notify, 5)
            assert [ready.tag for ready in await waitset.wait_async()] == ["tag"]

    asyncio.run(main())


def test_a_task_gets_what_a_call_has_set_aside():
    async def run():
        with tarn_ipc.Server("topic", linger_s=0) as server, tarn_ipc.Client("topic") as client:
            number = client.send(b"1")
            waiting = asyncio.create_task(client.receive_async())
            await asyncio.sleep(0.05)
            server.receive(5).reply(b"")
            with pytest.raises(TimeoutError):
                client.call(b"2", 0.3)  # its wait, which is in vain, makes the descriptor quiet
            assert (await asyncio.wait_for(waiting, 5)).request == number

    asyncio.run(run())


def test_many_calls_at_a_time():
    async def serve(server):
        waiting = []
        async for request in server:
            waiting.append(request)
            if len(waiting) == 10:
                for request in reversed(waiting):
                    request.reply(bytes(request) * 2)
                waiting.clear()

    async def main():
        with tarn_ipc.Server("topic") as server, tarn_ipc.Client("topic") as client:
            serving = asyncio.create_task(serve(server))
            for _ in range(3):
                answers = await asyncio.gather(*(client.call_async(b"%d" % i) for i in range(10)))
                assert [bytes(a) for a in answers] == [b"%d" % i * 2 for i in range(10)]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.call_async(b"alone"), 0.05)
            assert client.pending() == 0
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            serving = request = None

    asyncio.run(main())


def test_a_server_that_leaves_ends_its_calls_only():
    async def main():
        with tarn_ipc.Client("topic") as client:
            server = tarn_ipc.Server("topic", linger_s=0)
            lost = asyncio.create_task(client.call_async(b"x"))
            await asyncio.sleep(0.01)
            server.close()
            with pytest.raises(tarn_ipc.PeerError):
                await lost

    asyncio.run(main())


def test_closing_ends_a_wait(subscriber):
    async def main():
        with tarn_ipc.Waitset() as waitset, tarn_ipc.Listener("idle") as idle:
            waitset.add(idle)
            tasks = [asyncio.create_task(subscriber.receive_async()), asyncio.create_task(waitset.wait_async())]
            await asyncio.sleep(0.01)
            subscriber.close()
            waitset.close()
        for task in tasks:
            with pytest.raises(tarn_ipc.ClosedError):
                await asyncio.wait_for(task, 5)

    asyncio.run(main())


def test_the_rest_of_a_called_stream_is_given_up():
    async def main():
        with tarn_ipc.Server("topic") as server, tarn_ipc.Client("topic", max_pending=2) as client:
            for _ in range(5):
                calling = asyncio.create_task(client.call_async(b"x"))
                request = await server.receive_async()
                request.stream(b"0")
                assert bytes(await asyncio.wait_for(calling, 5)) == b"0"
                assert client.pending() == 0

    asyncio.run(main())
