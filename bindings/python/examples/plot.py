# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A frame of the topic "camera/front" and its brightness over time, drawn from where the camera wrote it, as a picture. In a
notebook, leave out matplotlib.use() and show the figure."""

import sys

import matplotlib
import numpy

import tarn_ipc

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

FRAME = numpy.dtype([("stamp", "f8"), ("pixels", "u1", (480, 640))])
count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
picture = sys.argv[2] if len(sys.argv) > 2 else "camera.png"

stamps, brightness = [], []
with tarn_ipc.Subscriber("camera/front", type=tarn_ipc.Type.of(FRAME, name="frame"), reliable=True) as subscriber:
    print("ready", flush=True)
    for message in subscriber:
        frame = message.value()  # no copy: valid as long as it, or a slice of it, is kept
        stamps.append(float(frame["stamp"]))
        brightness.append(frame["pixels"].mean())
        if len(stamps) == count:
            break

figure, (above, below) = plt.subplots(2, 1, figsize=(5, 6))
above.imshow(frame["pixels"], cmap="gray")
below.plot(numpy.array(stamps) - stamps[0], brightness)
below.set_xlabel("seconds")
below.set_ylabel("brightness")
figure.savefig(picture)
print(f"{count} frames, {picture}")
