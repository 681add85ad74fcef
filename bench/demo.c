/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The table of script/demo: how long a message takes from one process to another, through tarn and through a pipe, by
 * size, as a bar chart for people. Every byte is written by the sender and read and checked by the receiver, in both.
 * Receivers are awake (polling) in both; what a sleeping one needs is said below the table, also for both.
 */
#include "common.h"

#include "tarn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLES 400000
#define TURNS 3
#define LEAST_EXPONENT 1 /* bars begin at 10 ns */
#define MOST_EXPONENT 8  /* and end at 100 ms */
#define COLUMNS_PER_DECADE 7

static const uint64_t sizes[] = {64, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20};

struct look {
    bool unicode;
    const char *tarn_color, *pipe_color, *plain;
};

static struct look choose_look(const char *ascii) {
    const char *locale = getenv("LC_ALL");
    if (locale == NULL || *locale == '\0') {
        locale = getenv("LC_CTYPE");
    }
    if (locale == NULL || *locale == '\0') {
        locale = getenv("LANG");
    }
    bool utf8 = locale != NULL && (strstr(locale, "UTF-8") != NULL || strstr(locale, "utf8") != NULL);
    const char *no_color = getenv("NO_COLOR");
    bool color = isatty(STDOUT_FILENO) && (no_color == NULL || *no_color == '\0');
    return (struct look){
        .unicode = utf8 && ascii == NULL,
        .tarn_color = color ? "\033[36m" : "",
        .pipe_color = color ? "\033[33m" : "",
        .plain = color ? "\033[0m" : "",
    };
}

/* A bar whose length is the logarithm of the time. Unicode has blocks of an eighth of a column. */
static void print_bar(const struct look *look, double ns) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double columns = (log10(ns) - LEAST_EXPONENT) * COLUMNS_PER_DECADE;
    double most = (MOST_EXPONENT - LEAST_EXPONENT) * COLUMNS_PER_DECADE;
    columns = columns < 0 ? 0 : columns > most ? most : columns;
    int steps = (int)(columns * 8 + 0.5);
    for (int i = 0; i < steps / 8; i++) {
        fputs(look->unicode ? "█" : "#", stdout);
    }
    if (look->unicode) {
        fputs(eighths[steps % 8], stdout);
    }
}

static void print_line(const struct look *look, const char *color, const char *size, const char *who, double ns) {
    char time[32];
    printf("  %7s  %s  %8s  %s", size, who, bench_format_ns(time, sizeof(time), ns), color);
    print_bar(look, ns);
    printf("%s", look->plain);
}

static void print_scale(void) {
    static const char *const names[] = {"10 ns", "100 ns", "1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms"};
    printf("  %25s", "");
    for (size_t i = 0; i + 1 < BENCH_COUNT(names); i++) {
        printf("|%-*s", COLUMNS_PER_DECADE - 1, names[i]);
    }
    printf("|%s\n", names[BENCH_COUNT(names) - 1]);
}

struct times {
    double tarn_ns, pipe_ns;
};

/* Both in turns, so that what the host or other programs do meanwhile meets both. */
static struct times measure(struct bench_pair *pair, uint64_t bytes, bool polling, int64_t duration_ns) {
    static struct bench_samples samples[2];
    const struct bench_pingpong options = {
        .bytes = (size_t)bytes,
        .touch = BENCH_TOUCH_FULL,
        .wait_strategy = polling ? TARN_WAIT_SPIN : TARN_WAIT_SLEEP,
    };
    for (int way = 0; way < 2; way++) {
        if (samples[way].values == NULL) {
            bench_samples_open(&samples[way], SAMPLES);
        }
    }
    bench_pingpong_open(pair, &options);
    bench_pipe_run(pair, (size_t)bytes, polling, 3, 0, &samples[1]); /* warm up */
    samples[0].count = samples[1].count = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        bench_pingpong_run(pair, UINT64_MAX, duration_ns / TURNS, &samples[0]);
        bench_pipe_run(pair, (size_t)bytes, polling, UINT64_MAX, duration_ns / TURNS, &samples[1]);
    }
    bench_pingpong_close(pair);
    return (struct times){bench_samples_summary(&samples[0], 2).p50, bench_samples_summary(&samples[1], 2).p50};
}

static void print_size(const struct look *look, uint64_t bytes, struct times times) {
    char size[32];
    print_line(look, look->tarn_color, bench_format_bytes(size, sizeof(size), bytes), "tarn", times.tarn_ns);
    printf("\n");
    print_line(look, look->pipe_color, "", "pipe", times.pipe_ns);
    printf("  %.1f x\n", times.pipe_ns / times.tarn_ns);
    fflush(stdout);
}

int main(int argc, char **argv) {
    const char *milliseconds = "150", *ascii = NULL, *cpus = NULL, *json = NULL;
    const struct bench_option options[] = {
        {"--milliseconds", "MS", "time per size and way (150)", &milliseconds},
        {"--ascii", NULL, "bars of #, even if the terminal has Unicode", &ascii},
        {"--cpus", "A,B", "the two CPUs to run on", &cpus},
        {"--json", "FILE", "write the results to FILE", &json},
    };
    bench_options_parse(argc, argv, "one message from process to process, through tarn and through a pipe", options,
                        BENCH_COUNT(options));
    struct look look = choose_look(ascii);
    int64_t duration_ns = (int64_t)(bench_parse_number(milliseconds) * 1e6);
    struct bench_cpus chosen = bench_cpus_choose(cpus);
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, chosen);
    struct bench_report *report = bench_report_open("demo", json, NULL);
    for (size_t i = 0; i < BENCH_COUNT(sizes); i++) {
        struct times times = measure(&pair, sizes[i], true, duration_ns);
        print_size(&look, sizes[i], times);
        bench_report_row(report, "polling", "bytes", (double)sizes[i], "tarn_ns", times.tarn_ns, "pipe_ns",
                         times.pipe_ns, NULL);
    }
    print_scale();
    char tarn_text[32], pipe_text[32];
    struct times asleep = measure(&pair, 64, false, duration_ns);
    printf("\n  With receivers asleep, whom the kernel must wake, 64 B take %s through tarn and %s through a pipe.\n",
           bench_format_ns(tarn_text, sizeof(tarn_text), asleep.tarn_ns),
           bench_format_ns(pipe_text, sizeof(pipe_text), asleep.pipe_ns));
    bench_report_row(report, "sleeping", "bytes", 64.0, "tarn_ns", asleep.tarn_ns, "pipe_ns", asleep.pipe_ns, NULL);
    bench_report_close(report);
    bench_pair_stop(&pair);
    return 0;
}
