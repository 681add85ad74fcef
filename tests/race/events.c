/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Events and monitors in threads of one process, on one mapping: what is done before an event is raised is visible to
 * who takes it (E1), counts are exact, and who comes and goes meanwhile is told exactly.
 */
#include "common.h"

enum { NOTIFIERS = 3 };

static uint64_t plain[NOTIFIERS]; /* written before a notifier raises its event, read behind that: no atomics */
static _Atomic bool over;
static _Atomic uint64_t lives;

static void *raising(void *arg) {
    uintptr_t who = (uintptr_t)arg;
    tarn_notifier *notifier = NULL;
    CHECK_STATUS(tarn_notifier_open(&notifier, TOPIC, NULL), 0);
    plain[who] = who + 1;
    for (int i = 0; i < ROUNDS(20000); i++) {
        CHECK_STATUS(tarn_notifier_notify(notifier, (uint32_t)who), 1);
        CHECK_STATUS(tarn_notifier_notify(notifier, 700), 1);
    }
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    return NULL;
}

static void *hearing(void *arg) {
    tarn_listener *listener = arg;
    uint64_t counts[NOTIFIERS] = {0}, of_all = 0, wanted = (uint64_t)ROUNDS(20000);
    for (uint64_t heard = 0; heard < 2 * NOTIFIERS * wanted;) {
        tarn_event event;
        CHECK_STATUS(tarn_listener_receive(listener, &event, TARN_FOREVER), 1);
        heard += event.count;
        if (event.id == 700) {
            of_all += event.count;
            continue;
        }
        CHECK_INT(event.id, <, NOTIFIERS);
        CHECK_INT(plain[event.id], ==, event.id + 1);
        counts[event.id] += event.count;
        CHECK_INT(event.total, ==, counts[event.id]);
    }
    CHECK_INT(of_all, ==, NOTIFIERS * wanted);
    CHECK_STATUS(tarn_listener_close(listener), 0);
    return NULL;
}

TEST_LIMIT(counts_are_exact_and_what_came_before_is_seen, 60) {
    tarn_listener *listeners[2];
    pthread_t threads[NOTIFIERS + 2];
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(tarn_listener_open(&listeners[i], TOPIC, NULL), 0);
        threads[NOTIFIERS + i] = start(hearing, listeners[i]);
    }
    for (uintptr_t i = 0; i < NOTIFIERS; i++)
        threads[i] = start(raising, (void *)i);
    for (int i = 0; i < NOTIFIERS + 2; i++)
        join(threads[i]);
}

static void *coming_and_going(void *arg) {
    (void)arg;
    for (int i = 0; i < ROUNDS(1500); i++) {
        tarn_notifier *notifier;
        tarn_listener *listener;
        CHECK_STATUS(tarn_notifier_open(&notifier, TOPIC, NULL), 0);
        CHECK_STATUS(tarn_listener_open(&listener, TOPIC, NULL), 0);
        lives += 2;
        CHECK_STATUS(tarn_notifier_notify(notifier, 1), 1);
        CHECK_STATUS(tarn_listener_close(listener), 0);
        CHECK_STATUS(tarn_notifier_close(notifier), 0);
    }
    return NULL;
}

static void *watching(void *arg) {
    tarn_monitor *monitor = arg;
    uint64_t joined = 0, left = 0, missed = 0;
    for (int quiet = 0; quiet < 2;) {
        tarn_match match;
        bool last = over;
        int status = tarn_monitor_receive(monitor, &match, 20000000);
        CHECK(status == 0 || status == 1);
        quiet += last && status == 0;
        if (status == 0)
            continue;
        CHECK(match.kind != TARN_MATCH_DIED);
        missed += match.missed;
        joined += match.kind == TARN_MATCH_JOINED;
        left += match.kind == TARN_MATCH_LEFT;
    }
    CHECK_INT(joined, ==, left);
    CHECK_INT(joined + missed, ==, lives);
    CHECK_STATUS(tarn_monitor_close(monitor), 0);
    return NULL;
}

TEST_LIMIT(who_comes_and_goes_is_told_exactly, 60) {
    tarn_monitor *monitor;
    pthread_t threads[2], watcher;
    CHECK_STATUS(tarn_monitor_open(&monitor, TOPIC, NULL), 0);
    watcher = start(watching, monitor);
    for (int i = 0; i < 2; i++)
        threads[i] = start(coming_and_going, NULL);
    for (int i = 0; i < 2; i++)
        join(threads[i]);
    over = true;
    join(watcher);
}
