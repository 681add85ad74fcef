/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * One producer, and workers that share its messages, each of them a process that sleeps when there is nothing to do.
 * Every message is checked, acknowledged, and counted: all must have been done, each once. Timed from the first message
 * that a worker takes to the last one.
 *
 * A round ends by messages that say so. A worker that has had one leaves the round, so they are sent until all have.
 * The round's number is in them, as some may be left for the next one.
 *
 * The first worker runs where the other process of the pair does; further ones on CPUs that neither of the two has, or,
 * where there are none, with the first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"

#define ROUNDS 2 /* the first is the warm-up */
#define WORKERS_MAX 16
#define END_GAP_US 500
#define END_NS (60LL * 1000 * 1000 * 1000)

struct work {
    uint64_t count, sum; /* of numbers */
    int64_t first_ns, last_ns;
};

/* In memory that all share. */
struct desk {
    struct work work[ROUNDS][WORKERS_MAX];
    _Alignas(128) _Atomic uint32_t ended[ROUNDS]; /* workers */
    _Atomic uint32_t over;                        /* nothing more is sent */
};

static struct desk *desk_of(struct bench_pair *pair) {
    return (struct desk *)(void *)pair->bulk_here;
}

/* ---- workers ---------------------------------------------------------------------------------------------------- */

/* False if it was a round's end; *ret_round says of which. */
static inline bool do_one(void *worker, struct work *work, uint64_t *ret_round) {
    uint64_t seed;
    const void *data = take_some(worker);
    memcpy(&seed, data, sizeof(seed));
    bool ends = seed > LAST - ROUNDS;
    if (!ends && !bench_payload_check(data, run.there.bytes, run.touch, seed)) {
        bench_fail("%s: message %" PRIu64 " has other bytes than were sent", run.peer->name, seed);
    }
    run.peer->done(worker);
    if (ends) {
        *ret_round = LAST - seed;
        return false;
    }
    work->count++;
    work->sum += seed;
    return true;
}

static struct work work_round(void *worker, uint64_t round) {
    struct work work = {0};
    uint64_t ended = ROUNDS;
    do {
        while (do_one(worker, &work, &ended)) {
            if (work.count == 1) {
                work.first_ns = bench_now_ns();
            }
        }
        if (ended == round) {
            work.last_ns = bench_now_ns();
        }
    } while (ended != round);
    return work;
}

static void work_all_rounds(struct desk *desk, uint32_t index) {
    void *worker = run.peer->open_receiver(&run.there, index);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        desk->work[round][index] = work_round(worker, round);
        atomic_fetch_add(&desk->ended[round], 1);
    }
    while (!atomic_load(&desk->over)) {
        usleep(100);
    }
    run.peer->close_receiver(worker);
}

static void go_where_nobody_is(struct bench_pair *pair) {
    cpu_set_t free_cpus = run.cpus;
    CPU_CLR(pair->cpus.here, &free_cpus);
    CPU_CLR(pair->cpus.there, &free_cpus);
    if (CPU_COUNT(&free_cpus) > 0) {
        sched_setaffinity(0, sizeof(free_cpus), &free_cpus);
    }
}

static pid_t start_worker(struct bench_pair *pair, uint32_t index) {
    pid_t starter = getpid(), pid = fork();
    if (pid < 0) {
        bench_fail("cannot fork: %s", strerror(errno));
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != starter) {
            _exit(1);
        }
        go_where_nobody_is(pair);
        work_all_rounds(desk_of(pair), index);
        _exit(0);
    }
    return pid;
}

static void work_there(struct bench_pair *pair, void *arguments) {
    (void)arguments;
    pid_t others[WORKERS_MAX];
    for (uint32_t i = 1; i < run.there.receivers; i++) {
        others[i] = start_worker(pair, i);
    }
    work_all_rounds(desk_of(pair), 0);
    for (uint32_t i = 1; i < run.there.receivers; i++) {
        int status;
        if (waitpid(others[i], &status, 0) != others[i] || status != 0) {
            bench_fail("%s: a worker failed", run.peer->name);
        }
    }
}

/* ---- the producer ----------------------------------------------------------------------------------------------- */

static void end_round(struct desk *desk, uint64_t round) {
    int64_t end_ns = bench_now_ns() + END_NS;
    uint64_t end = LAST - round;
    for (uint32_t sent = 0; atomic_load(&desk->ended[round]) < run.there.receivers; sent++) {
        void *data = run.peer->loan(own.senders[0]);
        memset(data, 0, run.there.bytes);
        memcpy(data, &end, sizeof(end));
        run.peer->send(own.senders[0]);
        if (sent >= run.there.receivers) {
            usleep(END_GAP_US);
        }
        if (bench_now_ns() > end_ns) {
            bench_fail("%s: workers did not end", run.peer->name);
        }
    }
}

static uint64_t send_round(struct desk *desk, uint64_t round) {
    uint64_t start = bench_ticks(), seed = 0;
    do {
        send_seed(own.senders[0], ++seed);
    } while (seed % 16 != 0 || !is_over(round == 0, bench_ticks() - start, seed));
    end_round(desk, round);
    return seed;
}

static double rate_of(const struct work work[], uint64_t sent) {
    int64_t first_ns = INT64_MAX, last_ns = 0;
    uint64_t count = 0, sum = 0;
    for (uint32_t i = 0; i < run.there.receivers; i++) {
        count += work[i].count;
        sum += work[i].sum;
        if (work[i].count > 0) {
            first_ns = work[i].first_ns < first_ns ? work[i].first_ns : first_ns;
            last_ns = work[i].last_ns > last_ns ? work[i].last_ns : last_ns;
        }
    }
    if (count != sent || sum != sent * (sent + 1) / 2) {
        bench_fail("%s: %" PRIu64 " messages were sent, %" PRIu64 " done", run.peer->name, sent, count);
    }
    return (double)(count - 1) / (double)(last_ns - first_ns) * 1e9;
}

void measure_queue(struct bench_pair *pair) {
    struct desk *desk = desk_of(pair);
    if (run.there.receivers > WORKERS_MAX) {
        bench_fail("at most %d workers", WORKERS_MAX);
    }
    bench_pair_begin(pair, work_there, NULL, 0);
    open_senders(&run.there);
    connect_senders();
    uint64_t warm_up = send_round(desk, 0), sent = send_round(desk, 1);
    atomic_store(&desk->over, 1);
    bench_pair_finish(pair, NULL, 0);
    rate_of(desk->work[0], warm_up); /* for its checks */
    uint64_t least = sent;
    for (uint32_t i = 0; i < run.there.receivers; i++) {
        least = desk->work[1][i].count < least ? desk->work[1][i].count : least;
    }
    printf("\"handles\": %" PRIu32 ", \"count\": %" PRIu64 ", \"least_of_a_worker\": %" PRIu64 ", \"per_second\": %.1f",
           run.there.receivers, sent, least, rate_of(desk->work[1], sent));
    close_own();
}
