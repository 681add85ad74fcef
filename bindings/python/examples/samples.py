# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Sends samples of four sensors on the topic "samples", a hundred at a time."""

import sys

import numpy

import tarn_ipc

SAMPLE = numpy.dtype([("seconds", "f8"), ("sensor", "i8"), ("celsius", "f8")])
count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000

samples = numpy.zeros(100, SAMPLE)
with tarn_ipc.Publisher("samples", type=tarn_ipc.Type.of(SAMPLE, name="Sample", many=True)) as publisher:
    for first in range(0, count, 100):
        samples["seconds"] = first / 100 + numpy.arange(100) / 100
        samples["sensor"] = numpy.arange(100) % 4
        samples["celsius"] = 20 + samples["sensor"] + numpy.sin(2 * numpy.pi * samples["seconds"]) / 2
        publisher.publish(samples)
