/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Everything that a caller can do wrong in one process: each mistake has its code, and a sentence that says more than
 * the code does; where a topic is concerned it names it. Out parameters stay as they were.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common.h"

#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

/* ---- names ---------------------------------------------------------------------------------------------------- */

static void check_bad_name(const char *name, const char *word) {
    tarn_publisher *publisher = UNTOUCHED;
    tarn_subscriber *subscriber = UNTOUCHED;
    CHECK_ERROR(tarn_publisher_open(&publisher, name, NULL), TARN_ERROR_TOPIC_NAME, word);
    CHECK_ERROR(tarn_subscriber_open(&subscriber, name, NULL), TARN_ERROR_TOPIC_NAME, word);
    CHECK(publisher == UNTOUCHED && subscriber == UNTOUCHED);
}

TEST(bad_topic_names_are_refused_with_a_reason) {
    check_bad_name("", "empty");
    check_bad_name("/camera", "starts with '/'");
    check_bad_name("/", "starts with '/'");
    check_bad_name("camera/", "ends with '/'");
    check_bad_name("camera//front", "two slashes");
    check_bad_name(".", "'.' or '..'");
    check_bad_name("..", "'.' or '..'");
    check_bad_name("a/./b", "'.' or '..'");
    check_bad_name("a/..", "'.' or '..'");
    check_bad_name("../a", "'.' or '..'");
    for (const char *bad = " \t\n\"'\\:;,*?+@~#%&=$!()[]{}<>|^`\x7f\x01"; *bad; bad++) {
        char name[] = {'a', *bad, 'b', 0};
        check_bad_name(name, "only letters");
    }
}

TEST(names_of_other_bytes_are_refused_and_shown_printable) {
    check_bad_name("caf\xc3\xa9", "only letters"); /* UTF-8 */
    check_bad_name("caf\xe9", "only letters");     /* no UTF-8 */
    check_bad_name("\xff\xfe", "only letters");
    for (const char *c = tarn_error(); *c; c++)
        CHECK(*c >= ' ' && *c <= '~');
}

TEST(long_names_are_refused) {
    char name[4097];
    memset(name, 'x', sizeof name);
    name[4096] = 0;
    check_bad_name(name, "longer than 255");
    name[256] = 0;
    check_bad_name(name, "longer than 255");
    name[255] = 0;
    tarn_publisher *publisher = open_publisher(name, NULL);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    memset(name, '/', 4096);
    name[4096] = 0;
    check_bad_name(name, "");
}

TEST(good_names_are_taken) {
    const char *const good[] = {"a", "a/b", "A-Z_0.9",     "...", "a/.../b", ".hidden",
                                "-", "_",   "a.b/c-d/e_f", "..a", "a.."};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        tarn_publisher *publisher = open_publisher(good[i], NULL);
        tarn_subscriber *subscriber = open_subscriber(good[i], NULL);
        CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
        tarn_message message;
        take_one(subscriber, &message);
        release(&message);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
    }
}

TEST(bad_domains_are_refused) {
    const char *const bad[] = {"a/b", ".", "..", "/", "a b", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tarn_publisher *publisher = UNTOUCHED;
        tarn_subscriber *subscriber = UNTOUCHED;
        CHECK_ERROR(tarn_publisher_open(&publisher, TOPIC, PUBLISHER_OPTIONS(.domain = bad[i])), TARN_ERROR_TOPIC_NAME,
                    "domain");
        CHECK_ERROR(tarn_subscriber_open(&subscriber, TOPIC, SUBSCRIBER_OPTIONS(.domain = bad[i])),
                    TARN_ERROR_TOPIC_NAME, "domain");
        CHECK(publisher == UNTOUCHED && subscriber == UNTOUCHED);
    }
}

TEST(directories_that_are_none_are_refused) {
    char file[512];
    tarn_publisher *publisher = UNTOUCHED;
    snprintf(file, sizeof file, "%s/file", getenv("TARN_DIR"));
    fclose(fopen(file, "w"));
    CHECK_ERROR(tarn_publisher_open(&publisher, TOPIC, PUBLISHER_OPTIONS(.directory = file)), TARN_ERROR_DIRECTORY,
                file);
    CHECK_ERROR(tarn_publisher_open(&publisher, TOPIC, PUBLISHER_OPTIONS(.directory = "/no/such/place")),
                TARN_ERROR_DIRECTORY, "/no/such/place");
    remove(file);
    char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = 0;
    CHECK_ERROR(tarn_publisher_open(&publisher, TOPIC, PUBLISHER_OPTIONS(.directory = longest)), TARN_ERROR_DIRECTORY,
                "long");
    CHECK(publisher == UNTOUCHED);
}

/* ---- NULL ----------------------------------------------------------------------------------------------------- */

TEST(null_handles_are_refused) {
    tarn_message message = {0};
    tarn_loan loan = {0};
    CHECK_ERROR(tarn_publisher_publish(NULL, "x", 1), TARN_ERROR_ARGUMENT, "publisher");
    CHECK_ERROR(tarn_publisher_loan(NULL, 1, &loan), TARN_ERROR_ARGUMENT, "publisher");
    CHECK_ERROR(tarn_publisher_flush(NULL, 0), TARN_ERROR_ARGUMENT, "publisher");
    CHECK_ERROR(tarn_publisher_subscribers(NULL), TARN_ERROR_ARGUMENT, "publisher");
    CHECK_ERROR(tarn_subscriber_take(NULL, &message), TARN_ERROR_ARGUMENT, "subscriber");
    CHECK_ERROR(tarn_subscriber_receive(NULL, &message, 0), TARN_ERROR_ARGUMENT, "subscriber");
    CHECK_ERROR(tarn_subscriber_wait(NULL, 0), TARN_ERROR_ARGUMENT, "subscriber");
    CHECK_ERROR(tarn_subscriber_interrupt(NULL), TARN_ERROR_ARGUMENT, "subscriber");
    CHECK_ERROR(tarn_subscriber_fd(NULL), TARN_ERROR_ARGUMENT, "subscriber");
    CHECK_ERROR(tarn_subscriber_publishers(NULL), TARN_ERROR_ARGUMENT, "subscriber");
    CHECK_ERROR(tarn_loan_send(NULL), TARN_ERROR_ARGUMENT, "loan");
    CHECK_ERROR(tarn_loan_drop(NULL), TARN_ERROR_ARGUMENT, "loan");
    CHECK_ERROR(tarn_message_release(NULL), TARN_ERROR_ARGUMENT, "message");
    CHECK_INT(tarn_publisher_identity(NULL), ==, 0);
    CHECK_INT(tarn_subscriber_lost(NULL), ==, 0);
    CHECK_STATUS(tarn_publisher_close(NULL), 0);
    CHECK_STATUS(tarn_subscriber_close(NULL), 0);
}

TEST(null_places_are_refused) {
    CHECK_ERROR(tarn_publisher_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_ERROR(tarn_subscriber_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT, "NULL");
    tarn_publisher *publisher = UNTOUCHED;
    tarn_subscriber *subscriber = UNTOUCHED;
    CHECK_ERROR(tarn_publisher_open(&publisher, NULL, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_ERROR(tarn_subscriber_open(&subscriber, NULL, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK(publisher == UNTOUCHED && subscriber == UNTOUCHED);
    publisher = publisher_with();
    subscriber = subscriber_with();
    CHECK_ERROR(tarn_publisher_publish(publisher, NULL, 1), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_STATUS(tarn_publisher_publish(publisher, NULL, 0), 1);
    CHECK_ERROR(tarn_publisher_loan(publisher, 1, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_ERROR(tarn_subscriber_take(subscriber, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_ERROR(tarn_subscriber_receive(subscriber, NULL, 0), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- options -------------------------------------------------------------------------------------------------- */

static void check_bad_publisher(const tarn_publisher_options *options, const char *word) {
    tarn_publisher *publisher = UNTOUCHED;
    CHECK_ERROR(tarn_publisher_open(&publisher, TOPIC, options), TARN_ERROR_ARGUMENT, word);
    CHECK(publisher == UNTOUCHED);
}

static void check_bad_subscriber(const tarn_subscriber_options *options, const char *word) {
    tarn_subscriber *subscriber = UNTOUCHED;
    CHECK_ERROR(tarn_subscriber_open(&subscriber, TOPIC, options), TARN_ERROR_ARGUMENT, word);
    CHECK(subscriber == UNTOUCHED);
}

TEST(bad_publisher_options_are_refused) {
    check_bad_publisher(&(tarn_publisher_options){0}, "struct_bytes");
    check_bad_publisher(&(tarn_publisher_options){.struct_bytes = 7}, "struct_bytes");
    check_bad_publisher(&(tarn_publisher_options){.struct_bytes = SIZE_MAX}, "struct_bytes");
    check_bad_publisher(PUBLISHER_OPTIONS(.when_full = 3), "when_full");
    check_bad_publisher(PUBLISHER_OPTIONS(.wake = 3), "wake");
    check_bad_publisher(PUBLISHER_OPTIONS(.alignment = 3), "alignment");
    check_bad_publisher(PUBLISHER_OPTIONS(.alignment = 8192), "alignment");
    check_bad_publisher(PUBLISHER_OPTIONS(.alignment = UINT32_MAX), "alignment");
    check_bad_publisher(PUBLISHER_OPTIONS(.memory_limit_bytes = 1), "memory_limit_bytes");
    check_bad_publisher(PUBLISHER_OPTIONS(.memory_limit_bytes = 512 * KIB - 1), "memory_limit_bytes");
    check_bad_publisher(PUBLISHER_OPTIONS(.full_timeout_ns = -2), "full_timeout_ns");
    check_bad_publisher(PUBLISHER_OPTIONS(.linger_ns = INT64_MIN), "linger_ns");
}

TEST(bad_subscriber_options_are_refused) {
    check_bad_subscriber(&(tarn_subscriber_options){0}, "struct_bytes");
    check_bad_subscriber(&(tarn_subscriber_options){.struct_bytes = 1}, "struct_bytes");
    check_bad_subscriber(SUBSCRIBER_OPTIONS(.wait_strategy = 3), "wait_strategy");
    check_bad_subscriber(SUBSCRIBER_OPTIONS(.max_held = 65537), "max_held");
    check_bad_subscriber(SUBSCRIBER_OPTIONS(.spin_ns = -2), "spin_ns");
}

/* A newer build's struct is longer: fine while the unknown part is zero. An older one's is shorter. */
TEST(options_of_other_builds) {
    struct {
        tarn_publisher_options known;
        uint64_t unknown;
    } longer = {.known = {.struct_bytes = sizeof longer, .linger_ns = TARN_IMMEDIATELY}, .unknown = 1};
    check_bad_publisher(&longer.known, "does not know");
    longer.unknown = 0;
    CHECK_STATUS(tarn_publisher_close(open_publisher(TOPIC, &longer.known)), 0);
    tarn_publisher_options shorter = {.struct_bytes = offsetof(tarn_publisher_options, depth), .when_full = 99};
    CHECK_STATUS(tarn_publisher_close(open_publisher(TOPIC, &shorter)), 0);
    struct {
        tarn_subscriber_options known;
        char unknown[4];
    } wider = {.known = {.struct_bytes = sizeof(tarn_subscriber_options) + 4}, .unknown = {0, 0, 0, 1}};
    check_bad_subscriber(&wider.known, "does not know");
    wider.unknown[3] = 0;
    CHECK_STATUS(tarn_subscriber_close(open_subscriber(TOPIC, &wider.known)), 0);
}

static void check_bad_type(tarn_type type, const char *word) {
    if (!type.struct_bytes)
        type.struct_bytes = sizeof type;
    check_bad_publisher(PUBLISHER_OPTIONS(.type = &type), word);
    check_bad_subscriber(SUBSCRIBER_OPTIONS(.type = &type), word);
}

TEST(bad_types_are_refused) {
    static char name[300], encoding[80], schema[1];
    memset(name, 'n', sizeof name - 1);
    memset(encoding, 'e', sizeof encoding - 1);
    check_bad_type((tarn_type){.struct_bytes = 8, .name = "n"}, "struct_bytes");
    check_bad_type((tarn_type){.name = NULL}, "name");
    check_bad_type((tarn_type){.name = ""}, "name");
    check_bad_type((tarn_type){.name = name}, "name");
    check_bad_type((tarn_type){.name = "n", .encoding = encoding}, "encoding");
    check_bad_type((tarn_type){.name = "n", .alignment = 12}, "alignment");
    check_bad_type((tarn_type){.name = "n", .alignment = 8192}, "alignment");
    check_bad_type((tarn_type){.name = "n", .reserved = 1}, "reserved");
    check_bad_type((tarn_type){.name = "n", .schema_bytes = 1}, "schema");
    check_bad_type((tarn_type){.name = "n", .schema = schema, .schema_bytes = 60 * KIB + 1}, "schema");
}

/* ---- order of calls ------------------------------------------------------------------------------------------- */

TEST(use_after_close_is_refused) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    tarn_loan loan, left;
    CHECK_STATUS(tarn_publisher_loan(publisher, 8, &left), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_ERROR(tarn_publisher_publish(publisher, "x", 1), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_publisher_loan(publisher, 1, &loan), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_loan_send(&left), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_loan_drop(&left), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_publisher_flush(publisher, 0), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_publisher_subscribers(publisher), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_publisher_close(publisher), TARN_ERROR_CLOSED, "closed");
    CHECK_INT(tarn_publisher_identity(publisher), ==, 0);
    CHECK_ERROR(tarn_subscriber_take(subscriber, &message), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_subscriber_receive(subscriber, &message, 5), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_subscriber_wait(subscriber, 5), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_subscriber_interrupt(subscriber), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_subscriber_fd(subscriber), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_subscriber_publishers(subscriber), TARN_ERROR_CLOSED, "closed");
    CHECK_ERROR(tarn_subscriber_close(subscriber), TARN_ERROR_CLOSED, "closed");
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
}

TEST(handles_of_the_other_kind_are_refused) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    CHECK_ERROR(tarn_publisher_publish((tarn_publisher *)(void *)subscriber, "x", 1), TARN_ERROR_CLOSED, "publisher");
    CHECK_ERROR(tarn_publisher_close((tarn_publisher *)(void *)subscriber), TARN_ERROR_CLOSED, "publisher");
    CHECK_ERROR(tarn_subscriber_take((tarn_subscriber *)(void *)publisher, &message), TARN_ERROR_CLOSED, "subscriber");
    CHECK_ERROR(tarn_subscriber_close((tarn_subscriber *)(void *)publisher), TARN_ERROR_CLOSED, "subscriber");
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

static bool is_cleared(const tarn_loan *loan) {
    static const tarn_loan clear;
    return memcmp(loan, &clear, sizeof clear) == 0;
}

TEST(loans_end_once) {
    tarn_publisher *publisher = publisher_with();
    tarn_loan loan, copy;
    for (int i = 0; i < 4; i++) {
        bool sends = i & 1;
        CHECK_STATUS(tarn_publisher_loan(publisher, 8, &loan), 1);
        copy = loan;
        CHECK_STATUS(sends ? tarn_loan_send(&loan) : tarn_loan_drop(&loan), sends);
        CHECK(is_cleared(&loan));
        CHECK_ERROR(tarn_loan_send(&loan), TARN_ERROR_RELEASED, "before");
        CHECK_ERROR(tarn_loan_drop(&loan), TARN_ERROR_RELEASED, "before");
        if (i & 2) /* the ended loan's place in the list is taken again: the copy is none the less over */
            CHECK_STATUS(tarn_publisher_loan(publisher, 8, &loan), 1);
        CHECK_ERROR(tarn_loan_send(&copy), TARN_ERROR_RELEASED, TOPIC);
        CHECK_ERROR(tarn_loan_drop(&copy), TARN_ERROR_RELEASED, TOPIC);
        if (i & 2)
            CHECK_STATUS(tarn_loan_drop(&loan), 0);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* What was sent between lending and ending makes a loan another thing within, but not for its user. */
TEST(overtaken_loans_end_once) {
    tarn_publisher *publisher = publisher_with();
    tarn_loan loan, copy;
    for (int i = 0; i < 4; i++) {
        bool sends = i & 1;
        CHECK_STATUS(tarn_publisher_loan(publisher, 8, &loan), 1);
        CHECK_STATUS(tarn_publisher_publish(publisher, "between", 7), 1);
        copy = loan;
        CHECK_STATUS(sends ? tarn_loan_send(&loan) : tarn_loan_drop(&loan), sends);
        CHECK(is_cleared(&loan));
        CHECK_ERROR(i & 2 ? tarn_loan_send(&copy) : tarn_loan_drop(&copy), TARN_ERROR_RELEASED, TOPIC);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(raised_loans_are_refused_and_stay_open) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_loan loan;
    tarn_message message;
    CHECK_STATUS(tarn_publisher_loan(publisher, 8, &loan), 1);
    tarn_loan before = loan;
    loan.bytes = 9;
    CHECK_ERROR(tarn_loan_send(&loan), TARN_ERROR_ARGUMENT, TOPIC);
    CHECK(loan.data == before.data && loan.bytes == 9);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    loan.bytes = 7;
    memcpy(loan.data, "lowered", 7);
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    take_one(subscriber, &message);
    CHECK_INT(message.bytes, ==, 7);
    CHECK(memcmp(message.data, "lowered", 7) == 0);
    release(&message);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(messages_are_released_once) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    tarn_message message;
    CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
    take_one(subscriber, &message);
    release(&message);
    CHECK(message.data == NULL && message.bytes == 0 && message.sequence == 0 && message.publisher == 0);
    CHECK_ERROR(tarn_message_release(&message), TARN_ERROR_RELEASED, "before");
    message = (tarn_message){0};
    CHECK_ERROR(tarn_message_release(&message), TARN_ERROR_RELEASED, "before");
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- failing calls leave things alone -------------------------------------------------------------------------- */

TEST(failures_leave_out_parameters_alone) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_DROP);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1, .max_held = 1);
    tarn_message message, as_before;
    tarn_loan loan, loan_before;
    memset(&message, 0x5a, sizeof message);
    memset(&loan, 0x5a, sizeof loan);
    as_before = message;
    loan_before = loan;
    CHECK_ERROR(tarn_publisher_loan(publisher, 512 * KIB + 1, &loan), TARN_ERROR_TOO_BIG, TOPIC);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 1000), 0);
    int sent = 0;
    while (tarn_publisher_publish(publisher, &sent, sizeof sent) == 1)
        sent++;
    CHECK_STATUS(tarn_publisher_loan(publisher, 8, &loan), 0); /* dropped */
    CHECK(memcmp(&loan, &loan_before, sizeof loan) == 0);
    tarn_message held;
    take_one(subscriber, &held);
    CHECK_ERROR(tarn_subscriber_take(subscriber, &message), TARN_ERROR_HOLDING, TOPIC);
    CHECK_ERROR(tarn_subscriber_receive(subscriber, &message, 1000), TARN_ERROR_HOLDING, TOPIC);
    CHECK(memcmp(&message, &as_before, sizeof message) == 0);
    release(&held);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(full_has_a_sentence_that_blames) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * KIB, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    int result;
    while ((result = tarn_publisher_publish(publisher, "x", 1)) == 1)
        ;
    CHECK_INT(result, ==, TARN_ERROR_FULL);
    check_sentence("publish", TARN_ERROR_FULL, TOPIC);
    check_sentence("publish", TARN_ERROR_FULL, "reliable subscriber");
    check_sentence("publish", TARN_ERROR_FULL, "512 KiB");
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- codes ---------------------------------------------------------------------------------------------------- */

TEST(every_code_has_a_text_of_its_own) {
    CHECK(strcmp(tarn_status_text(1), "success") == 0);
    CHECK(strcmp(tarn_status_text(-1), "unknown status") == 0);
    CHECK(strcmp(tarn_status_text(TARN_ERROR_TAKEN - 1), "unknown status") == 0);
    CHECK(tarn_status_text(TARN_OK)[0]);
    for (int a = TARN_ERROR_ARGUMENT; a >= TARN_ERROR_TAKEN; a--) {
        CHECK(strcmp(tarn_status_text(a), "unknown status") != 0);
        for (int b = TARN_ERROR_ARGUMENT; b > a; b--)
            CHECK(strcmp(tarn_status_text(a), tarn_status_text(b)) != 0);
    }
}

TEST(error_is_never_null_and_version_is_the_headers) {
    char version[32];
    CHECK(tarn_error() != NULL && tarn_error()[0]);
    snprintf(version, sizeof version, "%d.%d.%d", TARN_VERSION_MAJOR, TARN_VERSION_MINOR, TARN_VERSION_PATCH);
    CHECK(strcmp(tarn_version(), version) == 0);
    CHECK_INT(tarn_process_register(), >=, 0);
}
