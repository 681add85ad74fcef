/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the measuring programs share. Every program is one purpose (latency.c, throughput.c, ...) over these parts:
 *
 *   common.c           failing, CPUs, clocks, numbers, command line options
 *   common_stats.c     samples and their percentiles
 *   common_report.c    results as JSON, and marks for bench/run
 *   common_place.c     a topic directory of the run's own, gone with the run however that ends
 *   common_pair.c      two processes pinned to two CPUs, one telling the other what to run
 *   common_floor.c     the floors: what two processes need to bounce cache lines
 *   common_payload.c   payload that is really written, and really read and checked
 *   common_pingpong.c  a message there and one back over two topics
 *   common_pipe.c      the same over two pipes
 *   common_stream.c    messages in one direction, as fast as they go
 *   common_crowd.c     sends to many subscribers that are awake
 *   common_wakeup.c    sends to one that sleeps
 *
 * `tarn bench` measures by the same parts.
 *
 * How it is measured. Two processes, never threads, each pinned to a CPU of its own. The host of a virtual machine
 * moves its CPUs about (a cache line may need 25 ns in one minute and 250 ns in the next), so a time is worth little
 * alone: the floors are measured beside it, in the same two processes, just before and just after, and a run whose
 * floors differ by more than BENCH_FLOOR_TOLERANCE is thrown away. What is compared is the ratio.
 */
#ifndef TARN_BENCH_COMMON_H
#define TARN_BENCH_COMMON_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define BENCH_LINE_BYTES 64
#define BENCH_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- common.c: failing, CPUs, clocks, numbers ----------------------------------------------------------------- */

/* Says a sentence on stderr, "bench: ...", and ends the process with 1. Partners die with their starter. */
extern const char *bench_program; /* "bench": how the sentence starts */
_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

_Noreturn void bench_fail_call(int result, const char *what);
/* Ends the run with tarn_error() unless result is expected or more. what: "cannot open the publisher". */
static inline void bench_expect(int result, int expected, const char *what) {
    if (__builtin_expect(result < expected, 0)) {
        bench_fail_call(result, what);
    }
}

/* The two CPUs to run on: those of "A,B", or the first two this process may use if text is NULL. */
struct bench_cpus {
    int here, there;
};
struct bench_cpus bench_cpus_choose(const char *text);
int bench_cpus_allowed(void);
void bench_pin(int cpu);

/* A counter of the CPU, the same on all of them: what it costs to read is small beside a cache line's journey. */
static inline uint64_t bench_ticks(void) {
#if defined(__x86_64__)
    return __rdtsc();
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

/* The same, read after everything before it is done and before anything after it begins. */
static inline uint64_t bench_ticks_ordered(void) {
#if defined(__x86_64__)
    _mm_lfence();
    uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
#else
    return bench_ticks();
#endif
}

/* In loops that wait for another CPU. Makes such a wait shorter, not longer: the line is asked for less often. */
static inline void bench_relax(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

double bench_ns_per_tick(void); /* measured once, in 20 ms */
double bench_tick_step(void);   /* the smallest difference between two readings (26 ticks, 10 ns, on Zen 4) */
int64_t bench_now_ns(void);     /* CLOCK_MONOTONIC */

/* "8", "4K", "64KiB", "1M". Fails with a sentence on anything else. */
uint64_t bench_parse_bytes(const char *text);
/* "8,64,1K" into a list of at most capacity entries. Returns how many. */
size_t bench_parse_list(const char *text, uint64_t *ret, size_t capacity);
double bench_parse_number(const char *text);
/* "64 B", "1 KB", "16 MB"; powers of two. Returns buffer. */
const char *bench_format_bytes(char *buffer, size_t size, uint64_t bytes);
/* "84 ns", "8.3 us", "1.25 ms". Returns buffer. */
const char *bench_format_ns(char *buffer, size_t size, double ns);

/*
 * A command line: every option is "--name VALUE", or "--name" alone where value_name is NULL (the value is then "1").
 */
struct bench_option {
    const char *name, *value_name, *help;
    const char **value;
};
/* Fills in the values that were given; --help prints purpose and options. Fails with a sentence on anything unknown. */
void bench_options_parse(int argc, char **argv, const char *purpose, const struct bench_option *options, size_t count);

/* ---- common_stats.c ------------------------------------------------------------------------------------------- */

/* Times, in ticks unless in_ns is set. Touched when made, so that adding one takes no page fault. */
struct bench_samples {
    uint64_t *values;
    size_t count, capacity;
    bool in_ns;
};
struct bench_summary {
    double p50, p99, p999, max, mean; /* ns */
    size_t count;
};
void bench_samples_open(struct bench_samples *samples, size_t capacity);
void bench_samples_close(struct bench_samples *samples);
static inline void bench_samples_add(struct bench_samples *samples, uint64_t time) {
    if (samples->count < samples->capacity) {
        samples->values[samples->count++] = time;
    }
}
void bench_samples_append(struct bench_samples *samples, const struct bench_samples *more);
/* Sorts the samples and sums them up; each is divided by parts (2: half of a round trip). */
struct bench_summary bench_samples_summary(struct bench_samples *samples, double parts);
/* The median of a few values, which it sorts. 0 if there are none. */
double bench_median(double *values, size_t count);

/* ---- common_report.c ------------------------------------------------------------------------------------------ */

struct bench_report;
/* json_path, marks_path: NULL for none. The marks file is appended to. */
struct bench_report *bench_report_open(const char *program, const char *json_path, const char *marks_path);
/* One result: name, then pairs of const char * and double, then NULL. */
void bench_report_row(struct bench_report *report, const char *name, ...) __attribute__((sentinel));
/* One mark of the table that bench/run prints. at_most: true if value should be at most limit, else at least. */
void bench_report_mark(struct bench_report *report, const char *name, double value, bool at_most, double limit,
                       const char *unit);
void bench_report_close(struct bench_report *report);

/* ---- common_place.c ------------------------------------------------------------------------------------------- */

/* Points TARN_DIR to a new folder that a small process of its own removes when this process is gone. Call it first. */
void bench_place_open(void);
/* If set before: called by that process, just before it removes the folder. */
extern void (*bench_place_sweep)(const char *directory);

/* ---- common_pair.c -------------------------------------------------------------------------------------------- */

#define BENCH_ARGUMENT_BYTES 256
#define BENCH_RING_BYTES (4u << 20)   /* of the walking floor, per direction */
#define BENCH_BULK_BYTES (128u << 20) /* of bare payload, per direction; there only where it is touched */

struct bench_ring_line {
    _Alignas(BENCH_LINE_BYTES) _Atomic uint64_t word;
};
struct bench_pair;
/* Runs in the partner. arguments: its copy, which the caller sees again, so results go there. */
typedef void bench_task(struct bench_pair *pair, void *arguments);

struct bench_pair_shared;
struct bench_pair {
    struct bench_pair_shared *shared;
    struct bench_ring_line *ring_there, *ring_here; /* for the floors: BENCH_RING_BYTES each, shared */
    unsigned char *bulk_there, *bulk_here;          /* BENCH_BULK_BYTES each */
    uint64_t floor_rounds;                          /* values that the rings have carried so far */
    int pipe_there[2], pipe_here[2];
    struct bench_cpus cpus;
    pid_t partner;
    bool is_partner;
};
/* Forks the partner, pins both. Before the first call into tarn: handles do not survive a fork. */
void bench_pair_start(struct bench_pair *pair, struct bench_cpus cpus);
/* Makes the partner run task; returns at once. At most BENCH_ARGUMENT_BYTES of arguments. */
void bench_pair_begin(struct bench_pair *pair, bench_task *task, const void *arguments, size_t bytes);
/* Waits until it has, then copies the arguments back if ret is not NULL. Fails if the partner died. */
void bench_pair_finish(struct bench_pair *pair, void *ret, size_t bytes);
void bench_pair_stop(struct bench_pair *pair);

/* ---- common_floor.c ------------------------------------------------------------------------------------------- */

#define BENCH_FLOOR_TOLERANCE 0.20

struct bench_floor {
    double standing_ns, walking_ns; /* one way, p50 */
    double speed_per_ns;            /* simple instructions on the slower of the two CPUs */
};
/* Both floors, each for about duration_ns, in turns. */
struct bench_floor bench_floor_measure(struct bench_pair *pair, int64_t duration_ns);
/*
 * The walking floor with payload, written and read in full, in buffers that are used in turn: what bare shared memory
 * and a flag need. One way, p50. bytes: at most half of BENCH_BULK_BYTES.
 */
double bench_floor_bare(struct bench_pair *pair, size_t bytes, int64_t duration_ns);
/* The walking floor with so many instructions (a multiple of 50) that do nothing before each answer. One way, p50. */
double bench_floor_burdened(struct bench_pair *pair, uint32_t instructions, int64_t duration_ns);
/*
 * By how much two differ, as the walking floors say: 0.2 is 20 %. (Standing floors alternate between two values on some
 * CPUs, 35 and 45 ns on Zen 4, without anything having moved.)
 */
double bench_floor_difference(struct bench_floor before, struct bench_floor after);
struct bench_floor bench_floor_between(struct bench_floor before, struct bench_floor after);

/* ---- common_payload.c ----------------------------------------------------------------------------------------- */

enum bench_touch {
    BENCH_TOUCH_LINE = 0, /* the first word, as in the floors: so the cache line in which the payload begins travels,
                             and what the user does beside the calls is the same on both sides of the comparison */
    BENCH_TOUCH_FULL = 1, /* everything */
};
void bench_payload_write_words(void *data, size_t bytes, uint64_t seed);
bool bench_payload_check_words(const void *data, size_t bytes, uint64_t seed);

/* Writes words that follow from seed. One word, which a stream sends by the hundred million, is written in line. */
static inline void bench_payload_write(void *data, size_t bytes, enum bench_touch touch, uint64_t seed) {
    if (bytes == sizeof(seed) || (touch == BENCH_TOUCH_LINE && bytes > sizeof(seed))) {
        memcpy(data, &seed, sizeof(seed));
    } else {
        bench_payload_write_words(data, bytes, seed);
    }
}
/* Reads and sums them. False if they are not those of seed. */
static inline bool bench_payload_check(const void *data, size_t bytes, enum bench_touch touch, uint64_t seed) {
    uint64_t word;
    if (bytes != sizeof(word) && (touch != BENCH_TOUCH_LINE || bytes < sizeof(word))) {
        return bench_payload_check_words(data, bytes, seed);
    }
    memcpy(&word, data, sizeof(word));
    return word == seed;
}

/* ---- common_pingpong.c ---------------------------------------------------------------------------------------- */

struct bench_pingpong {
    size_t bytes;
    enum bench_touch touch;
    uint32_t wait_strategy; /* enum tarn_wait_strategy */
    bool publish;           /* send by tarn_publisher_publish (copies) instead of a loan */
};
/* Opens publisher and subscriber on both sides. One at a time. */
void bench_pingpong_open(struct bench_pair *pair, const struct bench_pingpong *options);
/* Round trips, each a sample, until count or duration_ns (0: no limit) is reached. */
void bench_pingpong_run(struct bench_pair *pair, uint64_t count, int64_t duration_ns, struct bench_samples *samples);
void bench_pingpong_close(struct bench_pair *pair);

/* ---- common_pipe.c -------------------------------------------------------------------------------------------- */

/* The same through pipes of 1 MiB, everything written and read; spin: polled by read instead of sleeping in it. */
void bench_pipe_run(struct bench_pair *pair, size_t bytes, bool spin, uint64_t count, int64_t duration_ns,
                    struct bench_samples *samples);

/* ---- common_stream.c ------------------------------------------------------------------------------------------- */

#define BENCH_STREAM_MANY 32
struct bench_stream {
    size_t bytes;
    enum bench_touch touch;
    bool by_loan;   /* else by publish, which is for messages of at most a cache line here */
    size_t at_once; /* messages that the subscriber takes in one call, at most BENCH_STREAM_MANY; 0: one */
    uint64_t count;
    uint64_t first;  /* number of the next message, which is also its payload's seed: 1 at the beginning */
    int64_t took_ns; /* the subscriber's result */
};
/* Opens publisher and subscriber. limit_bytes: the publisher's memory limit. One at a time. */
void bench_stream_open(struct bench_pair *pair, uint64_t limit_bytes);
/* Judges the speed by a first short stream, then goes once through all memory, then settles the streams' length. */
void bench_stream_warm_up(struct bench_pair *pair, struct bench_stream *stream, double seconds);
/* One stream of count messages. Returns messages per second. */
double bench_stream_run(struct bench_pair *pair, struct bench_stream *stream);
void bench_stream_close(struct bench_pair *pair);

/* ---- common_crowd.c -------------------------------------------------------------------------------------------- */

#define BENCH_CROWD_MAX 4000
#define BENCH_CROWD_BLOCK 250 /* messages to one topic before it is the other's turn */

struct bench_crowd {
    size_t bytes;
    enum bench_touch touch; /* full: written in full by the publisher, read in full by the first subscriber */
    uint64_t subscribers;
    bool reliable;
};
struct bench_crowd_cost {
    double p50, mean, p99; /* of one send, ns */
    size_t left_out;
};
struct bench_crowd_costs {
    struct bench_crowd_cost one, many; /* with one subscriber, and with as many as asked for */
    size_t messages;                   /* to the many */
};
struct bench_crowd_costs bench_crowd_measure(struct bench_pair *pair, const struct bench_crowd *what,
                                             int64_t duration_ns);

/* ---- common_wakeup.c ------------------------------------------------------------------------------------------- */

enum bench_sleep {
    BENCH_SLEEP_FUTEX,
    BENCH_SLEEP_RECEIVE,
    BENCH_SLEEP_FIFO,
    BENCH_SLEEP_TARN_FD,
    BENCH_SLEEP_KINDS,
};
void bench_wakeup_open(struct bench_pair *pair);
/* count sleeps of each kind, each left asleep for rest_ns before it is woken. samples: one for each kind, in_ns. */
void bench_wakeup_run(struct bench_pair *pair, uint64_t count, int64_t rest_ns, struct bench_samples *samples);
void bench_wakeup_close(struct bench_pair *pair);

#endif
