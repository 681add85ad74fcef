/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Samples and their percentiles.
 *
 * A counter may advance in steps (26 ticks, 10 ns, on Zen 4), so many samples are equal, and a plain median of round
 * trips would jump by 5 ns one way: too coarse to tell 60 ns from 65 ns. A percentile is therefore taken within its
 * step: a sample of value v stands for the range from v - step / 2 to v + step / 2, and equal ones are spread over it.
 */
#include "common.h"

#include <stdlib.h>
#include <string.h>

void bench_samples_open(struct bench_samples *samples, size_t capacity) {
    samples->values = malloc(capacity * sizeof(uint64_t));
    if (samples->values == NULL) {
        bench_fail("no memory for %zu samples", capacity);
    }
    memset(samples->values, 1, capacity * sizeof(uint64_t));
    samples->count = 0;
    samples->capacity = capacity;
    samples->in_ns = false;
}

void bench_samples_close(struct bench_samples *samples) {
    free(samples->values);
    *samples = (struct bench_samples){0};
}

void bench_samples_append(struct bench_samples *samples, const struct bench_samples *more) {
    for (size_t i = 0; i < more->count; i++) {
        bench_samples_add(samples, more->values[i]);
    }
}

static int compare_ticks(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double percentile(const struct bench_samples *sorted, double part) {
    double rank = part * (double)sorted->count;
    size_t at = (size_t)rank < sorted->count ? (size_t)rank : sorted->count - 1;
    uint64_t value = sorted->values[at];
    size_t first = at, end = at + 1;
    while (first > 0 && sorted->values[first - 1] == value) {
        first--;
    }
    while (end < sorted->count && sorted->values[end] == value) {
        end++;
    }
    double within = (rank - (double)first) / (double)(end - first);
    within = within < 0 ? 0 : within > 1 ? 1 : within;
    return (double)value + (within - 0.5) * (sorted->in_ns ? 1 : bench_tick_step());
}

struct bench_summary bench_samples_summary(struct bench_samples *samples, double parts) {
    struct bench_summary summary = {.count = samples->count};
    if (samples->count == 0) {
        return summary;
    }
    qsort(samples->values, samples->count, sizeof(uint64_t), compare_ticks);
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++) {
        sum += (double)samples->values[i];
    }
    double scale = (samples->in_ns ? 1 : bench_ns_per_tick()) / parts;
    summary.p50 = percentile(samples, 0.50) * scale;
    summary.p99 = percentile(samples, 0.99) * scale;
    summary.p999 = percentile(samples, 0.999) * scale;
    summary.max = (double)samples->values[samples->count - 1] * scale;
    summary.mean = sum / (double)samples->count * scale;
    return summary;
}

double bench_median(double *values, size_t count) {
    if (count == 0) {
        return 0;
    }
    qsort(values, count, sizeof(double), compare_doubles);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
