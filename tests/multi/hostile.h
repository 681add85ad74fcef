/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the tests with a participant that writes nonsense to shared memory have in common. */
#ifndef TARN_TESTS_MULTI_HOSTILE_H
#define TARN_TESTS_MULTI_HOSTILE_H

#include "common.h"
#include "shm/layout.h"

/* Whatever is documented as a result will do. */
static inline bool is_well(int result) {
    if (result < 0 && (result > TARN_ERROR_ARGUMENT || result < TARN_ERROR_SYSTEM))
        FAIL("%d is no result: %s", result, tarn_error());
    return result >= 0;
}

static inline void spin_ns(int64_t ns) {
    for (int64_t end = now_ns() + ns; now_ns() < end;)
        atomic_signal_fence(memory_order_seq_cst);
}

/* Reads some of it, as a user would: that is memory that may be read, whatever it says. */
static inline uint64_t sum_of(const tarn_message *message) {
    uint64_t sum = 0;
    for (size_t at = 0; at < message->bytes; at += CACHE_LINE_BYTES)
        sum += ((const unsigned char *)message->data)[at];
    return sum;
}

#endif
