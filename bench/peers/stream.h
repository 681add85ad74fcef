/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Streams of small messages for peers of which a message costs some nanoseconds: the loops stand in the peer itself,
 * where loan, send, take and done are called, or inlined, as a user's code would. Through pointers, as compare.c calls
 * them, a message of 8 bytes costs up to half as much again; a peer that brings its own loops (Aeron) does not pay for
 * that either.
 *
 *     #include "stream.h"       behind the four functions; and in the table:
 *     .send_many = stream_send, .take_until = stream_take,
 */
#ifndef TARN_BENCH_STREAM_H
#define TARN_BENCH_STREAM_H

#include <string.h>

#include "peer.h"

/* As bench_payload_write() and _check(): word i is the seed and i. */
static inline void stream_write(char *data, size_t bytes, uint64_t seed) {
    for (size_t i = 0; i < bytes; i += sizeof(seed), seed++) {
        memcpy(data + i, &seed, sizeof(seed));
    }
}

static inline bool stream_is(const char *data, size_t bytes, uint64_t seed) {
    uint64_t wrong = 0, word;
    for (size_t i = 0; i < bytes; i += sizeof(word), seed++) {
        memcpy(&word, data + i, sizeof(word));
        wrong |= word ^ seed;
    }
    return wrong == 0;
}

#define STREAM_SIZES(with_bytes) (bytes == 8 ? with_bytes(8) : bytes == 64 ? with_bytes(64) : with_bytes(bytes))

static inline __attribute__((always_inline)) void stream_send_sized(void *sender, size_t bytes, uint64_t seed,
                                                                    uint64_t count) {
    for (uint64_t end = seed + count; seed != end; seed++) {
        stream_write(loan(sender), bytes, seed);
        send_message(sender);
    }
}

static void stream_send(void *sender, size_t bytes, uint64_t seed, uint64_t count) {
#define SEND(size) stream_send_sized(sender, size, seed, count)
    STREAM_SIZES(SEND);
#undef SEND
}

static inline __attribute__((always_inline)) uint64_t stream_take_sized(void *receiver, size_t bytes, uint64_t seed,
                                                                        uint64_t *ret_word) {
    for (;; seed++) {
        const char *data;
        while ((data = take(receiver, false)) == NULL) {
            peer_relax();
        }
        bool right = stream_is(data, bytes, seed);
        if (__builtin_expect(!right, 0)) {
            memcpy(ret_word, data, sizeof(*ret_word));
        }
        done(receiver);
        if (__builtin_expect(!right, 0)) {
            return seed;
        }
    }
}

static uint64_t stream_take(void *receiver, size_t bytes, uint64_t seed, uint64_t *ret_word) {
#define TAKE(size) stream_take_sized(receiver, size, seed, ret_word)
    return STREAM_SIZES(TAKE);
#undef TAKE
}

#undef STREAM_SIZES

#endif
