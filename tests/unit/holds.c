/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Messages that the user holds: as many as max_held says, unchanged and in place whatever the publisher does, until
 * they are released, in any order, by any thread, before or after the handles are closed.
 */
#include <pthread.h>
#include <stdlib.h>

#include "common.h"

#define HELD_MOST 1000

struct held {
    tarn_message message;
    size_t bytes;
};

static struct held held[HELD_MOST];

/* The number of the next message: an empty one tells. */
static uint64_t next_sequence(tarn_publisher *publisher, tarn_subscriber *subscriber) {
    tarn_message message;
    CHECK_STATUS(tarn_publisher_publish(publisher, NULL, 0), 1);
    take_one(subscriber, &message);
    uint64_t sequence = message.sequence;
    release(&message);
    return sequence + 1;
}

/* Sends and takes count messages, of bytes bytes each or, with random, of at most as many. */
static void take_many(tarn_publisher *publisher, tarn_subscriber *subscriber, uint32_t count, size_t bytes,
                      struct random *random) {
    uint64_t first = next_sequence(publisher, subscriber);
    for (uint32_t i = 0; i < count; i++) {
        held[i].bytes = random ? random_between(random, 0, bytes) : bytes;
        CHECK_STATUS(send_pattern(publisher, held[i].bytes, first + i), 1);
        take_one(subscriber, &held[i].message);
        CHECK_INT(held[i].message.sequence, ==, first + i);
    }
}

static void check_held(uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (held[i].message.held_by)
            check_contents(&held[i].message, held[i].bytes);
}

/* Much more than is kept, over all memory that is not held. */
static void churn(tarn_publisher *publisher, size_t bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        tarn_loan loan;
        CHECK_STATUS(tarn_publisher_loan(publisher, bytes, &loan), 1);
        memset(loan.data, 0xdd, bytes);
        CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
}

static void release_shuffled(uint32_t count, struct random *random) {
    for (uint32_t i = count; i > 0; i--) {
        uint32_t k = (uint32_t)random_between(random, 0, i - 1);
        struct held swap = held[k];
        held[k] = held[i - 1];
        held[i - 1] = swap;
        check_contents(&held[i - 1].message, held[i - 1].bytes);
        release(&held[i - 1].message);
    }
}

/* ---- how many ------------------------------------------------------------------------------------------------- */

static void check_most(uint32_t max_held, size_t bytes) {
    struct random random = random_start(bytes);
    uint32_t most = max_held ? max_held : 64;
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 512 * MIB);
    tarn_subscriber *subscriber = subscriber_with(.max_held = max_held);
    tarn_message message;
    take_many(publisher, subscriber, most, bytes, NULL);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    CHECK_STATUS(send_pattern(publisher, 5, held[most - 1].message.sequence + 1), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_HOLDING);
        CHECK_STATUS(tarn_subscriber_wait(subscriber, 0), 1);
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 0), TARN_ERROR_HOLDING);
    }
    check_held(most);
    uint64_t last = held[most - 1].message.sequence;
    release(&held[0].message);
    take_one(subscriber, &message); /* nothing was lost */
    CHECK_INT(message.sequence, ==, last + 1);
    CHECK_INT(message.lost, ==, 0);
    held[0] = (struct held){message, 5};
    CHECK_STATUS(send_pattern(publisher, 5, last + 2), 1);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_HOLDING);
    churn(publisher, bytes < 100 ? 1000 : bytes, 50);
    release_shuffled(most, &random);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(sixty_four_by_default) {
    check_most(0, 8);
    check_most(0, 3000);
    check_most(0, 200000);
}

TEST(as_many_as_the_option_says) {
    check_most(1, 100);
    check_most(2, 100000);
    check_most(16, 70000);
    check_most(17, 70000);
    check_most(1000, 100);
    check_most(1000, 60000); /* each in an extent of its own: cells beyond those in the slot */
}

/* A thousand in one extent: one hold counts them all. */
TEST(many_of_one_extent) {
    struct random random = random_start(1);
    tarn_publisher *publisher = publisher_with(.depth = 1, .memory_limit_bytes = 2 * MIB);
    tarn_subscriber *subscriber = subscriber_with(.max_held = HELD_MOST);
    for (uint32_t i = 0; i < HELD_MOST; i++) {
        held[i].bytes = i % 20;
        CHECK_STATUS(send_pattern(publisher, held[i].bytes, i + 1), 1);
        take_one(subscriber, &held[i].message);
    }
    churn(publisher, 30000, 500);
    release_shuffled(HELD_MOST, &random);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- of many, in any way -------------------------------------------------------------------------------------- */

#define SOURCES 3
#define FEW 7

/* Publishers that come and go, one reliable subscriber that may hold FEW: what has come, and what is held. */
struct model {
    struct random random;
    tarn_publisher *publishers[SOURCES];
    uint64_t sent[SOURCES], read[SOURCES], taken;
    tarn_subscriber *subscriber;
    uint32_t held;
};

static uint64_t unread(const struct model *model) {
    uint64_t count = 0;
    for (int i = 0; i < SOURCES; i++)
        count += model->sent[i] - model->read[i];
    return count;
}

static void check_next(struct model *model, const tarn_message *message) {
    for (int i = 0; i < SOURCES; i++) {
        if (!model->publishers[i] || tarn_publisher_identity(model->publishers[i]) != message->publisher)
            continue;
        CHECK_INT(message->sequence, ==, ++model->read[i]);
        CHECK_INT(message->lost, ==, 0);
        CHECK((message->sent_ns != 0) == (i == 2)); /* that one tells the time */
        CHECK(check_pattern(message->data, message->bytes, pattern_of(message->publisher, message->sequence)));
        model->taken++;
        return;
    }
    FAIL("a message of nobody's");
}

/* By one of the calls, so many at most. As many come as there are, and as may be held. */
static void take_up_to(struct model *model, size_t count) {
    tarn_message messages[2 * FEW];
    uint64_t there = unread(model);
    bool many = count > 1 || random_between(&model->random, 0, 1);
    int result = many ? tarn_subscriber_take_many(model->subscriber, messages, count)
                      : tarn_subscriber_take(model->subscriber, messages);
    if (there == 0 || model->held == FEW) {
        CHECK_STATUS(result, there == 0 ? 0 : TARN_ERROR_HOLDING);
        return;
    }
    uint64_t most = count < there ? count : there, room = FEW - model->held;
    CHECK_INT(result, ==, most < room ? most : room);
    for (int i = 0; i < result; i++) {
        check_next(model, &messages[i]);
        held[model->held++] = (struct held){messages[i], messages[i].bytes};
    }
}

static void let_one_go(struct model *model) {
    if (model->held == 0)
        return;
    struct held *one = &held[random_between(&model->random, 0, model->held - 1)];
    check_contents(&one->message, one->bytes);
    release(&one->message);
    *one = held[--model->held];
}

/* Mostly of one size, which changes now and then. */
static void send_some(struct model *model, int source) {
    size_t bytes = random_between(&model->random, 0, 3) ? 8 : random_between(&model->random, 0, 100);
    bool varies = random_between(&model->random, 0, 3) == 0;
    if (random_between(&model->random, 0, 30) == 0)
        bytes = random_between(&model->random, 30000, 200000); /* up to more than an extent */
    for (uint64_t left = random_between(&model->random, 1, 40); left > 0; left--) {
        CHECK_STATUS(send_pattern(model->publishers[source], bytes, ++model->sent[source]), 1);
        if (varies && bytes < 200)
            bytes = random_between(&model->random, 0, 100);
    }
}

static void come_or_go(struct model *model, int source) {
    if (model->publishers[source] && model->sent[source] == model->read[source]) {
        CHECK_STATUS(tarn_publisher_close(model->publishers[source]), 0);
        model->publishers[source] = NULL;
    } else if (!model->publishers[source]) {
        model->publishers[source] = publisher_with(.timestamps = source == 2, .memory_limit_bytes = 64 * MIB);
        model->sent[source] = model->read[source] = 0;
    }
}

/* The short ways that usual messages go, and credit that is lent to who may need it, give neither more nor less. */
TEST(as_many_as_may_be_held_whoever_comes_and_goes) {
    struct model model = {.random = random_start(1), .subscriber = subscriber_with(.reliable = 1, .max_held = FEW)};
    for (int step = 0; step < 100000; step++) {
        int source = (int)random_between(&model.random, 0, SOURCES - 1);
        uint64_t what = random_between(&model.random, 0, 99);
        if (what == 0)
            come_or_go(&model, source);
        else if (what < 8 && model.publishers[source] && unread(&model) < 200)
            send_some(&model, source);
        else if (what < 60)
            take_up_to(&model, random_between(&model.random, 0, 1) ? 1 : random_between(&model.random, 1, 2 * FEW));
        else
            let_one_go(&model);
    }
    CHECK_INT(model.taken, >, 20000);
    while (model.held)
        let_one_go(&model);
    CHECK_STATUS(tarn_subscriber_close(model.subscriber), 0);
    for (int i = 0; i < SOURCES; i++)
        CHECK_STATUS(tarn_publisher_close(model.publishers[i]), 0);
}

TEST(many_are_taken_in_one_call) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    tarn_message messages[100];
    CHECK_ERROR(tarn_subscriber_take_many(subscriber, messages, 0), TARN_ERROR_ARGUMENT, "no message");
    CHECK_ERROR(tarn_subscriber_take_many(subscriber, NULL, 1), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_STATUS(tarn_subscriber_take_many(subscriber, messages, 100), 0);
    for (uint64_t i = 1; i <= 70; i++)
        CHECK_STATUS(send_pattern(publisher, i % 10 ? 8 : 70000, i), 1);
    CHECK_STATUS(tarn_subscriber_take_many(subscriber, messages, 100), 64);
    CHECK_ERROR(tarn_subscriber_take_many(subscriber, messages + 64, 36), TARN_ERROR_HOLDING, "64 messages");
    for (uint64_t i = 0; i < 64; i++) {
        CHECK_INT(messages[i].sequence, ==, i + 1);
        check_contents(&messages[i], (i + 1) % 10 ? 8 : 70000);
        release(&messages[i]);
    }
    CHECK_STATUS(tarn_subscriber_take_many(subscriber, messages, SIZE_MAX), 6);
    for (int i = 0; i < 6; i++)
        release(&messages[i]);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_ERROR(tarn_subscriber_take_many(subscriber, messages, 1), TARN_ERROR_CLOSED, "closed");
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- whatever the publisher does ------------------------------------------------------------------------------ */

/* Held ones are of all ages; the publisher goes round its memory many times. */
TEST(unchanged_while_memory_is_used_again) {
    struct random random = random_start(1);
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 16 * MIB, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with();
    uint64_t sequence = 0;
    for (int step = 0; step < 6000; step++) {
        struct held *one = &held[random_between(&random, 0, 63)];
        if (one->message.held_by) {
            check_contents(&one->message, one->bytes);
            release(&one->message);
        }
        one->bytes = random_between(&random, 0, 1u << random_between(&random, 0, 17));
        CHECK_STATUS(send_pattern(publisher, one->bytes, ++sequence), 1);
        take_one(subscriber, &one->message);
        CHECK_INT(one->message.sequence, ==, sequence);
        if (step % 64 == 0)
            check_held(64);
    }
    check_held(64);
    for (int i = 0; i < 64; i++)
        release(&held[i].message);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Memory that is kept only because it is held does not count against the limit: who holds messages, as many as he may,
   holds back nobody. */
TEST(held_memory_fills_no_publisher) {
    struct random random = random_start(1);
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 2 * MIB, .when_full = TARN_FULL_FAIL);
    tarn_subscriber *subscriber = subscriber_with();
    take_many(publisher, subscriber, 64, 200000, NULL);
    churn(publisher, 200000, 100);
    release_shuffled(64, &random);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(two_subscribers_hold_the_same_message) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 2 * MIB);
    tarn_subscriber *a = subscriber_with(), *b = subscriber_with();
    tarn_message of_a, of_b;
    CHECK_STATUS(send_pattern(publisher, 100000, 1), 1);
    take_one(a, &of_a);
    take_one(b, &of_b);
    CHECK(of_a.data == of_b.data); /* one mapping per process */
    release(&of_a);
    CHECK_STATUS(tarn_subscriber_close(a), 0);
    churn(publisher, 100000, 100);
    check_contents(&of_b, 100000);
    release(&of_b);
    CHECK_STATUS(tarn_subscriber_close(b), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* ---- who releases, and when ------------------------------------------------------------------------------------ */

static void *release_all(void *arg) {
    for (uint32_t i = 0; i < *(uint32_t *)arg; i++) {
        check_contents(&held[i].message, held[i].bytes);
        release(&held[i].message);
    }
    return NULL;
}

TEST(another_thread_may_release) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with();
    uint32_t count = 64;
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        take_many(publisher, subscriber, count, 10000, NULL);
        CHECK_INT(pthread_create(&thread, NULL, release_all, &count), ==, 0);
        CHECK_INT(pthread_join(thread, NULL), ==, 0);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Held messages survive their subscriber, and go with the last release: then the slot is free, and no file is left. */
TEST(release_after_subscriber_closed) {
    struct random random = random_start(1);
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 32 * MIB);
    for (int round = 0; round < 5; round++) {
        tarn_subscriber *subscriber = subscriber_with();
        take_many(publisher, subscriber, 64, 100000, &random);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        CHECK_STATUS(tarn_publisher_subscribers(publisher), 0);
        churn(publisher, 50000, 300);
        release_shuffled(64, &random);
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

TEST(release_after_publisher_closed) {
    struct random random = random_start(1);
    tarn_subscriber *subscriber = subscriber_with(.max_held = 65);
    for (int round = 0; round < 5; round++) {
        tarn_publisher *publisher = publisher_with();
        take_many(publisher, subscriber, 64, 100000, &random);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
        tarn_message message;
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
        tarn_publisher *next = publisher_with(); /* perhaps in the same slot */
        churn(next, 100000, 100);
        while (tarn_subscriber_take(subscriber, &message) == 1)
            release(&message);
        CHECK_STATUS(tarn_publisher_close(next), 0);
        release_shuffled(64, &random);
        CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(release_after_everybody_closed) {
    struct random random = random_start(1);
    for (int order = 0; order < 2; order++) {
        tarn_publisher *publisher = publisher_with();
        tarn_subscriber *subscriber = subscriber_with();
        take_many(publisher, subscriber, 64, 100000, &random);
        if (order)
            CHECK_STATUS(tarn_publisher_close(publisher), 0);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
        if (!order)
            CHECK_STATUS(tarn_publisher_close(publisher), 0);
        tarn_publisher *next = publisher_with(); /* the topic lives, or is made anew */
        churn(next, 100000, 100);
        CHECK_STATUS(tarn_publisher_close(next), 0);
        release_shuffled(64, &random);
    }
}

/* Messages that came through late loans are held one by one. */
TEST(references_are_held_too) {
    struct random random = random_start(1);
    static tarn_loan loans[64];
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 64 * MIB);
    tarn_subscriber *subscriber = subscriber_with();
    uint64_t identity = tarn_publisher_identity(publisher);
    for (uint32_t i = 0; i < 64; i++)
        CHECK_STATUS(tarn_publisher_loan(publisher, 40000, &loans[i]), 1);
    for (uint32_t i = 0; i < 64; i++) {
        held[i].bytes = 40000;
        fill_pattern(loans[63 - i].data, 40000, pattern_of(identity, i + 1));
        CHECK_STATUS(tarn_loan_send(&loans[63 - i]), 1);
        take_one(subscriber, &held[i].message);
    }
    tarn_message message;
    CHECK_STATUS(send_pattern(publisher, 1, 65), 1);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), TARN_ERROR_HOLDING);
    churn(publisher, 40000, 500);
    release_shuffled(64, &random);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Copies of the struct are allowed, and any of them may be the one that is released. */
TEST(a_copy_may_be_released) {
    tarn_publisher *publisher = publisher_with();
    tarn_subscriber *subscriber = subscriber_with(.max_held = 1);
    tarn_message message, copy;
    for (uint64_t i = 1; i <= 100; i++) {
        CHECK_STATUS(send_pattern(publisher, 70000, i), 1);
        take_one(subscriber, &message);
        copy = message;
        memset(&message, 0, sizeof message);
        check_contents(&copy, 70000);
        release(&copy);
        CHECK_STATUS(tarn_message_release(&copy), TARN_ERROR_RELEASED);
    }
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}
