/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A producer: puts its arguments into the work queue "jobs", and waits until all of them are done. */
#include <stdio.h>
#include <string.h>
#include <tarn.h>

int main(int argc, char **argv) {
    tarn_producer *producer;
    int done = tarn_producer_open(&producer, "jobs", NULL);
    for (int i = 1; i < argc && done >= 0; i++)
        done = tarn_producer_push(producer, argv[i], strlen(argv[i]));
    if (done >= 0)
        done = tarn_producer_flush(producer, TARN_FOREVER);
    if (done < 0) {
        fprintf(stderr, "%s\n", tarn_error());
        return 1;
    }
    printf("%llu rejected\n", (unsigned long long)tarn_producer_rejected(producer));
    return tarn_producer_close(producer) != 0;
}
