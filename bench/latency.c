/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How long one message takes from one process to another, by size: half of a round trip over two topics, beside the
 * floors of the same seconds.
 *
 * A size is measured in rounds: floors, messages, floors, each a few tens of milliseconds. A round whose two floors
 * differ by more than BENCH_FLOOR_TOLERANCE is thrown away and done again, a few times; where no round was steady, the
 * row carries an exclamation mark. Percentiles are of all messages of all rounds kept; ratios are the median of the
 * rounds' ratios, so that a host that moves its CPUs between rounds changes times, but not ratios.
 */
#include "common.h"

#include "tarn.h"

#include <stdio.h>
#include <string.h>

#define SIZES_MAX 64
#define ROUNDS_MAX 100
#define SAMPLES_PER_ROUND 400000
#define TRIES_PER_ROUND 3
#define FLOOR_NS (15LL * 1000 * 1000)
#define MARK_STANDING 1.3 /* 8 B */
#define MARK_WALKING 1.2  /* from 64 B up, first line */

struct plan {
    uint64_t sizes[SIZES_MAX];
    size_t size_count;
    const char *mode; /* "line", "full", "both" */
    const char *wait_name;
    uint32_t wait_strategy;
    uint64_t iterations; /* per round; 0: by time */
    int64_t round_ns;
    size_t rounds;
    bool publish;
};

struct result {
    struct bench_summary times;
    struct bench_floor floor;
    double to_standing, to_walking, bare_ns, to_bare; /* bare: only where everything is touched */
    size_t rounds_kept, rounds_thrown;
};

static struct bench_samples round_samples, all_samples;

struct kept {
    double to_standing[ROUNDS_MAX], to_walking[ROUNDS_MAX], standing[ROUNDS_MAX], walking[ROUNDS_MAX];
    double bare[ROUNDS_MAX], to_bare[ROUNDS_MAX];
    size_t count;
};

/* One round; kept if its floors agree or force is set. bare_bytes: measure bare memory beside it, with that payload. */
static bool measure_round(struct bench_pair *pair, const struct plan *plan, size_t bare_bytes, bool force,
                          struct kept *kept) {
    struct bench_floor before = bench_floor_measure(pair, FLOOR_NS);
    round_samples.count = 0;
    uint64_t count = plan->iterations > 0 ? plan->iterations : UINT64_MAX;
    bench_pingpong_run(pair, count, plan->iterations > 0 ? 0 : plan->round_ns, &round_samples);
    double bare_ns = bare_bytes > 0 ? bench_floor_bare(pair, bare_bytes, plan->round_ns / 4) : 0;
    struct bench_floor after = bench_floor_measure(pair, FLOOR_NS);
    if (!force && bench_floor_difference(before, after) > BENCH_FLOOR_TOLERANCE) {
        return false;
    }
    struct bench_floor floor = bench_floor_between(before, after);
    bench_samples_append(&all_samples, &round_samples);
    double p50 = bench_samples_summary(&round_samples, 2).p50;
    kept->to_standing[kept->count] = p50 / floor.standing_ns;
    kept->to_walking[kept->count] = p50 / floor.walking_ns;
    kept->standing[kept->count] = floor.standing_ns;
    kept->walking[kept->count] = floor.walking_ns;
    kept->bare[kept->count] = bare_ns;
    kept->to_bare[kept->count] = bare_ns > 0 ? p50 / bare_ns : 0;
    kept->count++;
    return true;
}

static struct result measure_size(struct bench_pair *pair, const struct plan *plan, enum bench_touch touch,
                                  uint64_t bytes) {
    struct bench_pingpong options = {
        .bytes = (size_t)bytes,
        .touch = touch,
        .wait_strategy = plan->wait_strategy,
        .publish = plan->publish && bytes <= BENCH_LINE_BYTES,
    };
    struct result result = {0};
    struct kept kept = {.count = 0};
    size_t bare_bytes = touch == BENCH_TOUCH_FULL && bytes <= BENCH_BULK_BYTES / 2 ? (size_t)bytes : 0;
    bench_pingpong_open(pair, &options);
    all_samples.count = 0;
    for (size_t tries = 0; kept.count < plan->rounds && tries < plan->rounds * TRIES_PER_ROUND; tries++) {
        result.rounds_thrown += !measure_round(pair, plan, bare_bytes, false, &kept);
    }
    result.rounds_kept = kept.count;
    if (kept.count == 0) {
        measure_round(pair, plan, bare_bytes, true, &kept);
    }
    bench_pingpong_close(pair);
    result.times = bench_samples_summary(&all_samples, 2);
    result.to_standing = bench_median(kept.to_standing, kept.count);
    result.to_walking = bench_median(kept.to_walking, kept.count);
    result.bare_ns = bench_median(kept.bare, kept.count);
    result.to_bare = bench_median(kept.to_bare, kept.count);
    result.floor.standing_ns = bench_median(kept.standing, kept.count);
    result.floor.walking_ns = bench_median(kept.walking, kept.count);
    return result;
}

static void print_head(const struct plan *plan, enum bench_touch touch) {
    printf("\n%s, receiver: %s, sent by %s\n",
           touch == BENCH_TOUCH_LINE ? "First line written and read" : "All written and read", plan->wait_name,
           plan->publish ? "publish up to 64 B, else loan" : "loan");
    printf("%8s %10s %10s %10s %10s %9s | %8s %8s | %9s %8s", "bytes", "p50", "p99", "p99.9", "max", "messages",
           "standing", "walking", "/standing", "/walking");
    printf(touch == BENCH_TOUCH_FULL ? " | %8s %6s\n" : "\n", "bare", "/bare");
}

static void print_row(uint64_t bytes, const struct result *result) {
    char name[32], p50[32], p99[32], p999[32], max[32], standing[32], walking[32], bare[32];
    printf(
        "%8s %10s %10s %10s %10s %9zu | %8s %8s | %9.2f %8.2f", bench_format_bytes(name, sizeof(name), bytes),
        bench_format_ns(p50, sizeof(p50), result->times.p50), bench_format_ns(p99, sizeof(p99), result->times.p99),
        bench_format_ns(p999, sizeof(p999), result->times.p999), bench_format_ns(max, sizeof(max), result->times.max),
        result->times.count, bench_format_ns(standing, sizeof(standing), result->floor.standing_ns),
        bench_format_ns(walking, sizeof(walking), result->floor.walking_ns), result->to_standing, result->to_walking);
    if (result->bare_ns > 0) {
        printf(" | %8s %6.2f", bench_format_ns(bare, sizeof(bare), result->bare_ns), result->to_bare);
    }
    if (result->rounds_kept == 0) {
        printf("  ! floors never agreed");
    } else if (result->rounds_thrown > 0) {
        printf("  (%zu rounds thrown away)", result->rounds_thrown);
    }
    printf("\n");
    fflush(stdout);
}

static void report(struct bench_report *to, const struct plan *plan, enum bench_touch touch, uint64_t bytes,
                   const struct result *result) {
    char name[64], size[32];
    snprintf(name, sizeof(name), "%s %s", touch == BENCH_TOUCH_LINE ? "line" : "full", plan->wait_name);
    bench_report_row(to, name, "bytes", (double)bytes, "p50_ns", result->times.p50, "p99_ns", result->times.p99,
                     "p99_9_ns", result->times.p999, "max_ns", result->times.max, "standing_ns",
                     result->floor.standing_ns, "walking_ns", result->floor.walking_ns, "to_standing",
                     result->to_standing, "to_walking", result->to_walking, "bare_ns", result->bare_ns, "to_bare",
                     result->to_bare, "rounds_kept", (double)result->rounds_kept, "rounds_thrown",
                     (double)result->rounds_thrown, NULL);
    if (touch != BENCH_TOUCH_LINE || plan->wait_strategy != TARN_WAIT_SPIN) {
        return;
    }
    bench_format_bytes(size, sizeof(size), bytes);
    if (bytes == 8) {
        snprintf(name, sizeof(name), "one way, %s", size);
        bench_report_mark(to, name, result->to_standing, true, MARK_STANDING, "x standing floor");
    } else if (bytes >= 64) {
        snprintf(name, sizeof(name), "one way, %s, first line", size);
        bench_report_mark(to, name, result->to_walking, true, MARK_WALKING, "x walking floor");
    }
}

static void read_wait(struct plan *plan, const char *wait) {
    static const char *const names[] = {"auto", "spin", "sleep"}; /* as enum tarn_wait_strategy */
    for (uint32_t i = 0; i < BENCH_COUNT(names); i++) {
        if (strcmp(wait, names[i]) == 0) {
            plan->wait_name = names[i];
            plan->wait_strategy = i;
            return;
        }
    }
    bench_fail("--wait is spin, sleep or auto, not \"%s\"", wait);
}

static void measure_mode(struct bench_pair *pair, const struct plan *plan, enum bench_touch touch,
                         struct bench_report *to) {
    print_head(plan, touch);
    for (size_t i = 0; i < plan->size_count; i++) {
        struct result result = measure_size(pair, plan, touch, plan->sizes[i]);
        print_row(plan->sizes[i], &result);
        report(to, plan, touch, plan->sizes[i], &result);
    }
}

struct texts {
    const char *sizes, *mode, *iterations, *seconds, *rounds, *wait, *publish, *cpus, *json, *marks;
};

static struct plan make_plan(const struct texts *texts) {
    struct plan plan = {.mode = texts->mode, .publish = texts->publish != NULL};
    plan.size_count = bench_parse_list(texts->sizes, plan.sizes, SIZES_MAX);
    plan.iterations = (uint64_t)bench_parse_number(texts->iterations);
    plan.rounds = (size_t)bench_parse_number(texts->rounds);
    if (plan.rounds < 1 || plan.rounds > ROUNDS_MAX) {
        bench_fail("--rounds is a number from 1 to %d", ROUNDS_MAX);
    }
    plan.round_ns = (int64_t)(bench_parse_number(texts->seconds) * 1e9) / (int64_t)plan.rounds;
    if (strcmp(plan.mode, "line") != 0 && strcmp(plan.mode, "full") != 0 && strcmp(plan.mode, "both") != 0) {
        bench_fail("--mode is line, full or both, not \"%s\"", plan.mode);
    }
    read_wait(&plan, texts->wait);
    return plan;
}

static void measure_all(const struct plan *plan, struct bench_cpus cpus, struct bench_report *to) {
    struct bench_pair pair;
    bench_pair_start(&pair, cpus);
    bench_samples_open(&round_samples, SAMPLES_PER_ROUND);
    bench_samples_open(&all_samples, SAMPLES_PER_ROUND * plan->rounds);
    printf("Two processes on CPUs %d and %d; one way is half of a round trip; floors of the same seconds beside it.\n",
           cpus.here, cpus.there);
    if (strcmp(plan->mode, "full") != 0) {
        measure_mode(&pair, plan, BENCH_TOUCH_LINE, to);
    }
    if (strcmp(plan->mode, "line") != 0) {
        measure_mode(&pair, plan, BENCH_TOUCH_FULL, to);
    }
    bench_pair_stop(&pair);
}

int main(int argc, char **argv) {
    struct texts texts = {
        .sizes = "8,64,256,1K,4K,16K,64K,256K,1M,4M,16M,64M",
        .mode = "both",
        .iterations = "0",
        .seconds = "0.3",
        .rounds = "5",
        .wait = "spin",
    };
    const struct bench_option options[] = {
        {"--sizes", "LIST", "message sizes, such as 8,64,4K,1M", &texts.sizes},
        {"--mode", "MODE", "line: first cache line written and read; full: everything; both", &texts.mode},
        {"--iterations", "COUNT", "round trips per round (0: by time)", &texts.iterations},
        {"--seconds", "SECONDS", "time per size, floors not counted (0.3)", &texts.seconds},
        {"--rounds", "COUNT", "rounds per size, each between floors (5)", &texts.rounds},
        {"--wait", "HOW", "receivers spin, sleep, or spin then sleep: auto (spin)", &texts.wait},
        {"--publish", NULL, "send sizes up to 64 B by publish instead of a loan", &texts.publish},
        {"--cpus", "A,B", "the two CPUs to run on", &texts.cpus},
        {"--json", "FILE", "write the results to FILE", &texts.json},
        {"--marks", "FILE", "append the marks to FILE", &texts.marks},
    };
    bench_options_parse(argc, argv, "time of one message between two processes", options, BENCH_COUNT(options));
    struct plan plan = make_plan(&texts);
    struct bench_cpus cpus = bench_cpus_choose(texts.cpus);
    bench_place_open();
    struct bench_report *to = bench_report_open("latency", texts.json, texts.marks);
    measure_all(&plan, cpus, to);
    bench_report_close(to);
    return 0;
}
