/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The yardstick that everybody has: a message there and one back over two pipes of 1 MiB. The sender fills its buffer
 * and writes it, the receiver reads all of it into a buffer and checks it: the same touching as with BENCH_TOUCH_FULL.
 * With spin, a reader or writer who finds the pipe empty or full tries again at once instead of sleeping in the call.
 */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LAST_ROUND UINT64_MAX /* the first word of the message that ends a run */

struct pipe_run {
    size_t bytes;
    bool spin;
};

static struct {
    unsigned char *out, *in;
    size_t bytes;
    uint64_t rounds;
} side;

static void prepare(size_t bytes) {
    if (bytes > side.bytes) {
        free(side.out);
        free(side.in);
        side.out = malloc(bytes);
        side.in = malloc(bytes);
        side.bytes = bytes;
        if (side.out == NULL || side.in == NULL) {
            bench_fail("no memory for %zu bytes", bytes);
        }
        memset(side.out, 1, bytes);
        memset(side.in, 1, bytes);
    }
}

static void set_blocking(int fd, bool blocking) {
    fcntl(fd, F_SETFL, blocking ? 0 : O_NONBLOCK);
}

static void write_all(int fd, const unsigned char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t written = write(fd, data, bytes);
        if (written > 0) {
            data += written;
            bytes -= (size_t)written;
        } else if (errno != EAGAIN && errno != EINTR) {
            bench_fail("cannot write to a pipe: %s", strerror(errno));
        }
    }
}

static void read_all(int fd, unsigned char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t got = read(fd, data, bytes);
        if (got > 0) {
            data += got;
            bytes -= (size_t)got;
        } else if (got == 0) {
            bench_fail("the pipe's other end is gone");
        } else if (errno != EAGAIN && errno != EINTR) {
            bench_fail("cannot read from a pipe: %s", strerror(errno));
        }
    }
}

static void send_one(int fd, size_t bytes, uint64_t seed) {
    bench_payload_write(side.out, bytes, BENCH_TOUCH_FULL, seed);
    write_all(fd, side.out, bytes);
}

static void receive_one(int fd, size_t bytes, uint64_t seed) {
    read_all(fd, side.in, bytes);
    if (!bench_payload_check(side.in, bytes, BENCH_TOUCH_FULL, seed)) {
        bench_fail("a pipe delivered other bytes than were sent");
    }
}

static void answer_there(struct bench_pair *pair, void *arguments) {
    struct pipe_run run;
    memcpy(&run, arguments, sizeof(run));
    prepare(run.bytes);
    int in = pair->pipe_there[0], out = pair->pipe_here[1];
    set_blocking(in, !run.spin);
    set_blocking(out, !run.spin);
    for (;;) {
        read_all(in, side.in, run.bytes);
        uint64_t word;
        memcpy(&word, side.in, sizeof(word));
        if (word == LAST_ROUND) {
            return;
        }
        if (!bench_payload_check(side.in, run.bytes, BENCH_TOUCH_FULL, side.rounds)) {
            bench_fail("a pipe delivered other bytes than were sent");
        }
        send_one(out, run.bytes, side.rounds++);
    }
}

void bench_pipe_run(struct bench_pair *pair, size_t bytes, bool spin, uint64_t count, int64_t duration_ns,
                    struct bench_samples *samples) {
    if (bytes < sizeof(uint64_t)) {
        bench_fail("messages through a pipe are at least 8 bytes here");
    }
    struct pipe_run run = {.bytes = bytes, .spin = spin};
    prepare(bytes);
    bench_pair_begin(pair, answer_there, &run, sizeof(run));
    int out = pair->pipe_there[1], in = pair->pipe_here[0];
    set_blocking(out, !spin);
    set_blocking(in, !spin);
    uint64_t start = bench_ticks(), last = start;
    uint64_t limit = duration_ns > 0 ? (uint64_t)((double)duration_ns / bench_ns_per_tick()) : UINT64_MAX;
    for (uint64_t round = 0; round < count && last - start < limit; round++) {
        send_one(out, bytes, side.rounds);
        receive_one(in, bytes, side.rounds++);
        uint64_t now = bench_ticks();
        bench_samples_add(samples, now - last);
        last = now;
    }
    send_one(out, bytes, LAST_ROUND);
    bench_pair_finish(pair, NULL, 0);
}
