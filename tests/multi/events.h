/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the tests of events with several processes have in common. */
#ifndef TARN_TESTS_MULTI_EVENTS_H
#define TARN_TESTS_MULTI_EVENTS_H

#include "common.h"

/* NOTIFIER("a", .death_event = 3), LISTENER("a", .history = 1): with these options. */
#define NOTIFIER(topic, ...)                                                                                           \
    notifier_of((topic), &(tarn_notifier_options){.struct_bytes = sizeof(tarn_notifier_options), __VA_ARGS__})
#define LISTENER(topic, ...)                                                                                           \
    listener_of((topic), &(tarn_listener_options){.struct_bytes = sizeof(tarn_listener_options), __VA_ARGS__})

static inline tarn_notifier *notifier_of(const char *topic, const tarn_notifier_options *options) {
    tarn_notifier *notifier = NULL;
    CHECK_STATUS(tarn_notifier_open(&notifier, topic, options), 0);
    return notifier;
}

static inline tarn_listener *listener_of(const char *topic, const tarn_listener_options *options) {
    tarn_listener *listener = NULL;
    CHECK_STATUS(tarn_listener_open(&listener, topic, options), 0);
    return listener;
}

static inline void notify(tarn_notifier *notifier, uint32_t id, uint64_t count) {
    CHECK_STATUS(tarn_notifier_notify_many(notifier, id, count), 1);
}

/* What a listener was told, by id: the sum of its counts must be the total. */
struct told {
    uint64_t counts[1024];
};

static inline void note_event(struct told *told, const tarn_event *event) {
    CHECK_INT(event->id, <, sizeof told->counts / sizeof told->counts[0]);
    CHECK_INT(event->count, >=, 1);
    told->counts[event->id] += event->count;
}

/* Until that event was told so often, and no more often. */
static inline void hear_until(tarn_listener *listener, struct told *told, uint32_t id, uint64_t count) {
    tarn_event event;
    while (told->counts[id] < count) {
        CHECK_STATUS(tarn_listener_receive(listener, &event, GENEROUS), 1);
        note_event(told, &event);
    }
    CHECK_INT(told->counts[id], ==, count);
}

static inline void hear_all(tarn_listener *listener, struct told *told) {
    tarn_event event;
    int status;
    while ((status = tarn_listener_take(listener, &event)) == 1)
        note_event(told, &event);
    CHECK_STATUS(status, 0);
}

#endif
