# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Samples of the topic "samples", any number in a message, as a pandas table: one copy, when they are put together."""

import dataclasses
import sys

import numpy
import pandas

import tarn_ipc


@dataclasses.dataclass
class Sample:
    seconds: float
    sensor: int
    celsius: float


MANY = tarn_ipc.Type.of(Sample, many=True)
wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1000

parts, count = [], 0
with tarn_ipc.Subscriber("samples", type=MANY, reliable=True) as subscriber:
    print("ready", flush=True)
    for message in subscriber:
        parts.append(message.array())
        count += len(parts[-1])
        if count >= wanted:
            break

table = pandas.DataFrame(numpy.concatenate(parts))
print(table.groupby("sensor")["celsius"].agg(["count", "mean"]).round(2).to_string())
