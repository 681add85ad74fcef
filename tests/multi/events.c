/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Events between processes: totals are exact, whoever is killed, stopped or slow; sleeping listeners are woken;
 * children of fork are told so; nonsense in the counters does no more than to give wrong counts.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>

#include "events.h"
#include "hostile.h"

#define TOPIC "events"

/* ---- totals ----------------------------------------------------------------------------------------------------- */

enum { NOTIFIERS = 8, LISTENERS = 3, ROUNDS = 100000, IDS = 5 };

static const uint32_t ids[IDS] = {0, 1, 2, 300, 1000};

static struct stage {
    _Atomic int ready;
    _Atomic bool go, over;
    _Atomic int late;
    _Atomic uint64_t begun[NOTIFIERS][IDS], done[NOTIFIERS][IDS];
    _Atomic uint64_t word;
} * stage;

static void raise_all(void *arg) {
    tarn_notifier *notifier = NOTIFIER(TOPIC);
    (void)arg;
    stage->ready++;
    AWAIT(stage->go);
    for (uint32_t i = 0; i < ROUNDS; i++)
        CHECK_STATUS(tarn_notifier_notify(notifier, ids[i % IDS]), 1);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
}

static void hear_totals(void *arg) {
    struct told told = {{0}};
    tarn_listener *listener = LISTENER(TOPIC, .wait_strategy = (uintptr_t)arg ? TARN_WAIT_SLEEP : 0);
    stage->ready++;
    for (int i = 0; i < IDS; i++)
        hear_until(listener, &told, ids[i], (uint64_t)NOTIFIERS * ROUNDS / IDS);
    CHECK_STATUS(tarn_listener_wait(listener, 20 * MS), 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

TEST_LIMIT(totals_are_exact, 60) {
    pid_t children[NOTIFIERS + LISTENERS];
    stage = shared_page(sizeof *stage);
    tarn_listener *late = NULL;
    for (uintptr_t i = 0; i < NOTIFIERS + LISTENERS; i++)
        children[i] = spawn(i < NOTIFIERS ? raise_all : hear_totals, (void *)(i % 2));
    AWAIT(stage->ready == NOTIFIERS + LISTENERS);
    late = LISTENER(TOPIC, .history = 1);
    stage->go = true;
    for (int i = 0; i < NOTIFIERS + LISTENERS; i++)
        CHECK_INT(wait_child(children[i], LIMIT_S), ==, 0);
    struct told told = {{0}};
    hear_all(late, &told);
    for (int i = 0; i < IDS; i++)
        CHECK_INT(told.counts[ids[i]], ==, NOTIFIERS * ROUNDS / IDS);
    CHECK_STATUS(tarn_listener_close(late), 0);
}

/* ---- deaths ----------------------------------------------------------------------------------------------------- */

#define DEATH 7u

static void raise_until_killed(void *arg) {
    uintptr_t who = (uintptr_t)arg;
    tarn_notifier *notifier = NOTIFIER(TOPIC, .death_event = DEATH + 1);
    stage->ready++;
    for (uint32_t i = 0;; i = (i + 1) % IDS) {
        stage->begun[who][i]++;
        CHECK_STATUS(tarn_notifier_notify(notifier, ids[i]), 1);
        stage->done[who][i]++;
    }
}

/* Those who were killed have raised what they had done, give or take the one under way, and each their death. */
TEST_LIMIT(the_killed_have_raised_what_they_did, 60) {
    enum { KILLS = 12 };
    struct random random = random_start(1);
    struct told told = {{0}}, other = {{0}};
    stage = shared_page(sizeof *stage);
    tarn_listener *listener = LISTENER(TOPIC), *second = LISTENER(TOPIC, .wait_strategy = TARN_WAIT_SLEEP);
    for (int kill = 1; kill <= KILLS; kill++) {
        stage->ready = 0;
        pid_t pids[3];
        for (uintptr_t i = 0; i < 3; i++)
            pids[i] = spawn(raise_until_killed, (void *)i);
        AWAIT(stage->ready == 3);
        nap_ns((int64_t)random_between(&random, 0, 3 * MS));
        hear_all(listener, &told);
        for (int i = 0; i < 3; i++)
            kill_child(pids[i]);
        hear_until(listener, &told, DEATH, 3u * (unsigned)kill);
    }
    hear_all(listener, &told);
    hear_until(second, &other, DEATH, 3u * KILLS);
    hear_all(second, &other);
    for (int i = 0; i < IDS; i++) {
        uint64_t begun = 0, done = 0;
        for (int who = 0; who < 3; who++) {
            begun += stage->begun[who][i];
            done += stage->done[who][i];
        }
        CHECK_INT(told.counts[ids[i]], >=, done);
        CHECK_INT(told.counts[ids[i]], <=, begun);
        CHECK_INT(told.counts[ids[i]], ==, other.counts[ids[i]]);
    }
    CHECK_STATUS(tarn_listener_close(second), 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

static void be_several(void *arg) {
    (void)arg;
    for (int i = 0; i < 4; i++)
        NOTIFIER(TOPIC, .death_event = DEATH + 1);
    stage->ready++;
    sleep_until_killed();
}

/* Looks after the dead all the time, until it is killed. */
static void repair_until_killed(void *arg) {
    (void)arg;
    for (;;) {
        tarn_listener *listener = LISTENER(TOPIC);
        CHECK_STATUS(tarn_listener_wait(listener, 0), 0); /* in case it is time */
        CHECK_STATUS(tarn_listener_close(listener), 0);
        tarn_notifier *notifier = NOTIFIER(TOPIC);
        CHECK_STATUS(tarn_notifier_close(notifier), 0);
    }
}

/* Many die together, and several repair them at the same time, of whom some are killed, too. */
TEST_LIMIT(each_death_is_told_once, 60) {
    enum { BATCHES = 15, PROCESSES = 5, REPAIRERS = 3 };
    struct random random = random_start(1);
    struct told told = {{0}};
    stage = shared_page(sizeof *stage);
    tarn_listener *listener = LISTENER(TOPIC);
    for (unsigned batch = 1; batch <= BATCHES; batch++) {
        pid_t pids[PROCESSES], repairers[REPAIRERS];
        stage->ready = 0;
        for (int i = 0; i < PROCESSES; i++)
            pids[i] = spawn(be_several, NULL);
        AWAIT(stage->ready == PROCESSES);
        for (int i = 0; i < REPAIRERS; i++)
            repairers[i] = spawn(repair_until_killed, NULL);
        for (int i = 0; i < PROCESSES; i++)
            CHECK(kill(pids[i], SIGKILL) == 0);
        for (int i = 0; i < REPAIRERS; i++) {
            nap_ns((int64_t)random_between(&random, 0, MS));
            kill_child(repairers[i]);
        }
        for (int i = 0; i < PROCESSES; i++)
            CHECK_INT(wait_child(pids[i], LIMIT_S), ==, -SIGKILL);
        run_tarn("gc");
        hear_until(listener, &told, DEATH, batch * PROCESSES * 4);
        CHECK_STATUS(tarn_listener_wait(listener, 5 * MS), 0);
    }
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

enum { FAR_APART = 40 }; /* so many blocks of counters need more than the roster's first segment */

static void raise_far_apart_and_close(void *arg) {
    tarn_notifier *notifier = NOTIFIER("far");
    (void)arg;
    for (uint32_t i = 0; i < FAR_APART; i++)
        notify(notifier, i * 256, 1);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
}

/* Counters that lie where nobody else has attached yet are handed on before their maker goes. */
TEST(counts_outlive_who_made_room_for_them) {
    tarn_listener *listener = LISTENER("far");
    pid_t child = spawn(raise_far_apart_and_close, NULL);
    tarn_event event;
    for (uint32_t i = 0; i < FAR_APART; i++)
        CHECK_STATUS(tarn_listener_receive(listener, &event, SECOND), 1);
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

/* Where nothing of the topic is found, nothing of it has gone. */
static void go_elsewhere_and_notify(void *arg) {
    const struct gate *gates = arg;
    tarn_notifier *notifier = NOTIFIER("far");
    gate_signal(gates[0]);
    gate_wait(gates[1], LIMIT_S);
    if (unshare(CLONE_NEWIPC) != 0)
        SKIP("no IPC namespace of its own: %s", strerror(errno));
    CHECK_STATUS(tarn_notifier_notify(notifier, (FAR_APART - 1) * 256), TARN_ERROR_NO_MEMORY);
    CHECK_STATUS(tarn_notifier_notify(notifier, 0), 1);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
}

TEST(who_went_to_another_ipc_namespace_gives_up_no_memory) {
    struct gate gates[] = {gate_open(), gate_open()};
    pid_t child = spawn(go_elsewhere_and_notify, gates);
    gate_wait(gates[0], LIMIT_S);
    tarn_notifier *notifier = NOTIFIER("far");
    for (uint32_t i = 0; i < FAR_APART; i++)
        notify(notifier, i * 256, 1);
    gate_signal(gates[1]);
    if (wait_child(child, LIMIT_S) == 77)
        SKIP("no IPC namespace of its own");
    uint32_t last = (FAR_APART - 1) * 256;
    tarn_listener *listener = LISTENER("far", .ids = &last, .ids_count = 1);
    tarn_event event;
    notify(notifier, last, 1);
    CHECK_STATUS(tarn_listener_receive(listener, &event, GENEROUS), 1);
    CHECK_STATUS(tarn_listener_close(listener), 0);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    for (int i = 0; i < 2; i++)
        gate_close(gates[i]);
}

static void hear_far_apart(void *arg) {
    tarn_listener *listener = LISTENER("far", .ids = arg, .ids_count = arg ? 1 : 0);
    tarn_event event;
    stage->ready++;
    for (uint32_t i = 0; i < (arg ? 1 : FAR_APART); i++)
        CHECK_STATUS(tarn_listener_receive(listener, &event, GENEROUS), 1);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

TEST(who_may_miss_what_a_notifier_raised_is_told_when_it_closes) {
    uint32_t first = 0;
    stage = shared_page(sizeof *stage);
    pid_t stopped = spawn(hear_far_apart, &first);
    AWAIT(stage->ready == 1);
    stop_process(stopped);
    tarn_notifier *notifier = NOTIFIER("far"), *near = NOTIFIER("far");
    for (uint32_t i = 0; i < FAR_APART; i++)
        notify(notifier, i * 256, 1);
    notify(near, 0, 1);
    int64_t start = now_ns();
    CHECK_STATUS(tarn_notifier_close(near), 0);
    CHECK_INT(now_ns() - start, <, SECOND / 2);
    CHECK_INT(tarn_notifier_close(notifier), ==, 1);
    CHECK_INT(now_ns() - start, >=, SECOND);
    continue_process(stopped);
    CHECK_INT(wait_child(stopped, LIMIT_S), ==, 0); /* that event lies in what everybody has */
}

/*
 * Also by one that is for events whose counters lie elsewhere; and none is waited for that is in the closing process.
 */
TEST(nothing_is_lost_where_closing_returns_0) {
    uint32_t other = 1;
    stage = shared_page(sizeof *stage);
    tarn_listener *own = LISTENER("far");
    pid_t all = spawn(hear_far_apart, NULL), one = spawn(hear_far_apart, &other);
    AWAIT(stage->ready == 2);
    tarn_notifier *notifier = NOTIFIER("far"), *near = NOTIFIER("far");
    for (uint32_t i = 0; i < FAR_APART; i++)
        notify(notifier, i * 256, 1);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    CHECK_INT(wait_child(all, LIMIT_S), ==, 0);
    notify(near, other, 1);
    CHECK_INT(wait_child(one, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_notifier_close(near), 0);
    CHECK_STATUS(tarn_listener_close(own), 0);
}

static void open_and_close(void *arg) {
    (void)arg;
    tarn_notifier *notifier = NOTIFIER(TOPIC, .death_event = DEATH + 1);
    notify(notifier, 1, 1);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
}

TEST(who_closes_has_not_died) {
    struct told told = {{0}};
    tarn_listener *listener = LISTENER(TOPIC);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_child(spawn(open_and_close, NULL), LIMIT_S), ==, 0);
    hear_until(listener, &told, 1, 3);
    CHECK_STATUS(tarn_listener_wait(listener, 250 * MS), 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

static void die_as_last(void *arg) {
    (void)arg;
    NOTIFIER(TOPIC, .death_event = DEATH + 1);
    kill(getpid(), SIGKILL);
}

/* What has nobody who was there begins anew. */
TEST(a_topic_that_nobody_is_in_begins_anew) {
    CHECK_INT(wait_child(spawn(die_as_last, NULL), LIMIT_S), ==, -SIGKILL);
    tarn_listener *listener = LISTENER(TOPIC, .history = 1);
    CHECK_STATUS(tarn_listener_wait(listener, 150 * MS), 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

/* ---- waking ----------------------------------------------------------------------------------------------------- */

#define LATE_NS (90 * MS)

static void sleep_for_event(tarn_listener *listener, bool by_poll, uint32_t id) {
    tarn_event event;
    int64_t start = now_ns();
    if (by_poll) {
        struct pollfd readable = {tarn_listener_fd(listener), POLLIN, 0};
        int result;
        while ((result = tarn_listener_take(listener, &event)) == 0)
            CHECK_INT(poll(&readable, 1, 15000), ==, 1);
        CHECK_STATUS(result, 1);
    } else
        CHECK_STATUS(tarn_listener_receive(listener, &event, GENEROUS), 1);
    CHECK_INT(event.id, ==, id);
    CHECK_INT(event.count, ==, 1);
    if (now_ns() - start > LATE_NS)
        stage->late++;
}

struct game {
    unsigned strokes;
    bool by_poll;
};

static void answer(void *arg) {
    const struct game *game = arg;
    tarn_listener *in = LISTENER("ping", .wait_strategy = TARN_WAIT_SLEEP);
    tarn_notifier *out = NOTIFIER("pong");
    stage->ready++;
    for (unsigned i = 0; i < game->strokes; i++) {
        sleep_for_event(in, game->by_poll, i % 3);
        notify(out, i % 3, 1);
    }
    CHECK_STATUS(tarn_notifier_close(out), 0);
    CHECK_STATUS(tarn_listener_close(in), 0);
}

static void play(struct game game) {
    stage = shared_page(sizeof *stage);
    pid_t other = spawn(answer, &game);
    tarn_listener *in = LISTENER("pong", .wait_strategy = TARN_WAIT_SLEEP);
    tarn_notifier *out = NOTIFIER("ping");
    AWAIT(stage->ready == 1);
    for (unsigned i = 0; i < game.strokes; i++) {
        notify(out, i % 3, 1);
        sleep_for_event(in, game.by_poll, i % 3);
    }
    CHECK_STATUS(tarn_notifier_close(out), 0);
    CHECK_STATUS(tarn_listener_close(in), 0);
    CHECK_INT(wait_child(other, LIMIT_S), ==, 0);
    CHECK_INT(stage->late, <=, 10);
}

TEST_LIMIT(each_event_wakes, 60) {
    play((struct game){20000, false});
}

TEST_LIMIT(each_event_makes_fd_readable, 60) {
    play((struct game){4000, true});
}

/* ---- stopped ---------------------------------------------------------------------------------------------------- */

static void listen_on(void *arg) {
    struct told told = {{0}};
    tarn_listener *listener = LISTENER(TOPIC);
    (void)arg;
    stage->ready++;
    hear_until(listener, &told, 1, 1000 * 1000);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

TEST_LIMIT(a_stopped_listener_delays_nobody, 60) {
    struct told told = {{0}};
    stage = shared_page(sizeof *stage);
    pid_t stopped = spawn(listen_on, NULL);
    AWAIT(stage->ready == 1);
    tarn_listener *listener = LISTENER(TOPIC);
    stop_process(stopped);
    int64_t start = now_ns();
    tarn_notifier *notifier = NOTIFIER(TOPIC);
    for (int i = 0; i < 1000 * 1000; i++)
        CHECK_STATUS(tarn_notifier_notify(notifier, 1), 1);
    hear_until(listener, &told, 1, 1000 * 1000);
    CHECK_STATUS(tarn_notifier_listeners(notifier), 2);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    CHECK_STATUS(tarn_listener_close(listener), 0);
    CHECK_INT(now_ns() - start, <, 5 * SECOND);
    continue_process(stopped);
    CHECK_INT(wait_child(stopped, LIMIT_S), ==, 0);
}

/* ---- fork ------------------------------------------------------------------------------------------------------- */

struct inheritance {
    tarn_notifier *notifier;
    tarn_listener *listener;
};

static void try_inheritance(void *arg) {
    const struct inheritance *inherited = arg;
    tarn_event event;
    CHECK_REFUSED(tarn_notifier_notify(inherited->notifier, 1), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_notifier_listeners(inherited->notifier), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_listener_take(inherited->listener, &event), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_listener_receive(inherited->listener, &event, MS), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_listener_wait(inherited->listener, MS), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_listener_fd(inherited->listener), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_listener_interrupt(inherited->listener), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_listener_close(inherited->listener), TARN_ERROR_FORKED, "fork");
    CHECK_REFUSED(tarn_notifier_close(inherited->notifier), TARN_ERROR_FORKED, "fork");
    tarn_notifier *own = NOTIFIER(TOPIC);
    notify(own, 1, 5);
    CHECK_STATUS(tarn_notifier_close(own), 0);
}

TEST(a_child_of_fork_opens_its_own) {
    struct told told = {{0}};
    struct inheritance inheritance = {NOTIFIER(TOPIC, .death_event = DEATH + 1), LISTENER(TOPIC)};
    CHECK_INT(tarn_listener_fd(inheritance.listener), >=, 0);
    notify(inheritance.notifier, 1, 1);
    CHECK_INT(wait_child(spawn(try_inheritance, &inheritance), LIMIT_S), ==, 0);
    notify(inheritance.notifier, 1, 1);
    hear_until(inheritance.listener, &told, 1, 7);
    CHECK_STATUS(tarn_listener_wait(inheritance.listener, 120 * MS), 0); /* the child's end is not the parent's */
    CHECK_STATUS(tarn_listener_close(inheritance.listener), 0);
    CHECK_STATUS(tarn_notifier_close(inheritance.notifier), 0);
}

/* ---- nonsense --------------------------------------------------------------------------------------------------- */

static uint64_t nonsense(struct random *random, uint64_t is) {
    switch (random_between(random, 0, 3)) {
    case 0:
        return random_next(random);
    case 1:
        return is ^ UINT64_C(1) << random_between(random, 0, 63);
    case 2:
        return random_between(random, 0, 70000);
    default:
        return is - random_between(random, 0, 5);
    }
}

/* Words of the roster that are not 0, or of its last blocks, where counters are; most are put right again. */
static void write_nonsense(void *arg) {
    size_t bytes;
    struct random random = random_start((uintptr_t)arg);
    _Atomic uint64_t *words = (void *)map_roster_of(TOPIC, &bytes);
    stage->ready++;
    while (!stage->over) {
        uint64_t at = random_between(&random, 64, bytes / 8 - 1);
        for (int tries = 0; tries < 300 && words[at] == 0; tries++)
            at = random_between(&random, 64, bytes / 8 - 1);
        uint64_t was = words[at];
        words[at] = nonsense(&random, was);
        spin_ns((int64_t)random_between(&random, 0, 20000));
        if (!random_one_in(&random, 30))
            words[at] = was;
    }
}

/* Comes and goes. */
static void live_among_nonsense(void *arg) {
    struct random random = random_start((uintptr_t)arg);
    tarn_notifier *notifier = NULL;
    tarn_listener *listener = NULL;
    tarn_monitor *monitor = NULL;
    tarn_event event;
    tarn_match match;
    tarn_notifier_options options = {.struct_bytes = sizeof options, .death_event = DEATH + 1};
    is_well(tarn_monitor_open(&monitor, TOPIC, NULL));
    if (is_well(tarn_notifier_open(&notifier, TOPIC, &options)))
        is_well(tarn_listener_open(&listener, TOPIC, NULL));
    for (int i = 0; i < 50 && listener; i++) {
        is_well(tarn_notifier_notify(notifier, (uint32_t)random_between(&random, 0, 3000)));
        is_well(tarn_listener_receive(listener, &event, MS / 10));
        if (monitor)
            is_well(tarn_monitor_receive(monitor, &match, MS / 10));
    }
    if (random_one_in(&random, 4))
        kill(getpid(), SIGKILL);
    if (monitor)
        is_well(tarn_monitor_close(monitor));
    if (listener)
        is_well(tarn_listener_close(listener));
    if (notifier)
        is_well(tarn_notifier_close(notifier));
}

TEST_LIMIT(nonsense_gives_wrong_counts_at_most, 60) {
    enum { HOSTILE_ROUNDS = 6 };
    allow_files(); /* the topic's state may be nonsense in the end */
    for (uintptr_t round = 1; round <= HOSTILE_ROUNDS; round++) {
        stage = shared_page(sizeof *stage);
        tarn_listener *staying = LISTENER(TOPIC);
        pid_t hostile = spawn(write_nonsense, (void *)round);
        AWAIT(stage->ready == 1);
        for (int64_t end = now_ns() + 600 * MS; now_ns() < end;) {
            tarn_event event;
            int code = wait_child(spawn(live_among_nonsense, (void *)(uintptr_t)now_ns()), LIMIT_S);
            CHECK(code == 0 || code == -SIGKILL);
            is_well(tarn_listener_receive(staying, &event, MS));
        }
        stage->over = true;
        CHECK_INT(wait_child(hostile, LIMIT_S), ==, 0);
        is_well(tarn_listener_close(staying));
    }
}
