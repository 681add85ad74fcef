/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Participants that come and go in threads of one process, while others send, grow and read: joins that meet a
 * publisher adding memory, readers of one process that share its attached memory, publishers that follow each other in
 * a slot.
 */
#include "common.h"

static _Atomic bool done;

/* New publishers, one after the other, each growing through several segments. */
static void *growing(void *arg) {
    for (int i = 0; i < *(int *)arg; i++) {
        tarn_publisher *publisher = publisher_with(.depth = 1000, .memory_limit_bytes = 64 << 20,
                                                   .when_full = TARN_FULL_DROP, .linger_ns = TARN_IMMEDIATELY);
        for (uint64_t sequence = 1; sequence <= 60; sequence++)
            CHECK_INT(send_number(publisher, sequence, 200000), >=, 0);
        CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    }
    atomic_store(&done, true);
    return NULL;
}

/* Joins with some history, takes a little, leaves. Before the first message of a publisher nothing counts as lost
   that was sent before the join: so the first one's losses are within what was sent since. */
static void *visiting(void *arg) {
    struct random random = random_start((uint64_t)(uintptr_t)arg);
    while (!atomic_load(&done)) {
        tarn_subscriber *subscriber = subscriber_with(.history = random_between(&random, 0, 30),
                                                      .reliable = (uint32_t)random_between(&random, 0, 1));
        tarn_message message;
        for (uint64_t i = random_between(&random, 0, 20); i > 0; i--)
            if (tarn_subscriber_receive(subscriber, &message, 100000) == 1) {
                check_message(&message, 200000);
                CHECK_STATUS(tarn_message_release(&message), 0);
            }
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    return NULL;
}

TEST(joiners_meet_a_growing_publisher) {
    int publishers = ROUNDS(160);
    pthread_t grower = start(growing, &publishers), visitors[2];
    for (uintptr_t i = 0; i < 2; i++)
        visitors[i] = start(visiting, (void *)i);
    join(grower);
    join(visitors[0]);
    join(visitors[1]);
}

/* ---- exact counts --------------------------------------------------------------------------------------------- */

static _Atomic uint64_t sent; /* before each send: at least so many are sent or about to be */

static void *sending(void *arg) {
    tarn_publisher *publisher = arg;
    for (uint64_t i = 1; !atomic_load(&done); i++) {
        atomic_store(&sent, i);
        CHECK_STATUS(send_number(publisher, i, i % 50 ? 100 : 100000), 1);
    }
    return NULL;
}

/* Whoever joins while messages are sent starts where it joined: what came before is not lost to it, what comes is. */
static void check_join(uint32_t reliable) {
    tarn_message message;
    uint64_t before = atomic_load(&sent);
    tarn_subscriber *subscriber = subscriber_with(.reliable = reliable);
    uint64_t after = atomic_load(&sent);
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, TARN_FOREVER), 1);
    if (message.sequence - message.lost < before || message.sequence - message.lost > after + 1)
        FAIL("joined between %llu and %llu, but starts at %llu with %llu lost", (unsigned long long)before,
             (unsigned long long)after, (unsigned long long)message.sequence, (unsigned long long)message.lost);
    CHECK(!reliable || message.lost == 0);
    check_message(&message, message.sequence % 50 ? 100 : 100000);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(joiners_start_where_they_joined) {
    tarn_publisher *publisher = publisher_with(.memory_limit_bytes = 64 << 20, .linger_ns = TARN_IMMEDIATELY);
    pthread_t sender = start(sending, publisher);
    for (int i = 0; i < ROUNDS(4000); i++)
        check_join(i & 1);
    atomic_store(&done, true);
    join(sender);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* ---- publishers that follow each other --------------------------------------------------------------------------- */

#define EACH 20

static void *succeeding(void *arg) {
    for (int i = 0; i < *(int *)arg; i++) {
        tarn_publisher *publisher = publisher_with(.linger_ns = TARN_FOREVER);
        for (uint64_t sequence = 1; sequence <= EACH; sequence++)
            CHECK_STATUS(send_number(publisher, sequence, 500), 1);
        CHECK_STATUS(tarn_publisher_close(publisher), 0);
    }
    return NULL;
}

/* Each of them is heard to its end by a reliable subscriber, though it leaves at once. */
TEST(each_of_many_publishers_is_heard_whole) {
    int publishers = ROUNDS(400);
    tarn_subscriber *subscriber = subscriber_with(.reliable = 1);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = start(succeeding, &publishers);
    tarn_message message;
    for (int i = 0; i < 3 * publishers * EACH; i++) {
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 10 * INT64_C(1000000000)), 1);
        CHECK_INT(message.lost, ==, 0);
        check_message(&message, 500);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    for (int i = 0; i < 3; i++)
        join(threads[i]);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}
