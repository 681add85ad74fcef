/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A publisher that waits for space: whoever makes some wakes it, and not for each message of many. One that does not
 * wait gets what the dead held all the same. A wake-up that is lost ends with the slice of 100 ms, so nothing hangs;
 * but then the waits end with a time-out instead. All futex calls are counted: this program has a syscall of its own,
 * which counts and hands on to the C library's.
 */
#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>

#include "common.h"
#include "core/publisher.h"

#define TOPIC "space/to.wait.for"

/* ---- futex calls ---------------------------------------------------------------------------------------------- */

struct futex_calls {
    _Atomic uint64_t waits, timeouts, wakes;
    _Atomic bool waiting; /* at this moment, or about to begin */
};

static struct futex_calls *calls; /* of this process */

static void count_begin(long number, int operation) {
    if (calls && number == SYS_futex)
        calls->waiting = operation == FUTEX_WAIT;
}

static void count_end(long number, int operation, bool is_timeout) {
    if (!calls || number != SYS_futex)
        return;
    calls->waiting = false;
    *(operation == FUTEX_WAIT ? &calls->waits : &calls->wakes) += 1;
    calls->timeouts += is_timeout;
}

long syscall(long number, ...) {
    static long (*next)(long number, ...);
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    int operation = (int)arguments[1] & FUTEX_CMD_MASK;
    count_begin(number, operation);
    long result = next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    count_end(number, operation, result == -1 && errno == ETIMEDOUT);
    return result;
}

static struct {
    struct futex_calls publisher, subscriber;
    _Atomic bool ready, over;
} * board;

static void make_board(void) {
    board = shared_page(sizeof *board);
}

/* Nearly all waits have ended because somebody made space, and not because a slice was over. */
static void check_woken(uint64_t least) {
    uint64_t waits = board->publisher.waits, timeouts = board->publisher.timeouts;
    if (waits < least || timeouts > waits / 4)
        FAIL("of %llu waits, at least %llu, %llu ended with a time-out; %llu times a subscriber woke",
             (unsigned long long)waits, (unsigned long long)least, (unsigned long long)timeouts,
             (unsigned long long)board->subscriber.wakes);
}

/* ---- space behind a reliable subscriber ------------------------------------------------------------------------ */

enum { WORDS = 2000000, STAGES = 40 };

static void publish_words(void *arg) {
    (void)arg;
    calls = &board->publisher;
    tarn_publisher *publisher =
        PUBLISHER(TOPIC, .memory_limit_bytes = 512 << 10, .full_timeout_ns = TARN_FOREVER, .linger_ns = GENEROUS);
    AWAIT(board->ready);
    for (uint64_t word = 1; word <= WORDS; word++)
        publish_word(publisher, word);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
}

/* Stops again and again until the publisher cannot go on, and reads on. */
TEST_LIMIT(reading_on_wakes, 60) {
    make_board();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    pid_t child = spawn(publish_words, NULL);
    calls = &board->subscriber;
    board->ready = true;
    for (uint64_t word = 1; word <= WORDS; word++) {
        receive_word(subscriber, word);
        if (word % (WORDS / STAGES) == 1)
            AWAIT(board->publisher.waiting);
    }
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_INT(tarn_subscriber_lost(subscriber), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    check_woken(STAGES);
    /* It is woken for a quarter of its memory at a time, 8192 words: some 250 times, and where it was waited for. */
    CHECK_INT(board->subscriber.wakes, <, WORDS / 4000);
    CHECK_INT(board->subscriber.waits, <, WORDS / 100);
}

/* ---- space in messages that are held --------------------------------------------------------------------------- */

enum { LARGE = 100 << 10, ROUNDS = 100, HELD = 32 };

/* A realtime publisher has no more than it has: what is held counts, too. */
static void publish_large(void *arg) {
    static char data[LARGE];
    (void)arg;
    calls = &board->publisher;
    tarn_publisher *publisher = PUBLISHER(TOPIC, .realtime = 1, .memory_limit_bytes = 1 << 20, .depth = 1,
                                          .full_timeout_ns = TARN_FOREVER, .linger_ns = TARN_IMMEDIATELY);
    AWAIT(board->ready);
    while (!board->over)
        CHECK_STATUS(tarn_publisher_publish(publisher, data, LARGE), 1);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}

/* Takes and holds all that there is, until the publisher can send no more, and sleeps; returns how many those are. */
static int hold_all(tarn_subscriber *subscriber, tarn_message ret[HELD], uint64_t *next) {
    int count = 0;
    for (bool is_still = false; !is_still;) {
        uint64_t waits = board->publisher.waits;
        nap_ns(MS); /* a wake-up may be under way: that of the last message taken */
        is_still = board->publisher.waiting && board->publisher.waits == waits;
        for (; tarn_subscriber_take(subscriber, &ret[count]) == 1; count++) {
            CHECK_INT(ret[count].sequence, ==, (*next)++);
            CHECK_INT(ret[count].lost, ==, 0);
            CHECK_INT(count, <, HELD - 1);
            is_still = false;
        }
    }
    return count;
}

/* Nothing but releasing makes space, so that has to wake. */
TEST_LIMIT(releasing_wakes, 60) {
    tarn_message held[HELD];
    uint64_t next = 1;
    make_board();
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    pid_t child = spawn(publish_large, NULL);
    calls = &board->subscriber;
    board->ready = true;
    for (int round = 0; round < ROUNDS; round++) {
        int count = hold_all(subscriber, held, &next);
        uint64_t before = board->publisher.waits;
        board->over = round == ROUNDS - 1;
        for (int i = 0; i < count; i++)
            CHECK_STATUS(tarn_message_release(&held[i]), 0);
        AWAIT(board->publisher.waits > before);
    }
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    check_woken(ROUNDS);
}

/* ---- space in what the dead held ------------------------------------------------------------------------------- */

enum { VERY_LARGE = 4 << 20, MESSAGES_HELD = 4 };

static void hold_and_stay(void *arg) {
    (void)arg;
    tarn_message message;
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1);
    board->ready = true;
    for (int i = 0; i < MESSAGES_HELD; i++)
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
    board->over = true;
    sleep_until_killed();
}

/* A publisher with space enough asks the kernel for who holds something for seconds, and for nobody else. */
TEST_LIMIT(what_a_killed_subscriber_held_is_given_back_to_who_needs_no_space, 60) {
    static char data[VERY_LARGE];
    make_board();
    tarn_publisher *publisher = PUBLISHER(TOPIC, .depth = 1, .memory_limit_bytes = 256 << 20);
    const struct extents *extents = &publisher->writer.extents;
    pid_t child = spawn(hold_and_stay, NULL);
    AWAIT(board->ready);
    for (int i = 0; i < MESSAGES_HELD; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, data, VERY_LARGE), 1);
    AWAIT(board->over);
    kill_child(child);
    for (int64_t end = now_ns() + GENEROUS; extents->retired.head || extents->free_large.head;) {
        CHECK_INT(now_ns(), <, end);
        CHECK_STATUS(tarn_publisher_publish(publisher, data, 1000), 1);
        nap_ns(MS);
    }
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
}
