# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Takes jobs from the work queue "jobs", one at a time, and says which. What it has when it dies, another gets."""

import tarn_ipc

with tarn_ipc.Worker("jobs") as worker:
    for job in worker:
        with job:  # acknowledged at the end; given back if an exception comes out
            print(f"{bytes(job).decode()}, attempt {job.attempts}", flush=True)
