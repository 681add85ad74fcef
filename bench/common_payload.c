/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Payload that is really written, and really read: word i is seed + i, so a reader sums all words and knows what the
 * sum must be. A cache line at a time, in vectors of 16 bytes that every compiler has at -O2 on x86-64 and aarch64, so
 * that the loops are not what is measured. Words lie at their natural alignment, 8; bytes after the last whole word
 * carry the seed's.
 */
#include "common.h"

#include <string.h>

typedef uint64_t pair_of_words __attribute__((vector_size(16), aligned(8), may_alias));
#define PAIRS (BENCH_LINE_BYTES / sizeof(pair_of_words))

void bench_payload_write_words(void *data, size_t bytes, uint64_t seed) {
    unsigned char *at = data;
    size_t left = bytes;
    uint64_t word = seed;
    pair_of_words value = {seed, seed + 1};
    for (; left >= BENCH_LINE_BYTES; left -= BENCH_LINE_BYTES, at += BENCH_LINE_BYTES) {
        pair_of_words *line = (pair_of_words *)(void *)at;
        line[0] = value;
        line[1] = value + 2;
        line[2] = value + 4;
        line[3] = value + 6;
        value += 8;
        word += 8;
    }
    for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word), word++) {
        memcpy(at, &word, sizeof(word));
    }
    if (left > 0) {
        memcpy(at, &seed, left);
    }
}

bool bench_payload_check_words(const void *data, size_t bytes, uint64_t seed) {
    const unsigned char *at = data;
    size_t left = bytes;
    pair_of_words sums[PAIRS] = {{0}};
    for (; left >= BENCH_LINE_BYTES; left -= BENCH_LINE_BYTES, at += BENCH_LINE_BYTES) {
        const pair_of_words *line = (const pair_of_words *)(const void *)at;
        sums[0] += line[0];
        sums[1] += line[1];
        sums[2] += line[2];
        sums[3] += line[3];
    }
    sums[0] += sums[1] + sums[2] + sums[3];
    uint64_t sum = sums[0][0] + sums[0][1];
    for (uint64_t word; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        sum += word;
    }
    uint64_t words = bytes / sizeof(uint64_t);
    return sum == words * seed + words * (words - 1) / 2 && (left == 0 || memcmp(at, &seed, left) == 0);
}
