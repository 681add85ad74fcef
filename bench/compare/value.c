/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The latest value of something. This process writes it, the other reads it: while nobody writes, and while it is
 * written again and again. Reads and writes are timed by the batch, since one takes less than a look at the clock.
 * Reading is taking the value and checking all its bytes, which must be of one and the same write, and none older than
 * what was read before; the checking alone, of memory that nobody else has, is timed, too.
 */
#include <stdlib.h>

#include "run.h"

#define BATCH_BYTES (64u << 10)
#define BATCH_MAX 512
#define BATCHES_MAX (1u << 17)
#define PATIENCE_SECONDS 0.5 /* with readers that never get a whole value while another process writes */

struct reads {
    bool warm_up, busy;
    double read_ns, check_ns; /* medians of the batches' means */
    double mean_ns;           /* of all reads, so with those that took long as they had to try again and again */
    uint64_t count, retries, changes;
    bool starved;
};

static uint64_t batch(void) {
    uint64_t count = BATCH_BYTES / run.there.bytes;
    return count > BATCH_MAX ? BATCH_MAX : count < 1 ? 1 : count;
}

static double ns_of_each(struct bench_samples *of) {
    return bench_samples_summary(of, (double)batch()).p50;
}

static void start_samples(void) {
    if (samples.values == NULL) {
        bench_samples_open(&samples, BATCHES_MAX);
    }
    samples.count = 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void read_value(struct reads *reads, uint64_t *seen) {
    const void *data;
    while ((data = run.peer->take(own.receivers[0], false)) == NULL) {
        reads->retries++;
    }
    uint64_t seed;
    memcpy(&seed, data, sizeof(seed));
    if (seed < *seen || !bench_payload_check(data, run.there.bytes, run.touch, seed)) {
        bench_fail("%s: read a value that was never written, or an old one (%#" PRIx64 " after %#" PRIx64 ")",
                   run.peer->name, seed, *seen);
    }
    reads->changes += seed != *seen;
    *seen = seed;
    run.peer->done(own.receivers[0]);
}

static void read_there(struct bench_pair *pair, void *arguments) {
    struct reads *reads = arguments;
    uint64_t start = bench_ticks(), begin = start, seen = 0;
    start_samples();
    while (!is_over(reads->warm_up, begin - start, ++reads->count)) {
        begin = bench_ticks();
        for (uint64_t i = 0; i < batch(); i++) {
            read_value(reads, &seen);
        }
        bench_samples_add(&samples, bench_ticks() - begin);
    }
    reads->read_ns = ns_of_each(&samples);
    reads->mean_ns = bench_samples_summary(&samples, (double)batch()).mean;
    atomic_store_explicit(&pair->ring_here[0].word, 1, memory_order_release);
}

static void check_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    struct reads *reads = arguments;
    void *memory = aligned_alloc(BENCH_LINE_BYTES, (run.there.bytes + 63) / 64 * 64);
    uint64_t start = bench_ticks(), begin = start;
    start_samples();
    bench_payload_write(memory, run.there.bytes, run.touch, 1);
    while (!is_over(reads->warm_up, begin - start, ++reads->count)) {
        begin = bench_ticks();
        for (uint64_t i = 0; i < batch(); i++) {
            __asm__ volatile("" ::"r"(memory) : "memory");
            if (!bench_payload_check(memory, run.there.bytes, run.touch, 1)) {
                bench_fail("memory has changed");
            }
        }
        bench_samples_add(&samples, bench_ticks() - begin);
    }
    reads->check_ns = ns_of_each(&samples);
    free(memory);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static uint64_t written; /* seed of the latest value */

static double write_for(double seconds, struct bench_ring_line *until) {
    uint64_t end = bench_ticks() + (uint64_t)(seconds * 1e9 / bench_ns_per_tick());
    start_samples();
    for (uint64_t begin = 0; begin < end && !(until && atomic_load(&until->word));) {
        begin = bench_ticks();
        for (uint64_t i = 0; i < batch(); i++) {
            send_seed(own.senders[0], ++written);
        }
        bench_samples_add(&samples, bench_ticks() - begin);
    }
    return ns_of_each(&samples);
}

/* Returns how long a write took, where there were any. */
static double read_and_write(struct bench_pair *pair, struct reads *reads) {
    struct bench_ring_line *done = &pair->ring_here[0];
    double write_ns = 0;
    atomic_store(&done->word, 0);
    bench_pair_begin(pair, read_there, reads, sizeof(*reads));
    bool starved = false;
    if (reads->busy) {
        write_ns = write_for(run.seconds + run.warm_up_seconds + PATIENCE_SECONDS, done);
        starved = !atomic_load(&done->word);
    }
    bench_pair_finish(pair, reads, sizeof(*reads));
    reads->starved = starved;
    return write_ns;
}

void measure_value(struct bench_pair *pair) {
    open_ends(pair);
    send_seed(own.senders[0], ++written);
    struct reads checks = {0}, idle = {.warm_up = true}, busy = {.warm_up = true, .busy = true};
    bench_pair_begin(pair, check_there, &checks, sizeof(checks));
    bench_pair_finish(pair, &checks, sizeof(checks));
    read_and_write(pair, &idle);
    idle = (struct reads){0};
    read_and_write(pair, &idle);
    write_for(run.warm_up_seconds, NULL);
    double write_ns = write_for(run.seconds, NULL);
    read_and_write(pair, &busy);
    busy = (struct reads){.busy = true};
    double write_busy_ns = read_and_write(pair, &busy);
    printf("\"check_ns\": %.2f, \"read_ns\": %.2f, \"write_ns\": %.2f, \"write_busy_ns\": %.2f, ", checks.check_ns,
           idle.read_ns, write_ns, write_busy_ns);
    if (!busy.starved) {
        printf("\"read_busy_ns\": %.2f, \"read_busy_mean_ns\": %.2f, ", busy.read_ns, busy.mean_ns);
    }
    printf("\"starved\": %s, \"reads\": %" PRIu64 ", \"changes\": %" PRIu64 ", \"retries\": %" PRIu64,
           busy.starved ? "true" : "false", busy.count * batch(), busy.changes, busy.retries);
    close_ends(pair);
}
