/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the tests with threads share: opening handles, and messages whose contents follow from publisher and number.
 * They go through the public API, so ThreadSanitizer sees everything but payloads, which the publisher writes at other
 * addresses than those that subscribers read: contents are checked instead, and one_mapping.c is for the rest.
 */
#ifndef TARN_TESTS_RACE_COMMON_H
#define TARN_TESTS_RACE_COMMON_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define TOPIC "race/topic"

#if defined(__SANITIZE_THREAD__)
#define ROUNDS(normal)                                                                                                 \
    ((normal) / (getenv("TARN_POINTS_SEED") ? 40 : 8)) /* fewer where each is delayed: base/points.h */
#else
#define ROUNDS(normal) (normal)
#endif

#define publisher_with(...)                                                                                            \
    open_publisher(&(tarn_publisher_options){.struct_bytes = sizeof(tarn_publisher_options), __VA_ARGS__})
#define subscriber_with(...)                                                                                           \
    open_subscriber(&(tarn_subscriber_options){.struct_bytes = sizeof(tarn_subscriber_options), __VA_ARGS__})

static inline tarn_publisher *open_publisher(const tarn_publisher_options *options) {
    tarn_publisher *publisher = NULL;
    CHECK_STATUS(tarn_publisher_open(&publisher, TOPIC, options), 0);
    return publisher;
}

static inline tarn_subscriber *open_subscriber(const tarn_subscriber_options *options) {
    tarn_subscriber *subscriber = NULL;
    CHECK_STATUS(tarn_subscriber_open(&subscriber, TOPIC, options), 0);
    return subscriber;
}

static inline pthread_t start(void *(*role)(void *), void *arg) {
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, role, arg), ==, 0);
    return thread;
}

static inline void join(pthread_t thread) {
    CHECK_INT(pthread_join(thread, NULL), ==, 0);
}

/* A message's size and contents follow from its publisher and number. */
static inline uint64_t seed_of(uint64_t publisher, uint64_t sequence) {
    return publisher * 31 + sequence * UINT64_C(0x100000001b3);
}
static inline size_t bytes_of(uint64_t publisher, uint64_t sequence, size_t most) {
    return (seed_of(publisher, sequence) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (most + 1);
}

/* Sends message number sequence; returns as publish does. */
static inline int send_number(tarn_publisher *publisher, uint64_t sequence, size_t most) {
    uint64_t identity = tarn_publisher_identity(publisher);
    tarn_loan loan;
    int result = tarn_publisher_loan(publisher, bytes_of(identity, sequence, most), &loan);
    if (result != 1)
        return result;
    fill_pattern(loan.data, loan.bytes, seed_of(identity, sequence));
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    return 1;
}

static inline void check_message(const tarn_message *message, size_t most) {
    CHECK_INT(message->bytes, ==, bytes_of(message->publisher, message->sequence, most));
    CHECK(check_pattern(message->data, message->bytes, seed_of(message->publisher, message->sequence)));
}

#endif
