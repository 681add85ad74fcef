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

static double tarn_ns(struct bench_pair *pair, uint64_t bytes, uint32_t wait_strategy, int64_t duration_ns,
                      struct bench_samples *samples) {
    struct bench_pingpong options = {
        .bytes = (size_t)bytes, .touch = BENCH_TOUCH_FULL, .wait_strategy = wait_strategy};
    samples->count = 0;
    bench_pingpong_open(pair, &options);
    bench_pingpong_run(pair, UINT64_MAX, duration_ns, samples);
    bench_pingpong_close(pair);
    return bench_samples_summary(samples, 2).p50;
}

static double pipe_ns(struct bench_pair *pair, uint64_t bytes, bool spin, int64_t duration_ns,
                      struct bench_samples *samples) {
    samples->count = 0;
    bench_pipe_run(pair, (size_t)bytes, spin, 3, 0, samples); /* warm up */
    samples->count = 0;
    bench_pipe_run(pair, (size_t)bytes, spin, UINT64_MAX, duration_ns, samples);
    return bench_samples_summary(samples, 2).p50;
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
    bench_place_open();
    struct bench_pair pair;
    bench_pair_start(&pair, bench_cpus_choose(cpus));
    struct bench_samples samples;
    bench_samples_open(&samples, SAMPLES);
    struct bench_report *report = bench_report_open("demo", json, NULL);
    for (size_t i = 0; i < BENCH_COUNT(sizes); i++) {
        char size[32];
        double tarn = tarn_ns(&pair, sizes[i], TARN_WAIT_SPIN, duration_ns, &samples);
        double pipe = pipe_ns(&pair, sizes[i], true, duration_ns, &samples);
        print_line(&look, look.tarn_color, bench_format_bytes(size, sizeof(size), sizes[i]), "tarn", tarn);
        printf("\n");
        print_line(&look, look.pipe_color, "", "pipe", pipe);
        printf("  %.1f x\n", pipe / tarn);
        fflush(stdout);
        bench_report_row(report, "polling", "bytes", (double)sizes[i], "tarn_ns", tarn, "pipe_ns", pipe, NULL);
    }
    print_scale();
    char tarn_text[32], pipe_text[32];
    double tarn = tarn_ns(&pair, 64, TARN_WAIT_SLEEP, duration_ns, &samples);
    double pipe = pipe_ns(&pair, 64, false, duration_ns, &samples);
    printf("\n  With receivers asleep, whom the kernel must wake, 64 B take %s through tarn and %s through a pipe.\n",
           bench_format_ns(tarn_text, sizeof(tarn_text), tarn), bench_format_ns(pipe_text, sizeof(pipe_text), pipe));
    bench_report_row(report, "sleeping", "bytes", 64.0, "tarn_ns", tarn, "pipe_ns", pipe, NULL);
    bench_report_close(report);
    bench_samples_close(&samples);
    bench_pair_stop(&pair);
    return 0;
}
