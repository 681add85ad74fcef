/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Handles of one process, each used by a thread of its own: what the header promises about threads. */
#include <stdlib.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "core/subscriber.h"

#define SECOND INT64_C(1000000000)
#define MOST 2000
#define PUBLISHERS 2
#define SUBSCRIBERS 3

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* ---- publishers and subscribers side by side ------------------------------------------------------------------ */

static uint64_t messages;

static void *publishing(void *arg) {
    tarn_publisher *publisher = arg;
    for (uint64_t i = 1; i <= messages; i++)
        CHECK_STATUS(send_number(publisher, i, MOST), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    return NULL;
}

struct subscribing {
    tarn_subscriber *subscriber;
    uint32_t reliable;
    uint64_t next[PUBLISHERS], identity[PUBLISHERS];
    uint64_t taken, lost;
};

static void count(struct subscribing *role, const tarn_message *message) {
    int from = 0;
    while (from < PUBLISHERS - 1 && role->identity[from] != message->publisher)
        from++;
    CHECK(role->identity[from] == message->publisher);
    CHECK_INT(message->sequence, ==, role->next[from] + message->lost);
    CHECK(!role->reliable || message->lost == 0);
    role->next[from] = message->sequence + 1;
    role->taken++;
    role->lost += message->lost;
}

/* Ends when the last message of each publisher was taken: one is always kept. */
static void *subscribing(void *arg) {
    struct subscribing *role = arg;
    tarn_message held[8] = {{0}};
    for (uint32_t i = 0; role->next[0] <= messages || role->next[1] <= messages; i++) {
        tarn_message *message = &held[i % 8];
        if (message->held_by) {
            check_message(message, MOST);
            CHECK_STATUS(tarn_message_release(message), 0);
        }
        CHECK_STATUS(tarn_subscriber_receive(role->subscriber, message, 10 * SECOND), 1);
        count(role, message);
    }
    for (int i = 0; i < 8; i++)
        if (held[i].held_by)
            CHECK_STATUS(tarn_message_release(&held[i]), 0);
    CHECK_INT(tarn_subscriber_lost(role->subscriber), ==, role->lost);
    CHECK_STATUS(tarn_subscriber_close(role->subscriber), 0);
    return NULL;
}

static void run_side_by_side(uint64_t memory_limit_bytes) {
    tarn_publisher *publishers[PUBLISHERS];
    struct subscribing roles[SUBSCRIBERS] = {{0}};
    pthread_t threads[PUBLISHERS + SUBSCRIBERS];
    messages = ROUNDS(20000);
    for (int i = 0; i < PUBLISHERS; i++)
        publishers[i] = publisher_with(.memory_limit_bytes = memory_limit_bytes, .full_timeout_ns = 10 * SECOND,
                                       .linger_ns = 10 * SECOND);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        roles[i] = (struct subscribing){.subscriber = subscriber_with(.reliable = i & 1), .reliable = i & 1};
        for (int k = 0; k < PUBLISHERS; k++) {
            roles[i].next[k] = 1;
            roles[i].identity[k] = tarn_publisher_identity(publishers[k]);
        }
        threads[i] = start(subscribing, &roles[i]);
    }
    for (int i = 0; i < PUBLISHERS; i++)
        threads[SUBSCRIBERS + i] = start(publishing, publishers[i]);
    for (int i = 0; i < PUBLISHERS + SUBSCRIBERS; i++)
        join(threads[i]);
    for (int i = 0; i < SUBSCRIBERS; i++)
        CHECK_INT(roles[i].taken + roles[i].lost, ==, PUBLISHERS * messages);
}

TEST_LIMIT(publishers_and_subscribers_side_by_side, 30) {
    run_side_by_side(0);
}

TEST_LIMIT(publishers_wait_for_slow_reliable_subscribers, 30) {
    run_side_by_side(512 * 1024);
}

/* ---- release by others ---------------------------------------------------------------------------------------- */

#define QUEUE 256

static struct {
    tarn_message messages[QUEUE];
    _Atomic uint64_t head, tail;
} queue; /* one producer, one consumer */

static void *releasing(void *arg) {
    for (uint64_t tail = 0; tail < *(uint64_t *)arg; tail++) {
        while (atomic_load_explicit(&queue.head, memory_order_acquire) == tail)
            sched_yield();
        check_message(&queue.messages[tail % QUEUE], MOST);
        CHECK_STATUS(tarn_message_release(&queue.messages[tail % QUEUE]), 0);
        atomic_store_explicit(&queue.tail, tail + 1, memory_order_release);
    }
    return NULL;
}

/* The subscriber closes while the other thread still has messages: whoever lets go of the last one ends it. */
static void take_and_hand_over(tarn_subscriber *subscriber, uint64_t first, uint64_t last) {
    for (uint64_t head = first; head < last; head++) {
        while (head - atomic_load_explicit(&queue.tail, memory_order_acquire) >= QUEUE)
            sched_yield();
        int result;
        while ((result = tarn_subscriber_receive(subscriber, &queue.messages[head % QUEUE], 10 * SECOND)) ==
               TARN_ERROR_HOLDING)
            sched_yield();
        CHECK_STATUS(result, 1);
        atomic_store_explicit(&queue.head, head + 1, memory_order_release);
    }
}

TEST_LIMIT(another_thread_releases, 30) {
    CHECK_INT(tarn_process_register(), >=, 0);
    enum { LIVES = 10 };
    uint64_t of_one = ROUNDS(3000) / 10 * 10, in_all = of_one * LIVES;
    tarn_publisher *publisher =
        publisher_with(.memory_limit_bytes = 1 << 20, .full_timeout_ns = 10 * SECOND, .linger_ns = TARN_IMMEDIATELY);
    tarn_subscriber *witness = subscriber_with(); /* keeps the topic alive */
    pthread_t releaser = start(releasing, &in_all);
    uint64_t sequence = 0;
    for (int i = 0; i < LIVES; i++) {
        tarn_subscriber *subscriber = subscriber_with(.max_held = 100 + (uint32_t)i);
        for (uint64_t k = 0; k < of_one; k += 10) {
            for (int j = 0; j < 10; j++)
                CHECK_STATUS(send_number(publisher, ++sequence, MOST), 1);
            take_and_hand_over(subscriber, (uint64_t)i * of_one + k, (uint64_t)i * of_one + k + 10);
        }
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
    join(releaser);
    CHECK_STATUS(tarn_publisher_subscribers(publisher), 1);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    CHECK_STATUS(tarn_subscriber_close(witness), 0);
}

/* ---- a subscriber that changes threads -------------------------------------------------------------------------- */

#define TURN 12

/* Two threads use it in turns; who has had a turn releases its messages while the other one goes on. */
static struct {
    tarn_subscriber *subscriber;
    _Atomic uint64_t turns; /* that are over */
    uint64_t turns_in_all;
    tarn_message handed; /* the last of a turn, for the other to release */
} shift;

static void take_a_turn(tarn_message *mine, uint64_t turn) {
    shift.subscriber->holds.partings = 0; /* else it soon leaves it at locked instructions */
    for (int i = 0; i < TURN; i++) {
        CHECK_STATUS(tarn_subscriber_receive(shift.subscriber, &mine[i], 10 * SECOND), 1);
        CHECK_INT(mine[i].lost, ==, 0);
        if (i % 3 == 0) /* in turn: some at once, some later, one by the other thread */
            CHECK_STATUS(tarn_message_release(&mine[i]), 0);
    }
    if (shift.handed.held_by)
        CHECK_STATUS(tarn_message_release(&shift.handed), 0);
    if (turn % 2) {
        shift.handed = mine[TURN - 1];
        mine[TURN - 1] = (tarn_message){0};
    }
}

static void *working_in_shifts(void *arg) {
    uint64_t first = *(uint64_t *)arg;
    tarn_message mine[TURN] = {{0}};
    for (uint64_t turn = first; turn < shift.turns_in_all; turn += 2) {
        while (atomic_load_explicit(&shift.turns, memory_order_acquire) != turn)
            sched_yield();
        take_a_turn(mine, turn);
        if (turn + 1 == shift.turns_in_all)
            CHECK_STATUS(tarn_subscriber_close(shift.subscriber), 0);
        atomic_store_explicit(&shift.turns, turn + 1, memory_order_release);
        for (int i = 0; i < TURN; i++)
            if (mine[i].held_by) {
                check_message(&mine[i], MOST);
                CHECK_STATUS(tarn_message_release(&mine[i]), 0);
            }
    }
    return NULL;
}

/*
 * A message that is not counted as released keeps its memory, and the publisher has little; one counted twice frees it.
 */
TEST_LIMIT(a_subscriber_is_used_by_two_threads_in_turns, 40) {
    CHECK_INT(tarn_process_register(), >=, 0); /* where a sanitizer has a thread of its own, opening does not */
    tarn_publisher *publisher =
        publisher_with(.memory_limit_bytes = 512 * 1024, .full_timeout_ns = 10 * SECOND, .linger_ns = TARN_IMMEDIATELY);
    uint64_t sequence = 0;
    for (int life = 0; life < 4; life++) {
        tarn_subscriber *witness = subscriber_with(); /* keeps the topic alive */
        shift.subscriber = subscriber_with(.reliable = 1);
        shift.turns_in_all = ROUNDS(4000);
        atomic_store(&shift.turns, 0);
        uint64_t firsts[2] = {0, 1};
        pthread_t threads[2] = {start(working_in_shifts, &firsts[0]), start(working_in_shifts, &firsts[1])};
        for (uint64_t i = 0; i < TURN * shift.turns_in_all; i++)
            CHECK_STATUS(send_number(publisher, ++sequence, MOST), 1);
        join(threads[0]);
        join(threads[1]);
        if (shift.handed.held_by) /* after its subscriber was closed */
            CHECK_STATUS(tarn_message_release(&shift.handed), 0);
        CHECK_STATUS(tarn_publisher_subscribers(publisher), 1);
        CHECK_STATUS(tarn_subscriber_close(witness), 0);
    }
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

static const char *const strategies[] = {"spin, then sleep", "spin", "sleep"};

struct echoing {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    int rounds, late;
};

/* Answers each message; a wake-up that got lost shows as a wait of a whole slice, 100 ms. */
static void *echoing(void *arg) {
    struct echoing *role = arg;
    tarn_message message;
    for (int i = 0; i < role->rounds; i++) {
        int64_t before = now_ns();
        CHECK_STATUS(tarn_subscriber_receive(role->subscriber, &message, 10 * SECOND), 1);
        role->late += now_ns() - before >= 95 * SECOND / 1000;
        CHECK_STATUS(tarn_message_release(&message), 0);
        CHECK_STATUS(tarn_publisher_publish(role->publisher, "x", 1), 1);
    }
    return NULL;
}

/* Two topics in one: each side hears its own messages too, so two domains. */
static void ping_pong(uint32_t strategy, int rounds, uint32_t wake) {
    tarn_publisher_options to_pong = {.struct_bytes = sizeof to_pong, .domain = "pong", .wake = wake};
    tarn_subscriber_options pong = {.struct_bytes = sizeof pong, .domain = "pong", .wait_strategy = strategy};
    struct echoing role = {
        .publisher = publisher_with(.wake = wake), .subscriber = open_subscriber(&pong), .rounds = rounds};
    tarn_publisher *publisher = open_publisher(&to_pong);
    tarn_subscriber *subscriber = subscriber_with(.wait_strategy = strategy);
    pthread_t thread = start(echoing, &role);
    tarn_message message;
    int late = 0;
    for (int i = 0; i < rounds; i++) {
        int64_t before = now_ns();
        CHECK_STATUS(tarn_publisher_publish(publisher, "x", 1), 1);
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, 10 * SECOND), 1);
        late += now_ns() - before >= 95 * SECOND / 1000;
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    join(thread);
    if (late + role.late > 2 + rounds / 500) /* a busy machine may be late, too, but not often */
        FAIL("%s: %d and %d of %d waits took as long as if nobody had woken them", strategies[strategy], late,
             role.late, rounds);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    CHECK_STATUS(tarn_subscriber_close(role.subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_publisher_close(role.publisher), 0);
}

TEST_LIMIT(nobody_sleeps_through_a_message, 40) {
    ping_pong(TARN_WAIT_SLEEP, ROUNDS(8000), TARN_WAKE_AUTO);
    ping_pong(TARN_WAIT_SLEEP, ROUNDS(8000), TARN_WAKE_FENCE);
    ping_pong(TARN_WAIT_SPIN_THEN_SLEEP, ROUNDS(8000), TARN_WAKE_AUTO);
    ping_pong(TARN_WAIT_SPIN, ROUNDS(400), TARN_WAKE_NEVER);
}

/* ---- interrupt ------------------------------------------------------------------------------------------------ */

struct waiting {
    tarn_subscriber *subscriber;
    int rounds;
    _Atomic int woken, late;
};

static void *waiting(void *arg) {
    struct waiting *role = arg;
    for (int i = 0; i < role->rounds; i++) {
        int64_t before = now_ns();
        CHECK_STATUS(tarn_subscriber_wait(role->subscriber, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
        if (now_ns() - before >= 95 * SECOND / 1000)
            atomic_fetch_add(&role->late, 1);
        atomic_fetch_add(&role->woken, 1);
    }
    return NULL;
}

TEST(interrupt_ends_the_wait_or_the_next) {
    struct waiting role = {.subscriber = subscriber_with(.wait_strategy = TARN_WAIT_SLEEP), .rounds = ROUNDS(8000)};
    struct random random = random_start(1);
    pthread_t thread = start(waiting, &role);
    for (int i = 0; i < role.rounds; i++) {
        CHECK_STATUS(tarn_subscriber_interrupt(role.subscriber), 0);
        for (uint64_t spins = random_between(&random, 0, 300); spins > 0; spins--)
            atomic_load(&role.woken);
        while (atomic_load(&role.woken) <= i)
            sched_yield();
    }
    join(thread);
    CHECK_INT(role.late, <=, 2 + role.rounds / 500);
    CHECK_STATUS(tarn_subscriber_close(role.subscriber), 0);
}
