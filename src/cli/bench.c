/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn bench: how fast this machine passes messages, beside what its hardware needs at least. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"
#include "core/inspect.h"
#include "tarn.h"

#define DEFAULT_SECONDS 8
#define QUICK_SECONDS 3
#define SECONDS_MOST 60
#define FLOOR_NS (12 * NS_PER_MS)
#define ROUND_NS (60 * NS_PER_MS)
#define ROUND_SAMPLES 50000
#define ROUND_SAMPLES_LEAST 1000 /* fewer: a process was not running for most of the round */
#define ROW_LEAST_NS (60 * NS_PER_MS)
#define ROUNDS_LEAST 2
#define ROUNDS_MOST 60
#define STREAM_LIMIT_BYTES (UINT64_C(4) << 20) /* inside the cache that both CPUs share */
#define FANOUT_BYTES 64
#define SLEEPS_LEAST 100
#define SLEEPS_MOST 100000
#define SLEEPS_PER_TURN 25
#define SLEEP_REST_NS (INT64_C(150000))

static const char *const part_names[PARTS] = {"latency", "stream", "fanout", "wakeup"};
static const double part_weights[PARTS] = {0.45, 0.2, 0.2, 0.15}; /* of the time */

struct run {
    struct results *results;
    struct bench_pair pair;
    bool print; /* tables; else JSON at the end */
    double seconds;
    bool chosen[PARTS]; /* in the command line; none: all */
    int64_t end_ns;
};

/* ---- progress, and ctrl-C ------------------------------------------------------------------------------------- */

static volatile sig_atomic_t progress_visible;

static void hide_progress(void) {
    if (progress_visible && write(STDERR_FILENO, "\r\033[K", 4) == 4)
        progress_visible = 0;
}

/* When the next of some rows ends, of a part that ends at end_ns; on a busy machine the part may be late. */
static int64_t row_end_ns(int64_t end_ns, size_t rows_left) {
    int64_t now = clock_ns(), share_ns = (end_ns - now) / (int64_t)rows_left;
    return now + (share_ns > ROW_LEAST_NS ? share_ns : ROW_LEAST_NS);
}

static void show_progress(const struct run *run, const char *what, const char *of) {
    if (!isatty(STDERR_FILENO))
        return;
    int64_t left_ns = run->end_ns - clock_ns();
    fprintf(stderr, "\r\033[Kmeasuring %s%s; about %d s left", what, of,
            (int)((left_ns > 0 ? left_ns : 0) / NS_PER_S) + 1);
    progress_visible = 1;
}

static void on_signal(int number) {
    hide_progress();
    raise(number); /* the default is in force again, and kills once this returns */
}

/* Whatever ends the run, other processes end with it and remove its directory: so nothing needs to be caught but the
   line on the terminal. */
static void die_tidily(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, inherited;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    if (sigaction(SIGINT, NULL, &inherited) == 0 && inherited.sa_handler != SIG_IGN)
        sigaction(SIGINT, &action, NULL);
    bench_program = isatty(STDERR_FILENO) ? "\r\033[Ktarn" : "tarn";
}

/* Shows what was printed so far. False if nobody reads it any more. */
static bool go_on(void) {
    hide_progress();
    output_flush();
    output_look();
    return output_status() == EXIT_OK;
}

/* ---- floors --------------------------------------------------------------------------------------------------- */

static struct bench_floor measure_floor(struct run *run) {
    struct floors *floors = &run->results->floors;
    struct bench_floor now = bench_floor_measure(&run->pair, FLOOR_NS);
    if (floors->count < FLOORS_MOST) {
        floors->standing_ns[floors->count] = now.standing_ns;
        floors->walking_ns[floors->count] = now.walking_ns;
        floors->speed_per_ns[floors->count++] = now.speed_per_ns;
    }
    return now;
}

/* bench_median sorts what it is given. */
static void find_range(double *values, size_t count, double *ret_low, double *ret_high) {
    bench_median(values, count);
    *ret_low = count ? values[count / 10] : 0;
    *ret_high = count ? values[count - 1 - count / 10] : 0;
}

static void sum_up(struct floors *floors) {
    struct bench_floor *low = &floors->low, *high = &floors->high;
    find_range(floors->standing_ns, floors->count, &low->standing_ns, &high->standing_ns);
    find_range(floors->walking_ns, floors->count, &low->walking_ns, &high->walking_ns);
    find_range(floors->speed_per_ns, floors->count, &low->speed_per_ns, &high->speed_per_ns);
}

/*
 * Rounds of something between floors. A round whose floors differ is thrown away, unless it is the only one: then the
 * machine was never steady, and kept stays 0.
 */
struct rounds {
    struct bench_floor before;
    double standing[ROUNDS_MOST], walking[ROUNDS_MOST], value[ROUNDS_MOST], ratio[ROUNDS_MOST];
    size_t count, kept, thrown;
    int64_t end_ns;
};

static void rounds_start(struct rounds *rounds, struct run *run, int64_t end_ns) {
    rounds->count = rounds->kept = rounds->thrown = 0;
    rounds->end_ns = end_ns;
    rounds->before = measure_floor(run);
}

static bool rounds_go_on(const struct rounds *rounds) {
    if (!rounds->count || rounds->count + rounds->thrown < ROUNDS_LEAST)
        return true;
    return rounds->count < ROUNDS_MOST && clock_ns() < rounds->end_ns;
}

/* After a round. value: its result; usable: whether it says anything. Returns whether it counts. */
static bool rounds_add(struct rounds *rounds, struct run *run, double value, bool usable) {
    struct bench_floor after = measure_floor(run), floor = bench_floor_between(rounds->before, after);
    bool is_steady = usable && bench_floor_difference(rounds->before, after) <= BENCH_FLOOR_TOLERANCE;
    bool is_last = clock_ns() >= rounds->end_ns && rounds->count + rounds->thrown + 1 >= ROUNDS_LEAST;
    rounds->before = after;
    rounds->thrown += !is_steady;
    if (!is_steady && (rounds->count || !is_last))
        return false;
    rounds->kept += is_steady;
    rounds->standing[rounds->count] = floor.standing_ns;
    rounds->walking[rounds->count] = floor.walking_ns;
    rounds->value[rounds->count] = value;
    rounds->ratio[rounds->count++] = value / floor.walking_ns;
    return true;
}

static struct bench_floor rounds_floor(struct rounds *rounds) {
    return (struct bench_floor){.standing_ns = bench_median(rounds->standing, rounds->count),
                                .walking_ns = bench_median(rounds->walking, rounds->count)};
}

static const char *unsteady_mark(size_t kept) {
    return kept ? "" : " !";
}

/* ---- latency -------------------------------------------------------------------------------------------------- */

static void measure_latency(struct run *run, struct latency_row *row, int64_t end_ns) {
    static struct bench_samples all, round;
    static struct rounds rounds;
    if (!all.values) {
        bench_samples_open(&all, (size_t)ROUND_SAMPLES * ROUNDS_MOST);
        bench_samples_open(&round, ROUND_SAMPLES);
    }
    struct bench_pingpong how = {.bytes = row->bytes, .touch = BENCH_TOUCH_LINE, .wait_strategy = TARN_WAIT_SPIN};
    all.count = 0;
    bench_pingpong_open(&run->pair, &how);
    rounds_start(&rounds, run, end_ns);
    while (rounds_go_on(&rounds)) {
        round.count = 0;
        bench_pingpong_run(&run->pair, ROUND_SAMPLES, ROUND_NS, &round);
        bool usable = round.count >= ROUND_SAMPLES_LEAST;
        if (rounds_add(&rounds, run, bench_samples_summary(&round, 2).p50, usable))
            bench_samples_append(&all, &round);
    }
    bench_pingpong_close(&run->pair);
    row->times = bench_samples_summary(&all, 2);
    row->to_walking = bench_median(rounds.ratio, rounds.count);
    row->floor = rounds_floor(&rounds);
    row->kept = rounds.kept;
    row->thrown = rounds.thrown;
}

static void print_latency(const struct latency_row *row) {
    char p50[32], p99[32], p999[32], standing[32], walking[32], bytes[32];
    output_print("%12s  %9s  %9s  %9s   %8s  %8s  %8.2f%s\n", bench_format_bytes(bytes, sizeof(bytes), row->bytes),
                 bench_format_ns(p50, sizeof(p50), row->times.p50), bench_format_ns(p99, sizeof(p99), row->times.p99),
                 bench_format_ns(p999, sizeof(p999), row->times.p999),
                 bench_format_ns(standing, sizeof(standing), row->floor.standing_ns),
                 bench_format_ns(walking, sizeof(walking), row->floor.walking_ns), row->to_walking,
                 unsteady_mark(row->kept));
}

static bool run_latency(struct run *run, int64_t end_ns) {
    static const uint64_t sizes[LATENCY_SIZES] = {8, 64, 4096, 65536, 1 << 20};
    if (run->print)
        output_print("\nLatency, one way: half of a round trip; receivers spin, first cache line touched\n"
                     "%12s  %9s  %9s  %9s   %8s  %8s  %8s\n",
                     "message", "p50", "p99", "p99.9", "standing", "walking", "/walking");
    for (size_t i = 0; i < LATENCY_SIZES && go_on(); i++) {
        char bytes[32];
        struct latency_row *row = &run->results->latency[i];
        row->bytes = sizes[i];
        show_progress(run, "latency of ", bench_format_bytes(bytes, sizeof(bytes), row->bytes));
        measure_latency(run, row, row_end_ns(end_ns, LATENCY_SIZES - i));
        if (run->print)
            print_latency(row);
    }
    return go_on();
}

/* ---- stream --------------------------------------------------------------------------------------------------- */

static void measure_stream(struct run *run, struct stream_row *row, int64_t end_ns) {
    static struct rounds rounds;
    struct bench_stream stream = {
        .bytes = row->bytes, .touch = BENCH_TOUCH_FULL, .by_loan = row->bytes > BENCH_LINE_BYTES, .first = 1};
    double seconds = (double)(end_ns - clock_ns()) / 1e9;
    bench_stream_open(&run->pair, STREAM_LIMIT_BYTES);
    bench_stream_warm_up(&run->pair, &stream, seconds / 10);
    rounds_start(&rounds, run, end_ns);
    while (rounds_go_on(&rounds))
        rounds_add(&rounds, run, bench_stream_run(&run->pair, &stream), true);
    bench_stream_close(&run->pair);
    row->per_s = bench_median(rounds.value, rounds.count);
    row->floor = rounds_floor(&rounds);
    row->kept = rounds.kept;
    row->thrown = rounds.thrown;
}

static void print_stream(const struct stream_row *row) {
    char standing[32], walking[32], bytes[32], rate[32];
    if (row->per_s < 1e6)
        snprintf(rate, sizeof(rate), "%.1f k/s", row->per_s / 1e3);
    else
        snprintf(rate, sizeof(rate), "%.1f M/s", row->per_s / 1e6);
    output_print("%12s  %9s  %9.2f  %9s   %8s  %8s%s\n", bench_format_bytes(bytes, sizeof(bytes), row->bytes), rate,
                 row->per_s * (double)row->bytes / 1e9, "",
                 bench_format_ns(standing, sizeof(standing), row->floor.standing_ns),
                 bench_format_ns(walking, sizeof(walking), row->floor.walking_ns), unsteady_mark(row->kept));
}

static bool run_stream(struct run *run, int64_t end_ns) {
    static const uint64_t sizes[STREAM_SIZES] = {8, 65536};
    if (run->print)
        output_print("\nStream: one direction, nothing lost, everything written and read\n"
                     "%12s  %9s  %9s  %9s   %8s  %8s\n",
                     "message", "messages", "GB/s", "", "standing", "walking");
    for (size_t i = 0; i < STREAM_SIZES && go_on(); i++) {
        char bytes[32];
        struct stream_row *row = &run->results->stream[i];
        row->bytes = sizes[i];
        show_progress(run, "a stream of ", bench_format_bytes(bytes, sizeof(bytes), row->bytes));
        measure_stream(run, row, row_end_ns(end_ns, STREAM_SIZES - i));
        if (run->print)
            print_stream(row);
    }
    return go_on();
}

/* ---- fanout --------------------------------------------------------------------------------------------------- */

static void print_fanout(const struct fanout_row *row) {
    char p50[32], p99[32], mean[32];
    const struct bench_crowd_cost *many = &row->costs.many, *one = &row->costs.one;
    output_print("%12" PRIu64 "  %9s  %9s  %9s", row->subscribers, bench_format_ns(p50, sizeof(p50), many->p50),
                 bench_format_ns(p99, sizeof(p99), many->p99), bench_format_ns(mean, sizeof(mean), many->mean));
    if (row->subscribers == 1)
        output_print("\n");
    else
        output_print("   %8.2f\n", (many->p50 + 1) / (one->p50 + 1)); /* neither is exact to a nanosecond */
}

/* Reading the clock was subtracted, and may have cost less than usual. */
static void hide_negative(struct bench_crowd_cost *cost) {
    cost->p50 = cost->p50 > 0 ? cost->p50 : 0;
    cost->mean = cost->mean > 0 ? cost->mean : 0;
    cost->p99 = cost->p99 > 0 ? cost->p99 : 0;
}

static bool run_fanout(struct run *run, int64_t end_ns) {
    static const uint64_t counts[FANOUT_COUNTS] = {1, 16, 256};
    if (run->print)
        output_print("\nFanout: what a send of 64 B costs the sender; subscribers are awake\n"
                     "%12s  %9s  %9s  %9s   %8s\n",
                     "subscribers", "p50", "p99", "mean", "/one");
    for (size_t i = 0; i < FANOUT_COUNTS && go_on(); i++) {
        char count[32];
        struct fanout_row *row = &run->results->fanout[i];
        row->subscribers = counts[i];
        snprintf(count, sizeof(count), "%" PRIu64 " subscribers", row->subscribers);
        show_progress(run, "sends to ", row->subscribers == 1 ? "one subscriber" : count);
        int64_t each_ns = (row_end_ns(end_ns, FANOUT_COUNTS - i) - clock_ns()) * 3 / 4; /* warm-up takes the rest */
        struct bench_crowd what = {.bytes = FANOUT_BYTES, .subscribers = row->subscribers};
        row->costs = bench_crowd_measure(&run->pair, &what, each_ns);
        hide_negative(&row->costs.one);
        hide_negative(&row->costs.many);
        measure_floor(run);
        if (run->print)
            print_fanout(row);
    }
    return go_on();
}

/* ---- wakeup --------------------------------------------------------------------------------------------------- */

static void print_wakeup(const struct bench_summary *times) {
    static const char *const names[BENCH_SLEEP_KINDS] = {"bare futex", "receive", "bare FIFO", "fd and epoll"};
    for (int kind = 0; kind < BENCH_SLEEP_KINDS; kind++) {
        char p50[32], p99[32], max[32];
        output_print("%12s  %9s  %9s  %9s", names[kind], bench_format_ns(p50, sizeof(p50), times[kind].p50),
                     bench_format_ns(p99, sizeof(p99), times[kind].p99),
                     bench_format_ns(max, sizeof(max), times[kind].max));
        if (kind == BENCH_SLEEP_FUTEX || kind == BENCH_SLEEP_FIFO)
            output_print("\n");
        else
            output_print("   %8.2f\n", times[kind].p50 / times[kind - 1].p50);
    }
}

static bool run_wakeup(struct run *run, int64_t end_ns) {
    static struct bench_samples samples[BENCH_SLEEP_KINDS];
    if (run->print)
        output_print("\nWakeup: one way to a subscriber that sleeps\n%12s  %9s  %9s  %9s   %8s\n", "asleep in", "p50",
                     "p99", "max", "/bare");
    show_progress(run, "wake-ups", "");
    for (int kind = 0; kind < BENCH_SLEEP_KINDS; kind++) {
        bench_samples_open(&samples[kind], SLEEPS_MOST);
        samples[kind].in_ns = true;
    }
    bench_wakeup_open(&run->pair);
    bench_wakeup_run(&run->pair, SLEEPS_PER_TURN, SLEEP_REST_NS, samples);
    for (int kind = 0; kind < BENCH_SLEEP_KINDS; kind++)
        samples[kind].count = 0;
    do
        bench_wakeup_run(&run->pair, SLEEPS_PER_TURN, SLEEP_REST_NS, samples);
    while ((clock_ns() < end_ns || samples[0].count < SLEEPS_LEAST) && go_on());
    bench_wakeup_close(&run->pair);
    measure_floor(run);
    for (int kind = 0; kind < BENCH_SLEEP_KINDS; kind++)
        run->results->wakeup[kind] = bench_samples_summary(&samples[kind], 1);
    hide_progress();
    if (run->print)
        print_wakeup(run->results->wakeup);
    return go_on();
}

/* ---- one CPU -------------------------------------------------------------------------------------------------- */

static void measure_asleep(struct run *run, struct asleep_row *row, int64_t end_ns) {
    static struct bench_samples samples;
    if (!samples.values)
        bench_samples_open(&samples, ROUND_SAMPLES * 20);
    struct bench_pingpong how = {.bytes = row->bytes, .touch = BENCH_TOUCH_FULL, .wait_strategy = TARN_WAIT_SLEEP};
    int64_t each_ns = (end_ns - clock_ns()) / 3;
    samples.count = 0;
    bench_pingpong_open(&run->pair, &how);
    bench_pingpong_run(&run->pair, samples.capacity, each_ns, &samples);
    bench_pingpong_close(&run->pair);
    row->tarn = bench_samples_summary(&samples, 2);
    bench_pipe_run(&run->pair, row->bytes, false, 100, each_ns / 4, &samples); /* touches its memory */
    samples.count = 0;
    bench_pipe_run(&run->pair, row->bytes, false, samples.capacity, each_ns, &samples);
    row->pipe = bench_samples_summary(&samples, 2);
}

static void print_asleep(const struct asleep_row *row) {
    char p50[32], p99[32], p999[32], pipe[32], bytes[32];
    output_print("%12s  %9s  %9s  %9s   %8s  %8.2f\n", bench_format_bytes(bytes, sizeof(bytes), row->bytes),
                 bench_format_ns(p50, sizeof(p50), row->tarn.p50), bench_format_ns(p99, sizeof(p99), row->tarn.p99),
                 bench_format_ns(p999, sizeof(p999), row->tarn.p999),
                 bench_format_ns(pipe, sizeof(pipe), row->pipe.p50), row->tarn.p50 / row->pipe.p50);
}

static bool run_asleep(struct run *run, int64_t end_ns) {
    static const uint64_t sizes[ASLEEP_SIZES] = {8, 4096, 65536, 1 << 20};
    if (run->print)
        output_print("\nLatency, one way: half of a round trip; receivers sleep, everything touched\n"
                     "%12s  %9s  %9s  %9s   %8s  %8s\n",
                     "message", "p50", "p99", "p99.9", "by pipe", "/pipe");
    for (size_t i = 0; i < ASLEEP_SIZES && go_on(); i++) {
        char bytes[32];
        struct asleep_row *row = &run->results->asleep[i];
        row->bytes = sizes[i];
        show_progress(run, "latency of ", bench_format_bytes(bytes, sizeof(bytes), row->bytes));
        measure_asleep(run, row, row_end_ns(end_ns, ASLEEP_SIZES - i));
        if (run->print)
            print_asleep(row);
    }
    return go_on();
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

/* The length of the next word; a number keeps its unit. */
static size_t word_length(const char *text) {
    size_t length = strcspn(text, " ");
    while (length && text[length] && text[length - 1] >= '0' && text[length - 1] <= '9')
        length += 1 + strcspn(text + length + 1, " ");
    return length;
}

/* Text in lines of at most 80 columns. */
static void print_wrapped(const char *first, const char *next, const char *text) {
    size_t used = strlen(first);
    output_print("%s", first);
    while (*text) {
        size_t word = word_length(text);
        if (used > strlen(next) && used + 1 + word > 80) {
            output_print("\n%s", next);
            used = strlen(next);
        } else if (used > strlen(next)) {
            output_print(" ");
            used++;
        }
        output_bytes(text, word);
        used += word;
        text += word + (text[word] == ' ');
    }
    output_print("\n");
}

static void print_head(const struct machine *machine) {
    char text[512];
    int here = machine->cpus[0].number, there = machine->cpus[1].number;
    int length = snprintf(text, sizeof(text), "%s, %s, ", machine->model, machine->kernel);
    snprintf(text + length, sizeof(text) - (size_t)length, here == there ? "CPU %d" : "CPUs %d and %d", here, there);
    print_wrapped("", "", text);
    if (here != there)
        print_wrapped("", "", "standing, walking: what bare cache lines need meanwhile (tarn help bench)");
}

static bool run_parts(struct run *run) {
    static bool (*const functions[PARTS])(struct run *, int64_t) = {run_latency, run_stream, run_fanout, run_wakeup};
    if (run->results->machine.is_one_cpu)
        return run_asleep(run, run->end_ns);
    double weights = 0;
    for (int part = 0; part < PARTS; part++)
        weights += run->results->parts[part] ? part_weights[part] : 0;
    for (int part = 0; part < PARTS; part++) {
        int64_t now = clock_ns();
        if (!run->results->parts[part])
            continue;
        if (!functions[part](run, now + (int64_t)((double)(run->end_ns - now) * part_weights[part] / weights)))
            return false;
        weights -= part_weights[part];
    }
    return true;
}

static void print_verdict(const struct verdict *verdict) {
    output_print("\n");
    for (size_t i = 0; i < verdict->count; i++)
        print_wrapped("* ", "  ", verdict->sentences[i].text);
}

static void sweep(const char *directory) {
    struct inspect_sweep ignored;
    inspect_sweep(&ignored, directory, NULL);
}

static void measure(struct run *run, struct bench_cpus cpus) {
    static struct verdict verdict;
    struct results *results = run->results;
    die_tidily();
    bench_place_sweep = sweep;
    bench_place_open();
    if (run->print)
        print_head(&results->machine);
    output_flush(); /* before the fork, which would double it */
    int64_t start_ns = clock_ns();
    run->end_ns = start_ns + (int64_t)(run->seconds * 1e9);
    bench_pair_start(&run->pair, cpus);
    struct machine_use before = machine_use_read(&results->machine);
    if (!run_parts(run))
        return;
    bench_pair_stop(&run->pair);
    struct machine_use after = machine_use_read(&results->machine);
    double all_s = (double)(after.at_ns - before.at_ns) / 1e9 * (results->machine.is_one_cpu ? 1 : 2);
    results->others_share = (after.busy_s - before.busy_s - (after.own_s - before.own_s)) / all_s;
    results->stolen_share = (after.stolen_s - before.stolen_s) / all_s;
    results->throttled = after.throttled - before.throttled;
    results->took_s = (double)(clock_ns() - start_ns) / 1e9;
    sum_up(&results->floors);
    verdict_make(&verdict, results);
    if (run->print)
        print_verdict(&verdict);
    else
        bench_json_print(results, &verdict);
}

/* ---- the command line ----------------------------------------------------------------------------------------- */

enum { OPTION_JSON = OPTION_FIRST, OPTION_CPUS, OPTION_QUICK, OPTION_SECONDS };

static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                        {"cpus", required_argument, NULL, OPTION_CPUS},
                                        {"quick", no_argument, NULL, OPTION_QUICK},
                                        {"seconds", required_argument, NULL, OPTION_SECONDS},
                                        HELP_OPTION};

struct wishes {
    bool json, quick;
    double seconds; /* 0: not said */
    struct bench_cpus cpus;
    bool cpus_said;
};

static bool set_cpus(const char *text, struct wishes *wishes) {
    char end;
    wishes->cpus_said = true;
    if (sscanf(text, "%d,%d%c", &wishes->cpus.here, &wishes->cpus.there, &end) == 2 && wishes->cpus.here >= 0 &&
        wishes->cpus.there >= 0)
        return true;
    say("--cpus: '%s' is not two numbers of CPUs, such as 0,1", text);
    return false;
}

static bool set(int option, const char *argument, void *context) {
    struct wishes *wishes = context;
    switch (option) {
    case OPTION_JSON:
        return wishes->json = true;
    case OPTION_QUICK:
        return wishes->quick = true;
    case OPTION_CPUS:
        return set_cpus(argument, wishes);
    case OPTION_SECONDS:
        if (!argument_number("seconds", argument, &wishes->seconds))
            return false;
        if (wishes->seconds >= 1 && wishes->seconds <= SECONDS_MOST)
            return true;
        say("--seconds: '%s' is not a number from 1 to %d", argument, SECONDS_MOST);
    }
    return false;
}

/* Marks what was chosen. Returns -1 to go on, or an exit code. */
static int choose_parts(struct run *run, char **names) {
    bool all = !*names;
    for (int part = 0; part < PARTS; part++)
        run->results->parts[part] = all;
    for (; *names; names++) {
        int part = 0;
        while (part < PARTS && strcmp(*names, part_names[part]) != 0)
            part++;
        if (part == PARTS)
            return usage_error(&verb_bench, "'%s' is none of latency, stream, fanout, wakeup", *names);
        run->chosen[part] = run->results->parts[part] = true;
    }
    return -1;
}

/* What cannot be measured on one CPU is refused if it was asked for by name. */
static int check_cpus(const struct run *run, struct bench_cpus cpus, bool said) {
    const char *why;
    for (int i = 0; i < 2; i++) {
        int cpu = i ? cpus.there : cpus.here;
        if (!machine_cpu_usable(cpu, &why)) {
            say("CPU %d cannot be used: %s; those that may be are %s", cpu, why, run->results->machine.allowed);
            return EXIT_FAILED;
        }
    }
    for (int part = PART_STREAM; part <= PART_FANOUT && cpus.here == cpus.there; part++)
        if (run->chosen[part]) {
            say("%s needs two CPUs, and %s; 'tarn bench latency' measures what one can do", part_names[part],
                said ? "--cpus names one" : "this process may use one only (taskset, cgroup)");
            return EXIT_FAILED;
        }
    return -1;
}

static int run_verb(int argc, char **argv) {
    static struct results results;
    static struct run run = {.results = &results};
    struct wishes wishes = {.json = false};
    struct place unused;
    int code = arguments_parse(&verb_bench, argc, argv, &unused, set, &wishes);
    if (code >= 0 || (code = choose_parts(&run, argv + optind)) >= 0)
        return code;
    if (wishes.quick && wishes.seconds > 0)
        return usage_error(&verb_bench, "--quick and --seconds exclude each other");
    struct bench_cpus cpus = wishes.cpus_said ? wishes.cpus : machine_cpus_choose();
    machine_read(&results.machine, cpus);
    if ((code = check_cpus(&run, cpus, wishes.cpus_said)) >= 0)
        return code;
    run.print = !wishes.json;
    run.seconds = wishes.seconds;
    for (int part = 0; part < PARTS && wishes.seconds == 0; part++)
        run.seconds += results.parts[part] ? part_weights[part] * (wishes.quick ? QUICK_SECONDS : DEFAULT_SECONDS) : 0;
    measure(&run, cpus);
    return EXIT_OK;
}

const struct verb verb_bench = {
    "bench",
    "measures how fast this machine passes messages, and says what limits it",
    "usage: tarn bench [latency|stream|fanout|wakeup]... [OPTION...]\n"
    "\n"
    "Measures for some seconds how fast two processes on this machine pass messages, beside what its hardware needs "
    "at\n"
    "least, and says in plain sentences what limits the figures and what to do. Two CPUs are busy meanwhile. Topics "
    "of\n"
    "others are not touched, and nothing is left behind.\n"
    "\n"
    "examples\n"
    "  tarn bench                        everything, about 9 seconds\n"
    "  tarn bench --quick                coarser, about 3 seconds\n"
    "  tarn bench latency --cpus 0,4     between these two CPUs; 'lscpu -e' lists CPUs, cores and caches\n"
    "  tarn bench --json | jq '.latency[] | [.bytes, .p50_ns, .to_walking]'\n"
    "\n"
    "parts\n"
    "  latency             one way by size: half of a round trip; receivers spin, the first cache line is touched\n"
    "  stream              messages in one direction, nothing lost, everything written and read\n"
    "  fanout              what a send costs with many subscribers, all awake\n"
    "  wakeup              one way to a subscriber that sleeps, beside a bare futex and a bare FIFO\n"
    "\n"
    "columns\n"
    "  standing, walking   what the CPUs need to pass a cache line at all, one way, in the same moments: two fixed "
    "lines;\n"
    "                      always the next line, as in any log. Hosts of virtual machines move CPUs: then times "
    "change,\n"
    "                      and ratios hardly\n"
    "  /walking            p50 divided by it\n"
    "  !                   the floors never agreed: the machine was not steady\n"
    "\n"
    "options\n"
    "  --cpus A,B          sender and receiver run on these (default: the first allowed, and the nearest of another\n"
    "                      core). Where there is one CPU only, both run on it, and receivers sleep\n"
    "  --seconds N         so long in all, 1 to 60 (default: 8 for everything)\n"
    "  --quick             3 seconds for everything\n"
    "  --json              as JSON, whose fields stay as they are. What was not measured, or is not known, is null\n"
    "                        version, took_s,\n"
    "                        machine: cpu_model, kernel, virtual, clock_ghz, allowed_cpus, quota_cpus, load_1min,\n"
    "                          others_share, stolen_share (of the two CPUs' time), throttled (times),\n"
    "                        cpus: [cpu, package, core_cpus, cache_cpus (that share it), governor, frequency_driver,\n"
    "                          idle_state, idle_exit_us],\n"
    "                        floors: measured (how often), standing_p10_ns, standing_p90_ns, walking_p10_ns,\n"
    "                          walking_p90_ns, additions_p10_per_ns, additions_p90_per_ns (the CPUs' speed),\n"
    "                        latency: [bytes, p50_ns, p99_ns, p99_9_ns, max_ns, mean_ns, samples, standing_ns,\n"
    "                          walking_ns, rounds_kept, rounds_thrown (the floors disagreed), to_walking],\n"
    "                        stream: [bytes, messages_per_s, bytes_per_s, and from standing_ns to rounds_thrown],\n"
    "                        fanout: [subscribers, p50_ns, p99_ns, mean_ns, samples, one_p50_ns, one_p99_ns,\n"
    "                          one_mean_ns (with one subscriber, in the same moments)],\n"
    "                        wakeup: [asleep_in (futex, receive, fifo, fd), and from p50_ns to samples],\n"
    "                        asleep: [bytes, from p50_ns to samples, pipe_p50_ns, pipe_p99_ns] (where there is one\n"
    "                          CPU only, in place of the four: one way, receivers sleep, and a pipe's beside it),\n"
    "                        verdict: [name (limit, far, moved, ...), text]\n"
    "  --help              this page\n"
    "\n"
    "Figures never decide about the exit code: it is 0 if all was measured. More in 'tarn help'.\n",
    options,
    run_verb,
};
