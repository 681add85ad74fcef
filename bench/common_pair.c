/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Two processes pinned to two CPUs. The one that starts the pair tells the other, its partner, what to run: a function
 * (the same address in both, as one was forked from the other) and a few bytes of arguments, in memory that they share.
 * Floors and messages are so measured by the same two processes, in turns, milliseconds apart.
 *
 * commands and done are on lines of their own: the starter raises commands when task and arguments are written, the
 * partner raises done when its results are. The partner dies with its starter, and the starter notices its death.
 */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct bench_pair_shared {
    _Alignas(128) _Atomic uint64_t commands;
    bench_task *task; /* NULL: end */
    _Alignas(128) unsigned char arguments[BENCH_ARGUMENT_BYTES];
    _Alignas(128) _Atomic uint64_t done;
};

static struct bench_pair *started; /* for the exit handler */

static void kill_partner(void) {
    if (started != NULL && !started->is_partner && started->partner > 0) {
        kill(started->partner, SIGKILL);
        waitpid(started->partner, NULL, 0);
        started->partner = 0;
    }
}

static void *map_shared(size_t bytes, int flags) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags, -1, 0);
    if (memory == MAP_FAILED) {
        bench_fail("cannot map %zu bytes: %s", bytes, strerror(errno));
    }
    return memory;
}

static _Noreturn void serve(struct bench_pair *pair) {
    struct bench_pair_shared *shared = pair->shared;
    for (uint64_t next = 1;; next++) {
        while (atomic_load_explicit(&shared->commands, memory_order_acquire) != next) {
            bench_relax();
        }
        if (shared->task == NULL) {
            exit(0);
        }
        shared->task(pair, shared->arguments);
        fflush(stdout);
        atomic_store_explicit(&shared->done, next, memory_order_release);
    }
}

static void make_pipes(struct bench_pair *pair) {
    if (pipe2(pair->pipe_there, O_CLOEXEC) != 0 || pipe2(pair->pipe_here, O_CLOEXEC) != 0) {
        bench_fail("cannot make a pipe: %s", strerror(errno));
    }
    fcntl(pair->pipe_there[1], F_SETPIPE_SZ, 1 << 20); /* refused where the user has too many: then it is smaller */
    fcntl(pair->pipe_here[1], F_SETPIPE_SZ, 1 << 20);
}

/* For seeing that the partner is there. */
static void do_nothing(struct bench_pair *pair, void *arguments) {
    (void)pair, (void)arguments;
}

void bench_pair_start(struct bench_pair *pair, struct bench_cpus cpus) {
    *pair = (struct bench_pair){.cpus = cpus};
    pair->shared = map_shared(sizeof(*pair->shared), MAP_POPULATE);
    pair->ring_there = map_shared(BENCH_RING_BYTES, MAP_POPULATE);
    pair->ring_here = map_shared(BENCH_RING_BYTES, MAP_POPULATE);
    pair->bulk_there = map_shared(BENCH_BULK_BYTES, MAP_NORESERVE);
    pair->bulk_here = map_shared(BENCH_BULK_BYTES, MAP_NORESERVE);
    make_pipes(pair);
    bench_ns_per_tick();
    bench_tick_step();
    fflush(stdout);
    pid_t starter = getpid();
    pair->partner = fork();
    if (pair->partner < 0) {
        bench_fail("cannot fork: %s", strerror(errno));
    }
    if (pair->partner == 0) {
        pair->is_partner = true;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != starter) {
            _exit(1);
        }
        bench_pin(cpus.there);
        serve(pair);
    }
    started = pair;
    atexit(kill_partner);
    bench_pin(cpus.here);
    bench_pair_begin(pair, do_nothing, NULL, 0);
    bench_pair_finish(pair, NULL, 0);
}

void bench_pair_begin(struct bench_pair *pair, bench_task *task, const void *arguments, size_t bytes) {
    if (bytes > BENCH_ARGUMENT_BYTES) {
        bench_fail("%zu bytes of arguments are too many", bytes);
    }
    pair->shared->task = task;
    if (bytes > 0) {
        memcpy(pair->shared->arguments, arguments, bytes);
    }
    uint64_t next = atomic_load_explicit(&pair->shared->commands, memory_order_relaxed) + 1;
    atomic_store_explicit(&pair->shared->commands, next, memory_order_release);
}

void bench_pair_finish(struct bench_pair *pair, void *ret, size_t bytes) {
    uint64_t command = atomic_load_explicit(&pair->shared->commands, memory_order_relaxed);
    for (uint64_t looks = 1; atomic_load_explicit(&pair->shared->done, memory_order_acquire) != command; looks++) {
        bench_relax();
        if (looks % 1000000 == 0 && waitpid(pair->partner, NULL, WNOHANG) == pair->partner) {
            pair->partner = 0;
            bench_fail("the other process ended too early");
        }
    }
    if (ret != NULL) {
        memcpy(ret, pair->shared->arguments, bytes);
    }
}

void bench_pair_stop(struct bench_pair *pair) {
    bench_pair_begin(pair, NULL, NULL, 0);
    waitpid(pair->partner, NULL, 0);
    pair->partner = 0;
    munmap(pair->shared, sizeof(*pair->shared));
    munmap(pair->ring_there, BENCH_RING_BYTES);
    munmap(pair->ring_here, BENCH_RING_BYTES);
    munmap(pair->bulk_there, BENCH_BULK_BYTES);
    munmap(pair->bulk_here, BENCH_BULK_BYTES);
    for (int i = 0; i < 2; i++) {
        close(pair->pipe_there[i]);
        close(pair->pipe_here[i]);
    }
    started = NULL;
}
