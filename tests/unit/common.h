/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What most unit tests do: open a handle with some options, send a message whose contents follow from its publisher and
 * its sequence number, look at whether what was taken is that message.
 *
 *     tarn_publisher *pub = publisher_with(.depth = 3);
 *     tarn_subscriber *sub = subscriber_with(.reliable = 1);
 */
#ifndef TARN_TESTS_UNIT_COMMON_H
#define TARN_TESTS_UNIT_COMMON_H

#include <inttypes.h>
#include <string.h>

#include "harness.h"

#define TOPIC "unit/topic"
#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)

#define PUBLISHER_OPTIONS(...) (&(tarn_publisher_options){.struct_bytes = sizeof(tarn_publisher_options), __VA_ARGS__})
#define SUBSCRIBER_OPTIONS(...)                                                                                        \
    (&(tarn_subscriber_options){.struct_bytes = sizeof(tarn_subscriber_options), __VA_ARGS__})

/* What tarn_error() says is a sentence of that call, with that word. */
static inline void check_sentence(const char *call, int status, const char *word) {
    const char *sentence = tarn_error();
    if (strlen(sentence) < 10 || strcmp(sentence, tarn_status_text(status)) == 0)
        FAIL("%s: \"%s\" is no sentence", call, sentence);
    if (!strstr(sentence, word))
        FAIL("%s: \"%s\" does not say \"%s\"", call, sentence, word);
}

/* The call fails with that code, and the sentence has that word in it. */
#define CHECK_ERROR(call, expected, word)                                                                              \
    do {                                                                                                               \
        CHECK_STATUS(call, expected);                                                                                  \
        check_sentence(#call, expected, word);                                                                         \
    } while (0)

/* On TOPIC, closing without linger: in one thread nobody reads while we wait. */
#define publisher_with(...) open_publisher(TOPIC, PUBLISHER_OPTIONS(.linger_ns = TARN_IMMEDIATELY, __VA_ARGS__))
#define subscriber_with(...) open_subscriber(TOPIC, SUBSCRIBER_OPTIONS(__VA_ARGS__))

static inline tarn_publisher *open_publisher(const char *topic, const tarn_publisher_options *options) {
    tarn_publisher *publisher = NULL;
    CHECK_STATUS(tarn_publisher_open(&publisher, topic, options), 0);
    CHECK(publisher != NULL);
    return publisher;
}

static inline tarn_subscriber *open_subscriber(const char *topic, const tarn_subscriber_options *options) {
    tarn_subscriber *subscriber = NULL;
    CHECK_STATUS(tarn_subscriber_open(&subscriber, topic, options), 0);
    CHECK(subscriber != NULL);
    return subscriber;
}

/* What the payload of a publisher's message is filled with. */
static inline uint64_t pattern_of(uint64_t publisher, uint64_t sequence) {
    return publisher * 31 + sequence * UINT64_C(0x100000001b3);
}

/* Sends such a message, which is to get that sequence number. Returns what publish would. */
static inline int send_pattern(tarn_publisher *publisher, size_t bytes, uint64_t sequence) {
    tarn_loan loan;
    int result = tarn_publisher_loan(publisher, bytes, &loan);
    if (result != 1)
        return result;
    fill_pattern(loan.data, bytes, pattern_of(tarn_publisher_identity(publisher), sequence));
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    return 1;
}

/* Whether a message has the size and the contents that send_pattern gave it. */
static inline void check_contents(const tarn_message *message, size_t bytes) {
    CHECK_INT(message->bytes, ==, bytes);
    CHECK(check_pattern(message->data, bytes, pattern_of(message->publisher, message->sequence)));
}

static inline void take_one(tarn_subscriber *subscriber, tarn_message *ret) {
    CHECK_STATUS(tarn_subscriber_take(subscriber, ret), 1);
}

static inline void release(tarn_message *message) {
    CHECK_STATUS(tarn_message_release(message), 0);
}

#endif
