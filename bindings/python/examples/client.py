# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Has its argument answered; by another server, if the one that was asked dies."""

import sys

import tarn_ipc

text = sys.argv[1] if len(sys.argv) > 1 else "hello"
with tarn_ipc.Client("upper") as client:
    while True:
        try:
            answer = client.call(text.encode(), timeout=10)
            break
        except tarn_ipc.PeerError as error:
            if error.status != tarn_ipc.Status.PEER_DIED:
                raise
    print(bytes(answer).decode())
