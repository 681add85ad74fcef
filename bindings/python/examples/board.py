# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Prints the key "speed" of the blackboard "robot", and each change of it, whoever sets it."""

import tarn_ipc

with tarn_ipc.Reader("robot", keys=["speed"]) as reader:
    for key, value in reader:
        print(key, bytes(value).decode(), flush=True)
