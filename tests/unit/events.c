/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Events in one process: counting, turns, histories, filters, waiting, and what callers can do wrong. */
#include <poll.h>

#include "common.h"

#define MS INT64_C(1000000)

#define NOTIFIER(...)                                                                                                  \
    open_notifier(&(tarn_notifier_options){.struct_bytes = sizeof(tarn_notifier_options), __VA_ARGS__})
#define LISTENER(...)                                                                                                  \
    open_listener(&(tarn_listener_options){.struct_bytes = sizeof(tarn_listener_options), __VA_ARGS__})

static tarn_notifier *open_notifier(const tarn_notifier_options *options) {
    tarn_notifier *notifier = NULL;
    CHECK_STATUS(tarn_notifier_open(&notifier, TOPIC, options), 0);
    CHECK(notifier);
    return notifier;
}

static tarn_listener *open_listener(const tarn_listener_options *options) {
    tarn_listener *listener = NULL;
    CHECK_STATUS(tarn_listener_open(&listener, TOPIC, options), 0);
    CHECK(listener);
    return listener;
}

static void check_event(tarn_listener *listener, uint32_t id, uint64_t count, uint64_t total) {
    tarn_event event;
    CHECK_STATUS(tarn_listener_take(listener, &event), 1);
    CHECK_INT(event.id, ==, id);
    CHECK_INT(event.count, ==, count);
    CHECK_INT(event.total, ==, total);
}

static void check_none(tarn_listener *listener) {
    tarn_event event;
    CHECK_STATUS(tarn_listener_take(listener, &event), 0);
}

static void notify(tarn_notifier *notifier, uint32_t id, uint64_t count) {
    CHECK_STATUS(tarn_notifier_notify_many(notifier, id, count), 1);
}

static void close_both(tarn_notifier *notifier, tarn_listener *listener) {
    CHECK_STATUS(tarn_listener_close(listener), 0);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
}

TEST(what_is_raised_is_counted) {
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *listener = LISTENER();
    check_none(listener);
    CHECK_STATUS(tarn_notifier_notify(notifier, 0), 1);
    check_event(listener, 0, 1, 1);
    check_none(listener);
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(tarn_notifier_notify(notifier, 3), 1);
    notify(notifier, 3, 7);
    CHECK_STATUS(tarn_notifier_notify_many(notifier, 3, 0), 0);
    check_event(listener, 3, 12, 12);
    notify(notifier, 3, UINT64_C(1) << 40);
    check_event(listener, 3, UINT64_C(1) << 40, (UINT64_C(1) << 40) + 12);
    check_none(listener);
    close_both(notifier, listener);
}

TEST(events_take_turns) {
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *listener = LISTENER();
    for (uint32_t id = 0; id < 4; id++)
        notify(notifier, id, 1);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t id = 0; id < 4; id++) {
            notify(notifier, 0, 1); /* one that never ends */
            tarn_event event;
            CHECK_STATUS(tarn_listener_take(listener, &event), 1);
            CHECK_INT(event.id, ==, id);
            notify(notifier, id, 1);
        }
    close_both(notifier, listener);
}

TEST(each_id_that_there_is_counts) {
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *listener = LISTENER();
    const uint32_t ids[] = {0, 1, 255, 256, 257, 5000, 40000, TARN_EVENT_ID_MAX - 1, TARN_EVENT_ID_MAX};
    const int count = sizeof ids / sizeof ids[0];
    for (int i = count - 1; i >= 0; i--)
        notify(notifier, ids[i], ids[i] + 1);
    for (int i = 0; i < count; i++)
        check_event(listener, ids[i], ids[i] + 1, ids[i] + 1);
    check_none(listener);
    CHECK_STATUS(tarn_notifier_notify(notifier, TARN_EVENT_ID_MAX + 1), TARN_ERROR_ARGUMENT);
    CHECK_STATUS(tarn_notifier_notify(notifier, UINT32_MAX), TARN_ERROR_ARGUMENT);
    close_both(notifier, listener);
}

/* All 65,536, for which the roster grows by several segments. */
TEST(all_ids_together) {
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *early = LISTENER(), *late;
    for (uint32_t id = 0; id <= TARN_EVENT_ID_MAX; id++)
        notify(notifier, id, id % 7 + 1);
    late = LISTENER(.history = 1);
    for (uint32_t id = 0; id <= TARN_EVENT_ID_MAX; id++) {
        check_event(early, id, id % 7 + 1, id % 7 + 1);
        check_event(late, id, id % 7 + 1, id % 7 + 1);
    }
    check_none(early);
    check_none(late);
    CHECK_STATUS(tarn_listener_close(late), 0);
    close_both(notifier, early);
}

TEST(a_newcomer_starts_now_or_at_the_beginning) {
    tarn_notifier *notifier = NOTIFIER();
    notify(notifier, 1, 10);
    notify(notifier, 300, 4);
    tarn_listener *fresh = LISTENER(), *old = LISTENER(.history = 1);
    check_none(fresh);
    check_event(old, 1, 10, 10);
    check_event(old, 300, 4, 4);
    notify(notifier, 300, 1);
    check_event(fresh, 300, 1, 5);
    check_event(old, 300, 1, 5);
    CHECK_STATUS(tarn_listener_close(old), 0);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    notifier = NOTIFIER(); /* the counters are the topic's, not the notifier's */
    notify(notifier, 1, 1);
    check_event(fresh, 1, 1, 11);
    close_both(notifier, fresh);
    fresh = LISTENER(.history = 1); /* and go with its last participant */
    check_none(fresh);
    CHECK_STATUS(tarn_listener_close(fresh), 0);
}

TEST(a_listener_for_some_is_told_of_these) {
    const uint32_t ids[] = {9, 2, 400};
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *listener = LISTENER(.ids = ids, .ids_count = 3);
    for (uint32_t id = 0; id < 12; id++)
        notify(notifier, id, id + 1);
    check_event(listener, 9, 10, 10);
    check_event(listener, 2, 3, 3);
    check_none(listener);
    notify(notifier, 401, 1);
    check_none(listener);
    notify(notifier, 400, 1);
    check_event(listener, 400, 1, 1);
    close_both(notifier, listener);
}

TEST(listeners_are_independent) {
    tarn_notifier *notifier = NOTIFIER(), *other = NOTIFIER();
    tarn_listener *a = LISTENER(), *b = LISTENER();
    CHECK_STATUS(tarn_notifier_listeners(notifier), 2);
    notify(notifier, 5, 1);
    check_event(a, 5, 1, 1);
    notify(other, 5, 2);
    check_event(a, 5, 2, 3);
    check_event(b, 5, 3, 3);
    CHECK_STATUS(tarn_listener_close(b), 0);
    CHECK_STATUS(tarn_notifier_listeners(other), 1);
    CHECK_STATUS(tarn_notifier_close(other), 0);
    close_both(notifier, a);
}

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

TEST(waiting_ends_in_time_or_by_an_event) {
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *listener = LISTENER();
    tarn_event event = {.id = 77};
    CHECK_STATUS(tarn_listener_wait(listener, 0), 0);
    CHECK_STATUS(tarn_listener_wait(listener, 3 * MS), 0);
    CHECK_STATUS(tarn_listener_receive(listener, &event, 3 * MS), 0);
    CHECK_INT(event.id, ==, 77);
    notify(notifier, 1, 1);
    CHECK_STATUS(tarn_listener_wait(listener, TARN_FOREVER), 1);
    CHECK_STATUS(tarn_listener_wait(listener, 0), 1);
    CHECK_STATUS(tarn_listener_receive(listener, &event, TARN_FOREVER), 1);
    CHECK_INT(event.id, ==, 1);
    CHECK_STATUS(tarn_listener_interrupt(listener), 0);
    CHECK_STATUS(tarn_listener_receive(listener, &event, TARN_FOREVER), TARN_ERROR_INTERRUPTED);
    close_both(notifier, listener);
}

static bool is_readable(int fd, int timeout_ms) {
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, timeout_ms) == 1;
}

/* Takes nothing, and is quiet then, but for the look at peers ten times a second. */
static void check_quiet(tarn_listener *listener, int fd) {
    int loud = 0;
    do
        check_none(listener);
    while (is_readable(fd, 20) && ++loud < 10);
    CHECK_INT(loud, <, 10);
}

TEST(the_descriptor_says_when) {
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *listener = LISTENER();
    int fd = tarn_listener_fd(listener);
    CHECK_INT(fd, >=, 0);
    CHECK_STATUS(tarn_listener_fd(listener), fd);
    check_quiet(listener, fd);
    notify(notifier, 1, 1);
    notify(notifier, 2, 1);
    CHECK(is_readable(fd, 1000));
    check_event(listener, 1, 1, 1);
    CHECK(is_readable(fd, 0));
    check_event(listener, 2, 1, 1);
    check_quiet(listener, fd);
    CHECK(is_readable(fd, 200)); /* the look at peers */
    check_none(listener);
    close_both(notifier, listener);
}

/* ---- mistakes --------------------------------------------------------------------------------------------------- */

#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

#define CHECK_REFUSED(call, status, words)                                                                             \
    do {                                                                                                               \
        CHECK_STATUS(call, status);                                                                                    \
        if (!strstr(tarn_error(), (words)))                                                                            \
            FAIL("\"%s\" is not in the sentence: %s", (words), tarn_error());                                          \
    } while (0)

TEST(null_and_wrong_handles_are_refused) {
    tarn_event event;
    tarn_notifier *notifier = NOTIFIER();
    tarn_listener *listener = LISTENER();
    CHECK_REFUSED(tarn_notifier_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_REFUSED(tarn_listener_open(NULL, TOPIC, NULL), TARN_ERROR_ARGUMENT, "NULL");
    CHECK_REFUSED(tarn_notifier_notify(NULL, 0), TARN_ERROR_ARGUMENT, "notifier is NULL");
    CHECK_REFUSED(tarn_notifier_listeners(NULL), TARN_ERROR_ARGUMENT, "notifier is NULL");
    CHECK_REFUSED(tarn_listener_take(NULL, &event), TARN_ERROR_ARGUMENT, "listener is NULL");
    CHECK_REFUSED(tarn_listener_take(listener, NULL), TARN_ERROR_ARGUMENT, "event is NULL");
    CHECK_REFUSED(tarn_listener_receive(listener, NULL, 0), TARN_ERROR_ARGUMENT, "event is NULL");
    CHECK_REFUSED(tarn_listener_wait(NULL, 0), TARN_ERROR_ARGUMENT, "listener is NULL");
    CHECK_REFUSED(tarn_listener_fd(NULL), TARN_ERROR_ARGUMENT, "listener is NULL");
    CHECK_REFUSED(tarn_listener_interrupt(NULL), TARN_ERROR_ARGUMENT, "listener is NULL");
    CHECK_STATUS(tarn_notifier_close(NULL), 0);
    CHECK_STATUS(tarn_listener_close(NULL), 0);
    CHECK_REFUSED(tarn_notifier_notify((tarn_notifier *)listener, 0), TARN_ERROR_CLOSED, "not a notifier");
    CHECK_REFUSED(tarn_listener_take((tarn_listener *)notifier, &event), TARN_ERROR_CLOSED, "not a listener");
    CHECK_REFUSED(tarn_subscriber_wait((tarn_subscriber *)listener, 0), TARN_ERROR_CLOSED, "not a subscriber");
    close_both(notifier, listener);
    CHECK_REFUSED(tarn_notifier_notify(notifier, 0), TARN_ERROR_CLOSED, "notifier was closed");
    CHECK_REFUSED(tarn_notifier_close(notifier), TARN_ERROR_CLOSED, "notifier was closed");
    CHECK_REFUSED(tarn_listener_take(listener, &event), TARN_ERROR_CLOSED, "listener was closed");
    CHECK_REFUSED(tarn_listener_wait(listener, 0), TARN_ERROR_CLOSED, "listener was closed");
    CHECK_REFUSED(tarn_listener_close(listener), TARN_ERROR_CLOSED, "listener was closed");
}

static void check_notifier_refused(tarn_notifier_options options, const char *words) {
    tarn_notifier *notifier = UNTOUCHED;
    CHECK_REFUSED(tarn_notifier_open(&notifier, TOPIC, &options), TARN_ERROR_ARGUMENT, words);
    CHECK(notifier == UNTOUCHED);
}

static void check_listener_refused(tarn_listener_options options, const char *words) {
    tarn_listener *listener = UNTOUCHED;
    CHECK_REFUSED(tarn_listener_open(&listener, TOPIC, &options), TARN_ERROR_ARGUMENT, words);
    CHECK(listener == UNTOUCHED);
}

TEST(wrong_options_are_refused) {
    const uint32_t ids[] = {1, TARN_EVENT_ID_MAX + 1};
    const size_t notifier = sizeof(tarn_notifier_options), listener = sizeof(tarn_listener_options);
    check_notifier_refused((tarn_notifier_options){0}, "struct_bytes");
    check_notifier_refused((tarn_notifier_options){notifier, .death_event = TARN_EVENT_ID_MAX + 2}, "death_event");
    check_notifier_refused((tarn_notifier_options){notifier, .reserved = 1}, "reserved");
    check_listener_refused((tarn_listener_options){0}, "struct_bytes");
    check_listener_refused((tarn_listener_options){listener, .ids = ids}, "ids_count");
    check_listener_refused((tarn_listener_options){listener, .ids_count = 1}, "ids_count");
    check_listener_refused((tarn_listener_options){listener, .ids = ids, .ids_count = 2}, "ids[1]");
    check_listener_refused((tarn_listener_options){listener, .ids = ids, .ids_count = 70000}, "ids_count");
    check_listener_refused((tarn_listener_options){listener, .wait_strategy = 9}, "wait_strategy");
    check_listener_refused((tarn_listener_options){listener, .spin_ns = -2}, "spin_ns");
    check_listener_refused((tarn_listener_options){listener, .reserved = 1}, "reserved");
}

TEST(a_topic_for_events_is_for_nothing_else) {
    tarn_notifier *notifier = NOTIFIER();
    tarn_publisher *publisher = UNTOUCHED;
    tarn_subscriber *subscriber = UNTOUCHED;
    CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_PATTERN, "events");
    CHECK_REFUSED(tarn_subscriber_open(&subscriber, TOPIC, NULL), TARN_ERROR_PATTERN, "events");
    CHECK(publisher == UNTOUCHED && subscriber == UNTOUCHED);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    tarn_subscriber *reader = open_subscriber(TOPIC, NULL);
    tarn_listener *listener = UNTOUCHED;
    CHECK_REFUSED(tarn_listener_open(&listener, TOPIC, NULL), TARN_ERROR_PATTERN, "publish and subscribe");
    CHECK_REFUSED(tarn_notifier_open(&notifier, TOPIC, NULL), TARN_ERROR_PATTERN, "publish and subscribe");
    CHECK(listener == UNTOUCHED);
    CHECK_STATUS(tarn_subscriber_close(reader), 0);
}
