# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Prints what is sent on the topic "hello"."""

import tarn_ipc

with tarn_ipc.Subscriber("hello") as subscriber:
    for message in subscriber:
        print(bytes(message).decode(), flush=True)
