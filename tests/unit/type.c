/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Payload types: the first typed participant settles the topic's, whoever differs is refused with both named, untyped
 * ones match all. And the other refusal: publishers that want no reliable subscribers.
 */
#include <stdlib.h>

#include "common.h"
#include "core/inspect.h"
#include "core/type.h"

#define TYPE(...) (&(tarn_type){.struct_bytes = sizeof(tarn_type), __VA_ARGS__})

static tarn_publisher *typed_publisher(const tarn_type *type) {
    return publisher_with(.type = type);
}

static tarn_subscriber *typed_subscriber(const tarn_type *type) {
    return subscriber_with(.type = type);
}

/* Both kinds of participants are refused, and the sentence names the topic and both types. */
static void check_refused(const tarn_type *type, const char *settled, const char *other) {
    tarn_publisher *publisher = NULL;
    tarn_subscriber *subscriber = NULL;
    const char *const words[] = {TOPIC, settled, other};
    for (int kind = 0; kind < 2; kind++) {
        if (kind)
            CHECK_STATUS(tarn_subscriber_open(&subscriber, TOPIC, SUBSCRIBER_OPTIONS(.type = type)), TARN_ERROR_TYPE);
        else
            CHECK_STATUS(tarn_publisher_open(&publisher, TOPIC, PUBLISHER_OPTIONS(.type = type)), TARN_ERROR_TYPE);
        for (int i = 0; i < 3; i++)
            if (!strstr(tarn_error(), words[i]))
                FAIL("\"%s\" does not say \"%s\"", tarn_error(), words[i]);
        CHECK(!publisher && !subscriber);
    }
}

static void check_transfer(tarn_publisher *publisher, tarn_subscriber *subscriber) {
    tarn_message message;
    CHECK_STATUS(tarn_publisher_publish(publisher, "hi", 2), 1);
    take_one(subscriber, &message);
    CHECK(message.bytes == 2 && memcmp(message.data, "hi", 2) == 0);
    release(&message);
}

TEST(first_typed_participant_settles) {
    tarn_subscriber *untyped = subscriber_with();
    tarn_publisher *first = typed_publisher(TYPE(.name = "Image", .bytes = 16, .alignment = 16, .encoding = "cdr"));
    tarn_subscriber *same = typed_subscriber(
        TYPE(.name = "Image", .bytes = 16, .alignment = 16, .encoding = "cdr", .schema = "x", .schema_bytes = 1));
    check_transfer(first, untyped);
    CHECK_STATUS(tarn_publisher_publish(first, "ho", 2), 1);
    check_refused(TYPE(.name = "Image2", .bytes = 16, .alignment = 16, .encoding = "cdr"), "\"Image\"", "\"Image2\"");
    check_refused(TYPE(.name = "Imag", .bytes = 16, .alignment = 16, .encoding = "cdr"), "\"Image\"", "\"Imag\"");
    check_refused(TYPE(.name = "Image", .bytes = 17, .alignment = 16, .encoding = "cdr"), "16 bytes", "17 bytes");
    check_refused(TYPE(.name = "Image", .bytes = 16, .alignment = 32, .encoding = "cdr"), "aligned to 16",
                  "aligned to 32");
    check_refused(TYPE(.name = "Image", .bytes = 16, .alignment = 16, .encoding = "json"), "cdr", "json");
    check_refused(TYPE(.name = "Image", .bytes = 16, .alignment = 16), "cdr", "raw");
    CHECK_STATUS(tarn_subscriber_close(same), 0);
    CHECK_STATUS(tarn_subscriber_close(untyped), 0);
    CHECK_STATUS(tarn_publisher_close(first), 0);
}

TEST(a_subscriber_may_be_the_first) {
    tarn_subscriber *first = typed_subscriber(TYPE(.name = "A"));
    check_refused(TYPE(.name = "B"), "\"A\"", "\"B\"");
    tarn_publisher *untyped = publisher_with();
    check_transfer(untyped, first);
    CHECK_STATUS(tarn_publisher_close(untyped), 0);
    CHECK_STATUS(tarn_subscriber_close(first), 0);
}

TEST(defaults_are_equal_to_what_they_stand_for) {
    tarn_publisher *publisher = typed_publisher(TYPE(.name = "A"));
    tarn_subscriber *subscriber = typed_subscriber(TYPE(.name = "A", .alignment = 8, .encoding = "raw"));
    check_transfer(publisher, subscriber);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- alignment ------------------------------------------------------------------------------------------------ */

static bool is_aligned(const void *data, uintptr_t alignment) {
    return (uintptr_t)data % alignment == 0;
}

/*
 * Whoever knows the type counts on its alignment, so an option can only raise it. 24 bytes: not aligned by their size.
 */
static void check_messages_alignment(const tarn_type *type, uint32_t option, uintptr_t expected) {
    tarn_subscriber *subscriber = typed_subscriber(type);
    tarn_publisher *publisher = publisher_with(.type = type, .alignment = option);
    tarn_message message;
    for (uint64_t i = 1; i <= 10; i++) {
        CHECK_STATUS(send_pattern(publisher, 24, i), 1);
        take_one(subscriber, &message);
        CHECK(is_aligned(message.data, expected));
        release(&message);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

static void check_jobs_alignment(const tarn_type *type, uint32_t option, uintptr_t expected) {
    tarn_producer_options options = {.struct_bytes = sizeof options, .type = type, .alignment = option};
    options.linger_ns = TARN_IMMEDIATELY;
    tarn_producer *producer;
    tarn_loan loans[10];
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC, &options), 0);
    for (int i = 0; i < 10; i++) {
        CHECK_STATUS(tarn_producer_loan(producer, 24, &loans[i]), 1);
        CHECK(is_aligned(loans[i].data, expected));
    }
    CHECK_STATUS(tarn_producer_close(producer), 0);
}

static void check_values_alignment(const tarn_type *type, uint32_t option, uintptr_t expected) {
    tarn_writer_options options = {.struct_bytes = sizeof options, .type = type, .alignment = option};
    tarn_writer *writer;
    tarn_loan loan;
    CHECK_STATUS(tarn_writer_open(&writer, TOPIC, &options), 0);
    int key = tarn_writer_key(writer, "key");
    for (int i = 0; i < 10; i++) {
        CHECK_STATUS(tarn_writer_loan(writer, key, 24, &loan), 1);
        CHECK(is_aligned(loan.data, expected));
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
    CHECK_INT(tarn_writer_close(writer), >=, 0);
}

TEST(an_option_raises_a_types_alignment_only) {
    const tarn_type *type = TYPE(.name = "simd", .alignment = 256);
    static const uint32_t options[][2] = {{0, 256}, {8, 256}, {64, 256}, {512, 512}}; /* and what it is then */
    for (int i = 0; i < 4; i++) {
        check_messages_alignment(type, options[i][0], options[i][1]);
        check_jobs_alignment(type, options[i][0], options[i][1]);
        check_values_alignment(type, options[i][0], options[i][1]);
    }
}

/* ---- how long a type lasts, how large it may be ------------------------------------------------------------------ */

/* For as long as the topic has participants, typed or not; no longer. */
TEST(a_type_ends_with_the_topic) {
    tarn_subscriber *untyped = subscriber_with();
    CHECK_STATUS(tarn_publisher_close(typed_publisher(TYPE(.name = "A"))), 0);
    check_refused(TYPE(.name = "B"), "\"A\"", "\"B\"");
    CHECK_STATUS(tarn_subscriber_close(untyped), 0);
    CHECK_STATUS(tarn_publisher_close(typed_publisher(TYPE(.name = "B"))), 0);
}

/* Names and encodings of the greatest length, and the largest schema; the caller's memory is not needed afterwards. */
TEST(large_types) {
    enum { SCHEMA_BYTES = 60 * 1024 };
    char *name = malloc(256), *encoding = malloc(64), *schema = malloc(SCHEMA_BYTES);
    memset(name, 'n', 255);
    memset(encoding, 'e', 63);
    name[255] = encoding[63] = 0;
    fill_pattern(schema, SCHEMA_BYTES, 5);
    tarn_publisher *publisher =
        typed_publisher(TYPE(.name = name, .encoding = encoding, .schema = schema, .schema_bytes = SCHEMA_BYTES));
    memset(schema, 0, SCHEMA_BYTES);
    tarn_subscriber *subscriber = typed_subscriber(TYPE(.name = name, .encoding = encoding));
    memset(name, 'x', 255);
    memset(encoding, 'x', 63);
    check_transfer(publisher, subscriber);
    check_refused(TYPE(.name = "n"), "nnnnnnnn", "\"n\"");
    check_refused(TYPE(.name = name, .encoding = encoding), "nnnnnnnn", "xxxxxxxx");
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    free(name);
    free(encoding);
    free(schema);
}

/* The first one's schema is kept, byte by byte, where tools find it. */
TEST(schema_is_kept) {
    static char schema[20000];
    fill_pattern(schema, sizeof schema, 9);
    struct topic *topic;
    uint32_t slot;
    tarn_publisher *publisher = typed_publisher(TYPE(.name = "A", .schema = schema, .schema_bytes = sizeof schema));
    tarn_publisher *other = typed_publisher(TYPE(.name = "A", .schema = "other", .schema_bytes = 5));
    CHECK_STATUS(topic_join(&topic, &slot, TOPIC, NULL, NULL, PUBLISHER, PATTERN_MESSAGES), 0);
    struct roster_type *type = roster_block(&topic->roster, atomic_load(&topic->roster.header->type_block));
    CHECK(type != NULL);
    CHECK_INT(type->schema_bytes, ==, sizeof schema);
    CHECK_INT(type->total_bytes, ==, sizeof *type + 1 + 3 + sizeof schema);
    CHECK(memcmp(type + 1, "Araw", 4) == 0);
    CHECK(check_pattern((char *)(type + 1) + 4, sizeof schema, 9));
    struct publisher_slot *mine = roster_publisher(&topic->roster, slot);
    atomic_store(&mine->state, SLOT_FREE);
    topic_leave(topic, PUBLISHER, slot);
    CHECK_STATUS(tarn_publisher_close(other), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Tools see it, too, and what a peer has damaged they do not read. */
TEST(schema_is_seen_by_tools) {
    static char schema[60 * 1024];
    struct inspect_type seen;
    struct topic *topic;
    uint32_t slot;
    CHECK_STATUS(inspect_type(&seen, TOPIC, NULL, NULL), 0);
    fill_pattern(schema, sizeof schema, 9);
    tarn_publisher *publisher = typed_publisher(
        TYPE(.name = "A", .encoding = "cdr", .bytes = 5, .schema = schema, .schema_bytes = sizeof schema));
    CHECK_STATUS(inspect_type(&seen, TOPIC, NULL, NULL), 1);
    CHECK(strcmp(seen.name, "A") == 0 && strcmp(seen.encoding, "cdr") == 0 && seen.bytes == 5);
    CHECK_INT(seen.schema_bytes, ==, sizeof schema);
    CHECK(check_pattern(seen.schema, sizeof schema, 9));
    free(seen.schema);
    CHECK_STATUS(topic_join(&topic, &slot, TOPIC, NULL, NULL, PUBLISHER, PATTERN_MESSAGES), 0);
    struct roster_type *type = roster_block(&topic->roster, atomic_load(&topic->roster.header->type_block));
    type->schema_bytes = UINT32_MAX;
    CHECK_STATUS(inspect_type(&seen, TOPIC, NULL, NULL), 1);
    CHECK_INT(seen.schema_bytes, ==, 0);
    free(seen.schema);
    type->schema_bytes = sizeof schema;
    atomic_store(&roster_publisher(&topic->roster, slot)->state, SLOT_FREE);
    topic_leave(topic, PUBLISHER, slot);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(inspect_type(&seen, TOPIC, NULL, NULL), 0);
    CHECK_STATUS(inspect_type(&seen, "no//topic", NULL, NULL), TARN_ERROR_TOPIC_NAME);
}

/* ---- refusing reliable subscribers ----------------------------------------------------------------------------- */

TEST(reliable_subscriber_comes_second) {
    tarn_publisher *publisher = publisher_with(.refuse_reliable = 1);
    tarn_subscriber *subscriber = NULL;
    CHECK_STATUS(tarn_subscriber_open(&subscriber, TOPIC, SUBSCRIBER_OPTIONS(.reliable = 1)), TARN_ERROR_REFUSED);
    CHECK(!subscriber && strstr(tarn_error(), TOPIC) && strstr(tarn_error(), "refuses reliable"));
    subscriber = subscriber_with();
    check_transfer(publisher, subscriber);
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    tarn_subscriber *reliable = subscriber_with(.reliable = 1); /* nobody refuses any more */
    CHECK_STATUS(tarn_subscriber_close(reliable), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(reliable_subscriber_comes_first) {
    tarn_subscriber *reliable = subscriber_with(.reliable = 1), *other = subscriber_with();
    tarn_publisher *publisher = NULL;
    CHECK_STATUS(tarn_publisher_open(&publisher, TOPIC, PUBLISHER_OPTIONS(.refuse_reliable = 1)), TARN_ERROR_REFUSED);
    CHECK(!publisher && strstr(tarn_error(), TOPIC) && strstr(tarn_error(), "reliable"));
    CHECK_STATUS(tarn_subscriber_publishers(reliable), 0);
    publisher = publisher_with();
    check_transfer(publisher, reliable); /* the refused one left nothing that is in the way */
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(reliable), 0);
    publisher = publisher_with(.refuse_reliable = 1);
    CHECK_STATUS(tarn_publisher_publish(publisher, "hi", 2), 1);
    CHECK_STATUS(tarn_subscriber_close(other), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* A publisher that refuses is never held back: not by a subscriber that does not read at all. */
TEST(refusing_publisher_is_never_full) {
    tarn_publisher *publisher =
        publisher_with(.refuse_reliable = 1, .memory_limit_bytes = 2 * MIB, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    for (uint64_t i = 1; i <= 3000; i++) {
        CHECK_STATUS(send_pattern(publisher, i * 37 % 100000, i), 1);
        if (i % 500 == 0) {
            take_one(subscriber, &message);
            release(&message);
        }
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}
