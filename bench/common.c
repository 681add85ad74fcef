/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Failing, CPUs, clocks, numbers and command line options of the measuring programs.
 */
#define _GNU_SOURCE
#include "common.h"

#include "tarn.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *bench_program = "bench";

_Noreturn void bench_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "%s: ", bench_program);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

_Noreturn void bench_fail_call(int result, const char *what) {
    const char *why = result < 0 ? tarn_error() : "nothing came in time";
    bench_fail("%s: %s (%s)", what, tarn_status_text(result), why);
}

/* ---- CPUs ----------------------------------------------------------------------------------------------------- */

int bench_cpus_allowed(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

struct bench_cpus bench_cpus_choose(const char *text) {
    struct bench_cpus cpus = {-1, -1};
    if (text != NULL) {
        if (sscanf(text, "%d,%d", &cpus.here, &cpus.there) != 2) {
            bench_fail("--cpus takes two numbers such as 0,1, not \"%s\"", text);
        }
        return cpus;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof(set), &set);
    for (int cpu = 0; cpu < CPU_SETSIZE && cpus.there < 0; cpu++) {
        if (CPU_ISSET(cpu, &set)) {
            *(cpus.here < 0 ? &cpus.here : &cpus.there) = cpu;
        }
    }
    if (cpus.there < 0) {
        bench_fail("this needs two CPUs, and may use only one");
    }
    return cpus;
}

void bench_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        bench_fail("cannot run on CPU %d: %s", cpu, strerror(errno));
    }
}

/* ---- clocks --------------------------------------------------------------------------------------------------- */

int64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

double bench_ns_per_tick(void) {
    static double ns_per_tick;
    if (ns_per_tick == 0) {
        int64_t start_ns = bench_now_ns(), end_ns;
        uint64_t start = bench_ticks();
        do {
            end_ns = bench_now_ns();
        } while (end_ns - start_ns < 20 * 1000 * 1000);
        ns_per_tick = (double)(end_ns - start_ns) / (double)(bench_ticks() - start);
    }
    return ns_per_tick;
}

/* The smallest difference that is no accident, if nearly all are multiples of it. */
static uint64_t find_step(void) {
    enum { READINGS = 10000, TICKS_MAX = 256 };
    uint32_t seen[TICKS_MAX] = {0};
    uint64_t last = bench_ticks();
    for (int i = 0; i < READINGS; i++) {
        uint64_t now = bench_ticks();
        seen[now - last < TICKS_MAX ? now - last : 0]++;
        last = now;
    }
    uint64_t step = 1;
    while (step < TICKS_MAX && seen[step] < READINGS / 100) {
        step++;
    }
    uint32_t multiples = 0;
    for (uint64_t ticks = 0; ticks < TICKS_MAX; ticks += step) {
        multiples += seen[ticks];
    }
    return step < TICKS_MAX && multiples > READINGS / 100 * 95 ? step : 1;
}

double bench_tick_step(void) {
    static uint64_t step;
    if (step == 0) {
        step = find_step();
    }
    return (double)step;
}

/* ---- numbers -------------------------------------------------------------------------------------------------- */

static uint64_t parse_bytes_until(const char *text, const char **end) {
    char *after;
    errno = 0;
    unsigned long long value = strtoull(text, &after, 10);
    if (after == text || errno != 0 || *text == '-') {
        bench_fail("\"%s\" is not a number of bytes", text);
    }
    const char *units = "KMG";
    const char *unit = *after != '\0' ? strchr(units, *after) : NULL;
    if (unit != NULL) {
        value <<= 10 * (unit - units + 1);
        after++;
        after += strncmp(after, "iB", 2) == 0 ? 2 : *after == 'B' ? 1 : 0;
    }
    *end = after;
    return value;
}

uint64_t bench_parse_bytes(const char *text) {
    const char *end;
    uint64_t value = parse_bytes_until(text, &end);
    if (*end != '\0') {
        bench_fail("\"%s\" is not a number of bytes", text);
    }
    return value;
}

size_t bench_parse_list(const char *text, uint64_t *ret, size_t capacity) {
    size_t count = 0;
    for (const char *at = text;; at++) {
        if (count == capacity) {
            bench_fail("\"%s\" has more than %zu entries", text, capacity);
        }
        ret[count++] = parse_bytes_until(at, &at);
        if (*at == '\0') {
            return count;
        }
        if (*at != ',') {
            bench_fail("\"%s\" is not a list such as 8,64,4K,1M", text);
        }
    }
}

double bench_parse_number(const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0)) {
        bench_fail("\"%s\" is not a number", text);
    }
    return value;
}

const char *bench_format_bytes(char *buffer, size_t size, uint64_t bytes) {
    static const char *const units[] = {"B", "KB", "MB", "GB"};
    size_t unit = 0;
    while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < BENCH_COUNT(units)) {
        bytes /= 1024;
        unit++;
    }
    snprintf(buffer, size, "%llu %s", (unsigned long long)bytes, units[unit]);
    return buffer;
}

const char *bench_format_ns(char *buffer, size_t size, double ns) {
    static const char *const units[] = {"ns", "us", "ms", "s"};
    size_t unit = 0;
    while (ns >= 999.5 && unit + 1 < BENCH_COUNT(units)) {
        ns /= 1000;
        unit++;
    }
    int digits = unit == 0 || ns >= 99.95 ? 0 : ns >= 9.995 ? 1 : 2;
    snprintf(buffer, size, "%.*f %s", digits, ns, units[unit]);
    return buffer;
}

/* ---- options -------------------------------------------------------------------------------------------------- */

static void print_help(const char *program, const char *purpose, const struct bench_option *options, size_t count) {
    printf("%s: %s\n\nOptions:\n", program, purpose);
    for (size_t i = 0; i < count; i++) {
        char head[64];
        snprintf(head, sizeof(head), "%s %s", options[i].name, options[i].value_name ? options[i].value_name : "");
        printf("  %-22s %s\n", head, options[i].help);
    }
}

void bench_options_parse(int argc, char **argv, const char *purpose, const struct bench_option *options, size_t count) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(argv[0], purpose, options, count);
            exit(0);
        }
        size_t option = 0;
        while (option < count && strcmp(argv[i], options[option].name) != 0) {
            option++;
        }
        if (option == count) {
            bench_fail("\"%s\" is no option; see --help", argv[i]);
        }
        if (options[option].value_name == NULL) {
            *options[option].value = "1";
        } else if (++i < argc) {
            *options[option].value = argv[i];
        } else {
            bench_fail("%s needs a value, %s", options[option].name, options[option].value_name);
        }
    }
}
