/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What reading a blackboard costs: a value that stays, one that another process sets all the time, and, beside them, a
 * plain memcpy of as many bytes; what setting costs.
 *
 *     bench_board [MILLISECONDS]     how long each is measured (300). Prints nanoseconds, the median of
 *                                    the means of 500 calls (large values: 20)
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "tarn.h"

enum { BATCHES_MAX = 100000, LARGE = 1 << 20 };

static char buffer[LARGE], value[LARGE];
static tarn_reader *reader;
static tarn_writer *writer;
static int key;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static _Noreturn void fail(void) {
    fprintf(stderr, "bench_board: %s\n", tarn_error());
    exit(1);
}

static void copy_plainly(size_t bytes) {
    memcpy(buffer, value, bytes);
    atomic_signal_fence(memory_order_seq_cst);
}

static void get(size_t bytes) {
    if (tarn_reader_get(reader, key, buffer, bytes, NULL) != 1)
        fail();
}

static void take(size_t bytes) {
    tarn_message message;
    (void)bytes;
    if (tarn_reader_take(reader, key, &message) != 1 || tarn_message_release(&message) != 0)
        fail();
}

static void set(size_t bytes) {
    if (tarn_writer_set(writer, key, value, bytes) != 1)
        fail();
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(void (*call)(size_t bytes), size_t bytes, int64_t ms) {
    static double means[BATCHES_MAX];
    int batches = 0, calls = bytes > 10000 ? 20 : 500;
    for (int64_t start = now_ns(), end = start + ms * 1000000; start < end && batches < BATCHES_MAX;) {
        for (int i = 0; i < calls; i++)
            call(bytes);
        int64_t now = now_ns();
        means[batches++] = (double)(now - start) / calls;
        start = now;
    }
    qsort(means, (size_t)batches, sizeof(means[0]), compare);
    return means[batches / 2];
}

/* Another process that sets the key all the time. */
static pid_t start_writer(const char *name, size_t bytes, int64_t pause_ns) {
    pid_t pid = fork();
    if (pid)
        return pid;
    if (tarn_writer_open(&writer, "bench/board", NULL) < 0 || (key = tarn_writer_key(writer, name)) < 0)
        fail();
    for (;;) {
        set(bytes);
        for (int64_t end = now_ns() + pause_ns; now_ns() < end;) {
        }
    }
}

static void measure_changing(const char *name, size_t bytes, int64_t pause_ns, int64_t ms) {
    pid_t pid = start_writer(name, bytes, pause_ns);
    key = tarn_reader_key(reader, name);
    if (key < 0 || tarn_reader_wait_key(reader, key, 0, 1000000000) != 1)
        fail();
    printf("  get %7zu B, set by another process, %4lld ns between sets  %8.1f ns\n", bytes, (long long)pause_ns,
           measure(get, bytes, ms));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv) {
    int64_t ms = argc > 1 ? atoll(argv[1]) : 300;
    bench_place_open();
    if (tarn_reader_open(&reader, "bench/board", NULL) < 0)
        fail();
    static const size_t sizes[] = {8, 64, 1024, 65536, LARGE};
    measure_changing("a", 64, 0, ms);
    measure_changing("b", 64, 1000, ms);
    measure_changing("c", 100000, 0, ms);
    if (tarn_writer_open(&writer, "bench/board", NULL) < 0 || (key = tarn_writer_key(writer, "same")) < 0 ||
        tarn_reader_key(reader, "same") < 0)
        fail();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t bytes = sizes[i];
        double setting = measure(set, bytes, ms);
        printf("  %7zu B: get %8.1f ns, memcpy %8.1f ns, take and release %6.1f ns, set %8.1f ns\n", bytes,
               measure(get, bytes, ms), measure(copy_plainly, bytes, ms), measure(take, bytes, ms), setting);
    }
    tarn_writer_close(writer);
    tarn_reader_close(reader);
    return 0;
}
