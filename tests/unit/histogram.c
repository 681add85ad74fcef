/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Times by size: no percentile is below the exact one, nor more than 1/32 above it; rows have what is in them. */
#include <stdlib.h>
#include <string.h>

#include "cli/histogram.h"
#include "harness.h"

static int by_size(const void *a, const void *b) {
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return first < second ? -1 : first > second;
}

/* Of count times, sorted: the least one that so many percent are not above. */
static uint64_t exactly(const uint64_t *times, unsigned count, double percent) {
    unsigned rank = 0;
    while (rank + 1 < count && (double)(rank + 1) < count * percent / 100)
        rank++;
    return times[rank];
}

TEST(percentiles_are_near) {
    enum { TIMES = 5000 };
    static const double percents[] = {0, 1, 50, 90, 99, 99.9, 100};
    struct random random = random_start(1);
    uint64_t *times = malloc(TIMES * sizeof *times);
    for (unsigned bits = 1; bits <= 63; bits++) {
        struct histogram histogram = {.count = 0};
        for (unsigned i = 0; i < TIMES; i++) {
            times[i] = random_next(&random) >> (64 - random_between(&random, 1, bits));
            histogram_add(&histogram, times[i]);
        }
        qsort(times, TIMES, sizeof *times, by_size);
        CHECK(histogram.least_ns == times[0] && histogram.most_ns == times[TIMES - 1]);
        for (unsigned i = 0; i < sizeof percents / sizeof percents[0]; i++) {
            uint64_t exact = exactly(times, TIMES, percents[i]), got = histogram_percentile(&histogram, percents[i]);
            set_context("%u bits, %g percent: exactly %llu, got %llu", bits, percents[i], (unsigned long long)exact,
                        (unsigned long long)got);
            CHECK(got >= exact && got - exact <= exact / 32);
        }
    }
    free(times);
}

TEST(rows_have_what_is_in_them) {
    struct histogram histogram = {.count = 0};
    for (unsigned row = 0; row < HISTOGRAM_ROWS; row++) {
        histogram_add(&histogram, histogram_row_start(row));
        if (row > 0)
            histogram_add(&histogram, histogram_row_start(row) - 1);
    }
    CHECK_INT(histogram_row_start(1), ==, 1);
    CHECK_INT(histogram_row_start(6), ==, 50);
    for (unsigned row = 0; row < HISTOGRAM_ROWS; row++)
        CHECK_INT(histogram.rows[row], ==, row + 1 < HISTOGRAM_ROWS ? 2 : 1);
}

TEST(times_for_the_eye) {
    static const struct {
        uint64_t ns;
        const char *text;
    } known[] = {{0, "0 ns"},         {999, "999 ns"},        {1000, "1.00 us"},    {9994, "9.99 us"},
                 {9995, "10.0 us"},   {99949, "99.9 us"},     {99950, "100 us"},    {999499, "999 us"},
                 {999500, "1.00 ms"}, {1500000000, "1.50 s"}, {123000000, "123 ms"}};
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
        set_context("%s, got %s", known[i].text, human_ns(known[i].ns));
        CHECK(strcmp(human_ns(known[i].ns), known[i].text) == 0);
    }
}
