# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A camera, as far as the topic "camera/front" knows: so many frames of a moving spot, each written where it will be read."""

import sys
import time

import numpy

import tarn_ipc

FRAME = numpy.dtype([("stamp", "f8"), ("pixels", "u1", (480, 640))])

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 300
rows, columns = numpy.ogrid[:480, :640]

with tarn_ipc.Publisher("camera/front", type=tarn_ipc.Type.of(FRAME, name="frame")) as publisher:
    for i in range(frames):
        with publisher.loan(FRAME.itemsize) as loan:
            frame = loan.value()
            frame["stamp"] = time.monotonic()
            frame["pixels"] = 255 * numpy.exp(-((rows - 240) ** 2 + (columns - 20 - 8 * i % 640) ** 2) / 2000)
            del frame  # a loan whose array is in use cannot be sent
        time.sleep(0.03)
