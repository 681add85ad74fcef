# SPDX-License-Identifier: Apache-2.0 OR MIT
"""One asyncio loop for messages, events, requests and a timer: what a waitset is for where there is no loop. Ends after the
event 0 of the topic "doors"."""

import asyncio

import tarn_ipc


async def print_messages(subscriber):
    async for message in subscriber:
        print("message:", bytes(message).decode(), flush=True)


async def answer(server):
    async for request in server:
        request.reply(bytes(request).upper())


async def print_doors(listener):
    async for event in listener:
        print(f"door {event.id}: {event.count}", flush=True)
        if event.id == 0:
            return


async def tick():
    while True:
        await asyncio.sleep(1)
        print("another second", flush=True)


async def main():
    with tarn_ipc.Subscriber("hello") as hello, tarn_ipc.Server("upper") as upper, tarn_ipc.Listener("doors") as doors:
        others = [asyncio.create_task(task) for task in (print_messages(hello), answer(upper), tick())]
        await print_doors(doors)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


asyncio.run(main())
