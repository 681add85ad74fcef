/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * All operations of events and monitors: what was notified is counted, and the death of a notifier is told exactly
 * once, also where who repairs it dies, and the next one, too. See scene.h.
 */
#include "../multi/events.h"
#include "scene.h"

#define EVENT 1u
#define DEATH 5u

/* ---- the actor -------------------------------------------------------------------------------------------------- */

struct ledger {
    _Atomic uint64_t begun, done;     /* notifications, of all */
    _Atomic uint64_t opening, opened; /* notifiers with a death event: begin and end of their opening */
    _Atomic uint64_t closing, closed; /* and of their closing */
    _Atomic bool sleeper_is_ready;
};

static struct ledger *ledger(void) {
    return scene_ledger;
}

struct actor {
    tarn_notifier *notifier;
    tarn_listener *listener;
    tarn_monitor *monitor;
};

static int open_notifier(struct actor *actor) {
    tarn_notifier_options options = {.struct_bytes = sizeof options, .death_event = DEATH + 1};
    ledger()->opening++;
    int status = tarn_notifier_open(&actor->notifier, TOPIC, &options);
    ledger()->opened += status == 0;
    ledger()->opening -= status != 0;
    return status;
}

static int open_listener(struct actor *actor) {
    return tarn_listener_open(&actor->listener, TOPIC, NULL);
}

static int open_monitor(struct actor *actor) {
    return tarn_monitor_open(&actor->monitor, TOPIC, NULL);
}

static int raise_some(struct actor *actor, uint32_t id, int count) {
    int status = 1;
    for (int i = 0; i < count && status == 1; i++) {
        ledger()->begun++;
        status = tarn_notifier_notify(actor->notifier, id);
        ledger()->done += status == 1;
    }
    return status;
}

static int raise_one(struct actor *actor) {
    return raise_some(actor, EVENT, 1);
}

static int raise_many(struct actor *actor) {
    ledger()->begun += 3;
    int status = tarn_notifier_notify_many(actor->notifier, EVENT, 3);
    if (status == 1)
        ledger()->done += 3;
    return status;
}

static void prepare_notifier(struct actor *actor) {
    CHECK_STATUS(open_notifier(actor), 0);
}

static void prepare_known(struct actor *actor) {
    prepare_notifier(actor);
    CHECK_STATUS(raise_one(actor), 1);
}

static int close_notifier(struct actor *actor) {
    ledger()->closing += actor->notifier != NULL;
    int status = tarn_notifier_close(actor->notifier);
    ledger()->closed += actor->notifier != NULL;
    actor->notifier = NULL;
    return status;
}

static void prepare_listener(struct actor *actor) {
    CHECK_STATUS(open_listener(actor), 0);
}

static void prepare_listener_with_fd(struct actor *actor) {
    prepare_listener(actor);
    CHECK_INT(tarn_listener_fd(actor->listener), >=, 0);
}

static int take_events(struct actor *actor) {
    tarn_event event;
    int status;
    while ((status = tarn_listener_take(actor->listener, &event)) == 1)
        ;
    return status;
}

/* Until the deaths are told. */
static int wait_for_deaths(struct actor *actor) {
    tarn_event event = {0};
    int status = 1;
    while (status == 1 && event.id != DEATH)
        status = tarn_listener_receive(actor->listener, &event, GENEROUS);
    return status;
}

static int listen_in_vain(struct actor *actor) {
    return tarn_listener_wait(actor->listener, MS);
}

/* Its bell may say yet that somebody sleeps. */
static void prepare_listener_that_slept(struct actor *actor) {
    prepare_listener(actor);
    CHECK_STATUS(listen_in_vain(actor), 0);
}

static int interrupt_listener(struct actor *actor) {
    int status = tarn_listener_interrupt(actor->listener);
    if (status < 0)
        return status;
    status = tarn_listener_wait(actor->listener, 0);
    return status == TARN_ERROR_INTERRUPTED ? 0 : status;
}

static int close_listener(struct actor *actor) {
    int status = tarn_listener_close(actor->listener);
    actor->listener = NULL;
    return status;
}

static void prepare_monitor(struct actor *actor) {
    CHECK_STATUS(open_monitor(actor), 0);
}

static int open_monitors_descriptor(struct actor *actor) {
    return tarn_monitor_fd(actor->monitor);
}

static int take_matches(struct actor *actor) {
    tarn_match match;
    int status;
    while ((status = tarn_monitor_receive(actor->monitor, &match, 15 * MS)) == 1)
        ;
    return status;
}

static int monitor_in_vain(struct actor *actor) {
    return tarn_monitor_wait(actor->monitor, MS);
}

static void prepare_monitor_that_slept(struct actor *actor) {
    prepare_monitor(actor);
    CHECK_STATUS(take_matches(actor), 0);
}

static int interrupt_monitor(struct actor *actor) {
    int status = tarn_monitor_interrupt(actor->monitor);
    if (status < 0)
        return status;
    status = tarn_monitor_wait(actor->monitor, 0);
    return status == TARN_ERROR_INTERRUPTED ? 0 : status;
}

static int close_monitor(struct actor *actor) {
    int status = tarn_monitor_close(actor->monitor);
    actor->monitor = NULL;
    return status;
}

/* What comes or is done from now on is as if nothing had happened. */
static void leave(struct actor *actor) {
    if (actor->notifier)
        CHECK_STATUS(raise_one(actor), 1);
    CHECK_STATUS(close_notifier(actor), 0);
    CHECK_STATUS(close_listener(actor), 0);
    CHECK_STATUS(close_monitor(actor), 0);
}

/* ---- survivors -------------------------------------------------------------------------------------------------- */

struct survivors {
    tarn_listener *listener;
    tarn_monitor *monitor;
    struct told told;
    pid_t sleeper;
    unsigned deaths;  /* of who died before */
    uint64_t greeted; /* the event of newcomers, so often */
};
static struct survivors others;
enum { GREETING = 9 };

static void clear(void) {
    others = (struct survivors){0};
}

/* Two notifiers die with it. */
static void be_corpse(void *is_ready) {
    tarn_notifier *one = NOTIFIER(TOPIC, .death_event = DEATH + 1);
    NOTIFIER(TOPIC, .death_event = DEATH + 1);
    ledger()->begun++;
    notify(one, EVENT, 1);
    ledger()->done++;
    *(_Atomic bool *)is_ready = true;
    sleep_until_killed();
}

static void somebody_dies(struct survivors *survivors) {
    somebody_dies_as(be_corpse);
    survivors->deaths = 2;
}

static void sleep_on(void *arg) {
    struct told told = {{0}};
    (void)arg;
    tarn_listener *listener = LISTENER(TOPIC, .wait_strategy = TARN_WAIT_SLEEP);
    ledger()->sleeper_is_ready = true;
    hear_until(listener, &told, GREETING, 1);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

static void begin_sleeper(struct survivors *survivors) {
    survivors->sleeper = spawn(sleep_on, NULL);
    AWAIT(ledger()->sleeper_is_ready);
    nap_ns(2 * MS);
}

static bool open_survivors(struct scene *scene, bool actor_lives) {
    int status = tarn_listener_open(&others.listener, TOPIC, NULL);
    if (is_locked_out(status, scene, actor_lives))
        return false;
    CHECK_STATUS(status, 0);
    CHECK_STATUS(tarn_monitor_open(&others.monitor, TOPIC, NULL), 0);
    return true;
}

/* Newcomers are heard, and hear of what was before. */
static void check(struct scene *scene, bool actor_lives) {
    struct told told = {{0}};
    (void)scene;
    tarn_listener *late = LISTENER(TOPIC, .history = 1);
    tarn_notifier *notifier = NOTIFIER(TOPIC);
    notify(notifier, GREETING, 1);
    hear_until(others.listener, &others.told, GREETING, ++others.greeted);
    hear_all(late, &told);
    CHECK_INT(told.counts[GREETING], ==, others.greeted);
    CHECK_INT(told.counts[EVENT], ==, others.told.counts[EVENT]);
    CHECK_INT(told.counts[EVENT], >=, ledger()->done);
    CHECK_INT(told.counts[EVENT], <=, ledger()->begun);
    if (others.sleeper)
        CHECK_INT(wait_child(others.sleeper, LIMIT_S), ==, 0);
    others.sleeper = 0;
    int listeners = tarn_notifier_listeners(notifier);
    CHECK_INT(listeners, >=, 2);
    CHECK_INT(listeners, <=, 2 + actor_lives);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    CHECK_STATUS(tarn_listener_close(late), 0);
}

static void go_on(struct survivors *survivors) {
    hear_all(survivors->listener, &survivors->told);
}

static void check_gone(struct scene *scene) {
    (void)scene;
    check_swept(-1);
    check_swept(2);
    hear_all(others.listener, &others.told);
    uint64_t deaths = others.told.counts[DEATH] - others.deaths, events = others.told.counts[EVENT];
    CHECK_INT(deaths, >=, ledger()->opened - ledger()->closing);
    CHECK_INT(deaths, <=, ledger()->opening - ledger()->closed);
    CHECK(events == ledger()->done || events == ledger()->begun); /* several at once: all of them, or none */
}

/* Each life is told, or missed, once, however often its end was begun to be noted. */
static void close_survivors(struct scene *scene) {
    uint64_t joined = 0, died = 0, left = 0, missed = 0;
    tarn_match match;
    CHECK_STATUS(tarn_listener_close(others.listener), 0);
    while (tarn_monitor_take(others.monitor, &match) == 1) {
        joined += match.kind == TARN_MATCH_JOINED;
        died += match.kind == TARN_MATCH_DIED;
        left += match.kind == TARN_MATCH_LEFT;
        missed += match.missed;
    }
    CHECK_INT(joined, ==, died + left);
    if (scene->operation->operate == sweep) /* those that died; the listener; the newcomers */
        CHECK_INT(joined + missed, ==, others.deaths + 1 + 2 * others.greeted);
    CHECK_STATUS(tarn_monitor_close(others.monitor), 0);
}

/*
 * ---- the table ----------------------------------------------------------------------------------------------------
 */

static const struct operation operations[] = {
    {.name = "open_notifier", .operate = open_notifier},
    {.name = "notify_first", .prepare = prepare_notifier, .operate = raise_one},
    {.name = "notify", .prepare = prepare_known, .operate = raise_one},
    {.name = "notify_and_wake", .prepare = prepare_known, .operate = raise_one, .before = begin_sleeper},
    {.name = "notify_many_first", .prepare = prepare_notifier, .operate = raise_many},
    {.name = "notify_many", .prepare = prepare_known, .operate = raise_many},
    {.name = "close_notifier", .prepare = prepare_known, .operate = close_notifier},
    {.name = "open_listener", .operate = open_listener},
    {.name = "take",
     .prepare = prepare_listener_with_fd,
     .operate = take_events,
     .before = somebody_dies,
     .repairs = true},
    {.name = "listen_in_vain", .prepare = prepare_listener, .operate = listen_in_vain},
    {.name = "interrupt_listener", .prepare = prepare_listener_that_slept, .operate = interrupt_listener},
    {.name = "close_listener", .prepare = prepare_listener_with_fd, .operate = close_listener},
    {.name = "repair_by_waiting",
     .prepare = prepare_listener,
     .operate = wait_for_deaths,
     .before = somebody_dies,
     .repairs = true},
    {.name = "repair_by_opening", .operate = open_notifier, .before = somebody_dies, .repairs = true},
    {.name = "repair_by_sweeping", .operate = sweep, .before = somebody_dies, .repairs = true},
    {.name = "open_monitor", .operate = open_monitor, .before = somebody_dies, .repairs = true},
    {.name = "repair_by_monitor",
     .prepare = prepare_monitor,
     .operate = take_matches,
     .before = somebody_dies,
     .repairs = true},
    {.name = "descriptor_of_monitor", .prepare = prepare_monitor, .operate = open_monitors_descriptor},
    {.name = "monitor_in_vain", .prepare = prepare_monitor_that_slept, .operate = monitor_in_vain},
    {.name = "interrupt_monitor", .prepare = prepare_monitor_that_slept, .operate = interrupt_monitor},
    {.name = "close_monitor", .prepare = prepare_monitor, .operate = close_monitor},
};

static struct actor actor;

const struct pattern pattern = {
    .operations = operations,
    .count = sizeof operations / sizeof operations[0],
    .actor = &actor,
    .survivors = &others,
    .clear = clear,
    .open = open_survivors,
    .check = check,
    .go_on = go_on,
    .gone = check_gone,
    .close = close_survivors,
    .leave = leave,
};
