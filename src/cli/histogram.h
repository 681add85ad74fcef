/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Times, counted by size: percentiles within 3 % (each power of two has 32 steps; least and most are exact), and rows
 * of 1, 2, 5, 10... ns for the eye.
 */
#ifndef TARN_CLI_HISTOGRAM_H
#define TARN_CLI_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>

enum { HISTOGRAM_STEPS = 32, HISTOGRAM_BUCKETS = 60 * HISTOGRAM_STEPS, HISTOGRAM_ROWS = 34 };

struct histogram {
    uint64_t count;
    uint64_t least_ns, most_ns; /* of count > 0 */
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t rows[HISTOGRAM_ROWS]; /* row 0: below 1 ns */
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/* The time that so many percent of all are not above; 0 if there is none. At most 3 % more than exactly that. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);
/* Where a row begins; it ends where the next one begins, but the last one has no end. */
uint64_t histogram_row_start(unsigned row);

/* How many rows there are, from the first to the last that has something. */
unsigned histogram_lines(const struct histogram *histogram);
/* Prints the rows, from the first to the last that has something, and how many lines that were. */
unsigned histogram_print(const struct histogram *histogram, unsigned width, bool utf8);

/* "1.5 us", in a buffer that lives until it was called four more times. */
const char *human_ns(uint64_t ns);

#endif
