/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The floors: what the hardware needs to tell another process something, with nothing around it.
 *
 *   standing   two fixed cache lines, one per direction: I write a number to mine, you see it and write it to yours
 *   walking    the same on the next line of a ring (4 MiB per direction) each time, as whoever writes a log must: the
 *              line is in the other's cache from the last lap, or in the cache that both share
 *   bare       walking, and a payload that is written before and read after, in full
 *   speed      additions per ns on the slower of both CPUs, both being busy: it falls to half while something else runs
 *              on the other hardware thread of the same core (the other CPU, or what the host puts there), and with the
 *              clock
 *   burdened   walking, and so many instructions that do nothing before each answer: what the processor charges for any
 *              code at all between a message and its answer. It runs ahead of a line that is under way, speculating, as
 *              far as its reorder buffer goes (256 instructions on Zen 3), so the first instructions cost most: they
 *              delay the request for the answer's line, which so far was made before the message had even come.
 *
 * The rings carry numbers that only ever rise, so nothing needs to be cleared between laps or runs. Both sides pause in
 * their loops: that is faster than without (40 against 55 ns on Zen 4), so it is the stricter floor. One way is half of
 * a round trip. Standing and walking are measured in turns, a quarter of the time each.
 */
#include "common.h"

#define RING_LINES (BENCH_RING_BYTES / BENCH_LINE_BYTES)
#define ROUNDS_AT_LEAST 500
#define ROUNDS_AT_MOST 400000
#define SPINS_AT_MOST (1u << 31)

struct bounce {
    uint64_t first; /* number of the first round */
    uint64_t count;
    bool walking;
    size_t bytes;  /* of payload, 0: none */
    uint32_t idle; /* instructions, a multiple of IDLE_STEP */
};

#define IDLE_STEP 50

static inline void idle(uint32_t instructions) {
    for (uint32_t i = 0; i < instructions; i += IDLE_STEP) {
        __asm__ volatile(".rept 50\n nop\n .endr");
    }
}

static struct bench_ring_line *line_of(struct bench_ring_line *ring, uint64_t round, bool walking) {
    return &ring[walking ? round % RING_LINES : 0];
}

static void wait_for(struct bench_ring_line *line, uint64_t round) {
    for (uint32_t spins = 0; atomic_load_explicit(&line->word, memory_order_acquire) != round; spins++) {
        bench_relax();
        if (spins > SPINS_AT_MOST) {
            bench_fail("the other process does not answer");
        }
    }
}

/* Buffers are used in turn: as many as fit in the ring's size, two at least. */
static unsigned char *buffer_of(unsigned char *bulk, uint64_t round, size_t bytes) {
    size_t stride = (bytes + BENCH_LINE_BYTES - 1) / BENCH_LINE_BYTES * BENCH_LINE_BYTES;
    size_t buffers = BENCH_RING_BYTES / stride < 2 ? 2 : BENCH_RING_BYTES / stride;
    return bulk + round % buffers * stride;
}

static void send_round(const struct bounce *bounce, struct bench_ring_line *ring, unsigned char *bulk, uint64_t round) {
    idle(bounce->idle);
    if (bounce->bytes > 0) {
        bench_payload_write(buffer_of(bulk, round, bounce->bytes), bounce->bytes, BENCH_TOUCH_FULL, round);
    }
    atomic_store_explicit(&line_of(ring, round, bounce->walking)->word, round, memory_order_release);
}

static void receive_round(const struct bounce *bounce, struct bench_ring_line *ring, unsigned char *bulk,
                          uint64_t round) {
    wait_for(line_of(ring, round, bounce->walking), round);
    if (bounce->bytes > 0 &&
        !bench_payload_check(buffer_of(bulk, round, bounce->bytes), bounce->bytes, BENCH_TOUCH_FULL, round)) {
        bench_fail("bare memory has other bytes than were written");
    }
}

static void bounce_there(struct bench_pair *pair, void *arguments) {
    const struct bounce bounce = *(const struct bounce *)arguments;
    uint64_t end = bounce.first + bounce.count;
    for (uint64_t round = bounce.first; round < end; round++) {
        receive_round(&bounce, pair->ring_there, pair->bulk_there, round);
        send_round(&bounce, pair->ring_here, pair->bulk_here, round);
    }
}

static void bounce_here(struct bench_pair *pair, struct bounce bounce, uint64_t count, struct bench_samples *samples) {
    bounce.first = pair->floor_rounds + 1;
    bounce.count = count;
    uint64_t end = bounce.first + bounce.count;
    bench_pair_begin(pair, bounce_there, &bounce, sizeof(bounce));
    uint64_t last = bench_ticks();
    for (uint64_t round = bounce.first; round < end; round++) {
        send_round(&bounce, pair->ring_there, pair->bulk_there, round);
        receive_round(&bounce, pair->ring_here, pair->bulk_here, round);
        uint64_t now = bench_ticks();
        bench_samples_add(samples, now - last);
        last = now;
    }
    bench_pair_finish(pair, NULL, 0);
    pair->floor_rounds += count;
}

/* Four independent chains of additions, as many as any core can do at one time, in blocks without a branch. */
#define ADD_FOUR                                                                                                       \
    a++, b++, c++, d++;                                                                                                \
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
#define ADD_SIXTEEN ADD_FOUR ADD_FOUR ADD_FOUR ADD_FOUR
#define ADD_BLOCK ADD_SIXTEEN ADD_SIXTEEN ADD_SIXTEEN ADD_SIXTEEN

static double additions_per_ns(void) {
    enum { BLOCKS = 4000, PER_BLOCK = 64 };
    uint64_t a = 0, b = 0, c = 0, d = 0;
    int64_t start_ns = bench_now_ns();
    for (int i = 0; i < BLOCKS; i++) {
        ADD_BLOCK
    }
    return (double)BLOCKS * PER_BLOCK / (double)(bench_now_ns() - start_ns);
}

static void speed_there(struct bench_pair *pair, void *arguments) {
    (void)pair;
    *(double *)arguments = additions_per_ns();
}

/* Of the slower one, while both are busy. */
static double speed_of_both(struct bench_pair *pair) {
    double there = 0;
    bench_pair_begin(pair, speed_there, &there, sizeof(there));
    double here = additions_per_ns();
    bench_pair_finish(pair, &there, sizeof(there));
    return here < there ? here : there;
}

/* As many rounds as duration_ns will hold, judged by count of them; at least least. */
static uint64_t rounds_for(struct bench_pair *pair, size_t bytes, uint64_t count, uint64_t least, int64_t duration_ns,
                           struct bench_samples *samples) {
    int64_t start_ns = bench_now_ns();
    bounce_here(pair, (struct bounce){.walking = true, .bytes = bytes}, count, samples);
    double each_ns = (double)(bench_now_ns() - start_ns) / (double)count;
    double rounds = (double)duration_ns / each_ns;
    return rounds < (double)least ? least : rounds > ROUNDS_AT_MOST ? ROUNDS_AT_MOST : (uint64_t)rounds;
}

struct bench_floor bench_floor_measure(struct bench_pair *pair, int64_t duration_ns) {
    static struct bench_samples standing, walking;
    if (standing.values == NULL) {
        bench_samples_open(&standing, ROUNDS_AT_MOST);
        bench_samples_open(&walking, ROUNDS_AT_MOST);
        bounce_here(pair, (struct bounce){.walking = true}, RING_LINES + 1,
                    &walking); /* touches every page on both sides */
    }
    uint64_t count = rounds_for(pair, 0, ROUNDS_AT_LEAST, ROUNDS_AT_LEAST, duration_ns, &walking);
    standing.count = walking.count = 0;
    for (int turn = 0; turn < 4; turn++) {
        bool walks = turn % 2 == 1;
        bounce_here(pair, (struct bounce){.walking = walks}, count / 4, walks ? &walking : &standing);
    }
    return (struct bench_floor){
        .standing_ns = bench_samples_summary(&standing, 2).p50,
        .walking_ns = bench_samples_summary(&walking, 2).p50,
        .speed_per_ns = speed_of_both(pair),
    };
}

double bench_floor_bare(struct bench_pair *pair, size_t bytes, int64_t duration_ns) {
    static struct bench_samples samples;
    static size_t warm_bytes;
    if (samples.values == NULL) {
        bench_samples_open(&samples, ROUNDS_AT_MOST);
    }
    if (bytes > BENCH_BULK_BYTES / 2) {
        bench_fail("bare payload is at most %u MB here", (BENCH_BULK_BYTES / 2) >> 20);
    }
    uint64_t count = bytes == warm_bytes ? 1 : 2 + BENCH_RING_BYTES / (bytes + 1); /* once through all buffers */
    warm_bytes = bytes;
    count = rounds_for(pair, bytes, count, 2, duration_ns, &samples);
    samples.count = 0;
    bounce_here(pair, (struct bounce){.walking = true, .bytes = bytes}, count, &samples);
    return bench_samples_summary(&samples, 2).p50;
}

double bench_floor_burdened(struct bench_pair *pair, uint32_t instructions, int64_t duration_ns) {
    static struct bench_samples samples;
    if (samples.values == NULL) {
        bench_samples_open(&samples, ROUNDS_AT_MOST);
    }
    uint64_t count = rounds_for(pair, 0, ROUNDS_AT_LEAST, ROUNDS_AT_LEAST, duration_ns, &samples);
    samples.count = 0;
    bounce_here(pair, (struct bounce){.walking = true, .idle = instructions}, count, &samples);
    return bench_samples_summary(&samples, 2).p50;
}

double bench_floor_difference(struct bench_floor before, struct bench_floor after) {
    double a = before.walking_ns, b = after.walking_ns;
    double low = a < b ? a : b, high = a < b ? b : a;
    return low > 0 ? high / low - 1 : 1;
}

struct bench_floor bench_floor_between(struct bench_floor before, struct bench_floor after) {
    return (struct bench_floor){
        .standing_ns = (before.standing_ns + after.standing_ns) / 2,
        .walking_ns = (before.walking_ns + after.walking_ns) / 2,
        .speed_per_ns = (before.speed_per_ns + after.speed_per_ns) / 2,
    };
}
