# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Sends one message on the topic "hello"."""

import tarn_ipc

with tarn_ipc.Publisher("hello") as publisher:
    publisher.publish(b"Hello, world")
