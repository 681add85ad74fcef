/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Messages that the user holds: as many as max_held says, unchanged and in place whatever the publisher does, until they
 * are released, in any order, by any thread, before or after the handles are closed.
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
