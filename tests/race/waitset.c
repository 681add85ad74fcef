/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Waitsets of one process, each used by a thread of its own, with handles that come and go; interrupted by others. */
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include "common.h"

#define SECOND INT64_C(1000000000)
#define THREADS 3

static tarn_waitset *open_waitset(void) {
    tarn_waitset *waitset = NULL;
    CHECK_STATUS(tarn_waitset_open(&waitset, NULL), 0);
    return waitset;
}

/* ---- messages from other threads --------------------------------------------------------------------------------- */

struct taking {
    tarn_waitset *waitset;
    tarn_subscriber *subscribers[2];
    uint64_t expected, interruptions;
    _Atomic bool over;
};

static void *publishing(void *arg) {
    tarn_publisher *publisher = arg;
    for (uint64_t i = 0; i < ROUNDS(4000); i++) {
        CHECK_STATUS(tarn_publisher_publish(publisher, &i, sizeof i), 1);
        if (i % 64 == 0)
            usleep(200); /* so that they sleep now and then */
    }
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    return NULL;
}

static void *taking(void *arg) {
    struct taking *role = arg;
    for (uint64_t taken = 0; taken < role->expected;) {
        tarn_ready ready;
        tarn_message message;
        int count = tarn_waitset_wait(role->waitset, &ready, 1, 10 * SECOND);
        if (count == TARN_ERROR_INTERRUPTED) {
            role->interruptions++;
            continue;
        }
        CHECK_STATUS(count, 1);
        CHECK_STATUS(tarn_subscriber_take(ready.handle, &message), 1);
        CHECK_STATUS(tarn_message_release(&message), 0);
        taken++;
    }
    role->over = true;
    return NULL;
}

TEST_LIMIT(messages_and_interruptions_from_other_threads, 60) {
    struct taking roles[THREADS] = {{0}};
    tarn_publisher *publishers[2];
    pthread_t threads[THREADS + 2];
    for (int i = 0; i < 2; i++)
        publishers[i] = publisher_with(.linger_ns = 20 * SECOND, .full_timeout_ns = 20 * SECOND);
    for (int i = 0; i < THREADS; i++) {
        roles[i].waitset = open_waitset();
        for (int k = 0; k < 2; k++) {
            roles[i].subscribers[k] = subscriber_with(.reliable = 1);
            CHECK_STATUS(tarn_waitset_add(roles[i].waitset, roles[i].subscribers[k], NULL), 0);
        }
        roles[i].expected = 2 * 2 * ROUNDS(4000);
        threads[i] = start(taking, &roles[i]);
    }
    for (int i = 0; i < 2; i++)
        threads[THREADS + i] = start(publishing, publishers[i]);
    for (unsigned i = 0; !roles[i % THREADS].over; i++) {
        CHECK_STATUS(tarn_waitset_interrupt(roles[i % THREADS].waitset), 0);
        usleep(300);
    }
    for (int i = 0; i < THREADS + 2; i++)
        join(threads[i]);
    for (int i = 0; i < THREADS; i++) {
        CHECK_STATUS(tarn_waitset_close(roles[i].waitset), 0);
        for (int k = 0; k < 2; k++)
            CHECK_STATUS(tarn_subscriber_close(roles[i].subscribers[k]), 0);
    }
}

/* ---- handles that come and go ------------------------------------------------------------------------------------ */

/* Closes without removing, so that memory of handles that a waitset once had becomes another thread's. */
static void *coming_and_going(void *arg) {
    tarn_waitset *waitset = open_waitset();
    (void)arg;
    for (uint64_t round = 0; round < ROUNDS(160); round++) {
        tarn_subscriber *subscribers[4];
        tarn_ready ready[4];
        tarn_publisher *publisher = publisher_with(.linger_ns = TARN_IMMEDIATELY);
        for (int i = 0; i < 4; i++) {
            subscribers[i] = subscriber_with();
            CHECK_STATUS(tarn_waitset_add(waitset, subscribers[i], NULL), 0);
        }
        CHECK_STATUS(tarn_publisher_publish(publisher, "a", 1), 1);
        CHECK_STATUS(tarn_waitset_wait(waitset, ready, 4, 10 * SECOND), 4);
        CHECK_INT(tarn_publisher_close(publisher), >=, 0); /* others may not have read it */
        for (int i = 0; i < 4; i++)
            CHECK_STATUS(tarn_subscriber_close(subscribers[i]), 0);
        if (round % 3 == 0) {
            CHECK_STATUS(tarn_waitset_close(waitset), 0);
            waitset = open_waitset();
        }
    }
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    return NULL;
}

TEST_LIMIT(handles_come_and_go_beside_other_waitsets, 60) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(coming_and_going, NULL);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
}
