# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Answers each request on the topic "upper" with its bytes in upper case."""

import tarn_ipc

with tarn_ipc.Server("upper") as server:
    for request in server:
        try:
            request.reply(bytes(request).upper())
        except tarn_ipc.PeerError as error:  # its client has died; others have not
            print(error)
