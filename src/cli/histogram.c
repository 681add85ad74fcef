/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See histogram.h. */
#include "cli/histogram.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* ---- counting ------------------------------------------------------------------------------------------------- */

/* Below 32 ns each has its own; from there each power of two has 32. */
static unsigned bucket_of(uint64_t ns) {
    if (ns < HISTOGRAM_STEPS)
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - 5;
    return (shift + 1) * HISTOGRAM_STEPS + (unsigned)((ns >> shift) - HISTOGRAM_STEPS);
}

static uint64_t bucket_last(unsigned bucket) {
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    return (((uint64_t)HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS + 1) << shift) - 1;
}

uint64_t histogram_row_start(unsigned row) {
    static const uint64_t starts[] = {1, 2, 5};
    uint64_t start = row == 0 ? 0 : starts[(row - 1) % 3];
    for (unsigned decade = row ? (row - 1) / 3 : 0; decade > 0; decade--)
        start *= 10;
    return start;
}

static unsigned row_of(uint64_t ns) {
    unsigned row = 0;
    while (row + 1 < HISTOGRAM_ROWS && ns >= histogram_row_start(row + 1))
        row++;
    return row;
}

void histogram_add(struct histogram *histogram, uint64_t ns) {
    if (histogram->count == 0 || ns < histogram->least_ns)
        histogram->least_ns = ns;
    if (ns > histogram->most_ns)
        histogram->most_ns = ns;
    histogram->count++;
    histogram->buckets[bucket_of(ns)]++;
    histogram->rows[row_of(ns)]++;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent) {
    double share = (double)histogram->count * percent / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && histogram->count; i++) {
        seen += histogram->buckets[i];
        if (seen && (double)seen >= share)
            return bucket_last(i) < histogram->most_ns ? bucket_last(i) : histogram->most_ns;
    }
    return histogram->most_ns;
}

/* ---- showing -------------------------------------------------------------------------------------------------- */

const char *human_ns(uint64_t ns) {
    static const char *const units[] = {"ns", "us", "ms", "s"};
    static char texts[4][32];
    static unsigned next;
    char *text = texts[next++ % 4];
    double value = (double)ns;
    int unit = 0;
    for (; value >= 999.5 && unit < 3; unit++)
        value /= 1000;
    snprintf(text, sizeof(texts[0]), "%.*f %s",
             unit == 0 || value >= 99.95 ? 0
             : value >= 9.995            ? 1
                                         : 2,
             value, units[unit]);
    return text;
}

/* "500 ns", "2 us": rows start at whole numbers of something. */
static void print_start(unsigned row) {
    static const char *const units[] = {"ns", "us", "ms", "s"};
    uint64_t ns = histogram_row_start(row);
    int unit = 0;
    for (; ns >= 1000 && ns % 1000 == 0 && unit < 3; unit++)
        ns /= 1000;
    output_print("%5" PRIu64 " %-2s", ns, units[unit]);
}

/* In eighths of a character, where the terminal has them; what is there at all is seen. */
static void print_bar(uint64_t count, uint64_t most, unsigned width, bool utf8) {
    static const char *const parts[] = {"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589"};
    unsigned steps = utf8 ? 8 : 1;
    unsigned length = (unsigned)((double)count / (double)most * width * steps + 0.5);
    if (length == 0 && count)
        length = 1;
    for (unsigned i = 0; i < length / steps; i++)
        output_print("%s", utf8 ? "\u2588" : "#");
    output_print("%s\n", parts[length % steps]);
}

unsigned histogram_lines(const struct histogram *histogram) {
    return histogram->count ? row_of(histogram->most_ns) - row_of(histogram->least_ns) + 1 : 0;
}

unsigned histogram_print(const struct histogram *histogram, unsigned width, bool utf8) {
    enum { BEFORE_BAR = 36 };
    unsigned first = row_of(histogram->least_ns), last = row_of(histogram->most_ns);
    uint64_t most = 0;
    for (unsigned row = first; row <= last; row++)
        most = histogram->rows[row] > most ? histogram->rows[row] : most;
    for (unsigned row = first; histogram->count && row <= last; row++) {
        print_start(row);
        output_print(row + 1 < HISTOGRAM_ROWS ? " .. " : " and more  ");
        if (row + 1 < HISTOGRAM_ROWS)
            print_start(row + 1);
        output_print(" %10" PRIu64 "  ", histogram->rows[row]);
        print_bar(histogram->rows[row], most, width > BEFORE_BAR + 10 ? width - BEFORE_BAR : 10, utf8);
    }
    return histogram_lines(histogram);
}
