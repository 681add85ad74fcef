/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A worker: takes jobs from the work queue "jobs", one at a time, and says which. What it has when it dies, another gets. */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    tarn_worker *worker;
    tarn_job job;
    int got = tarn_worker_open(&worker, "jobs", NULL);
    while (got >= 0 && (got = tarn_worker_receive(worker, &job, TARN_FOREVER)) == 1) {
        printf("%.*s, attempt %u\n", (int)job.bytes, (const char *)job.data, job.attempts);
        fflush(stdout);
        got = job.bytes ? tarn_job_acknowledge(&job) : tarn_job_reject(&job);
    }
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}
