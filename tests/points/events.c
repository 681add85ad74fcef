/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Killed with SIGKILL at every point (scene.h) of every operation of events and monitors: what was notified is counted, the
 * death of a notifier is told exactly once, also where who repairs it is killed at any point, and the next one, too; and
 * nothing is left.
 */
#include "../multi/events.h"
#include "core/inspect.h"
#include "tracer.h"

#define TOPIC "points"
#define EVENT 1u
#define DEATH 5u

/* ---- the actor -------------------------------------------------------------------------------------------------- */

static struct ledger {
    _Atomic uint64_t begun, done;  /* notifications, of all */
    _Atomic bool opening, is_open; /* a notifier with a death event, from begin and end of its opening on */
    _Atomic bool closing;          /* its closing has begun */
    _Atomic bool corpse_is_ready, sleeper_is_ready;
} * ledger;

struct actor {
    tarn_notifier *notifier;
    tarn_listener *listener;
    tarn_monitor *monitor;
};

struct operation {
    const char *name;
    void (*prepare)(struct actor *);
    int (*operate)(struct actor *);
    bool repairs; /* somebody has died before */
    bool sleeps;  /* the survivors have a process that sleeps */
};

static int open_notifier(struct actor *actor) {
    tarn_notifier_options options = {.struct_bytes = sizeof options, .death_event = DEATH + 1};
    ledger->opening = true;
    int status = tarn_notifier_open(&actor->notifier, TOPIC, &options);
    ledger->is_open = status == 0;
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
        ledger->begun++;
        status = tarn_notifier_notify(actor->notifier, id);
        ledger->done++;
    }
    return status;
}

static int raise_one(struct actor *actor) {
    return raise_some(actor, EVENT, 1);
}

static void prepare_notifier(struct actor *actor) {
    CHECK_STATUS(open_notifier(actor), 0);
}

static void prepare_known(struct actor *actor) {
    prepare_notifier(actor);
    CHECK_STATUS(raise_one(actor), 1);
}

static int close_notifier(struct actor *actor) {
    ledger->closing = true;
    return tarn_notifier_close(actor->notifier);
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

static int close_listener(struct actor *actor) {
    return tarn_listener_close(actor->listener);
}

static void prepare_monitor(struct actor *actor) {
    CHECK_STATUS(open_monitor(actor), 0);
}

static int take_matches(struct actor *actor) {
    tarn_match match;
    int status;
    while ((status = tarn_monitor_receive(actor->monitor, &match, 15 * MS)) == 1)
        ;
    return status;
}

static int close_monitor(struct actor *actor) {
    return tarn_monitor_close(actor->monitor);
}

static int sweep(struct actor *actor) {
    struct inspect_sweep swept;
    (void)actor;
    return inspect_sweep(&swept, NULL, NULL);
}

static const struct operation operations[] = {
    {.name = "open_notifier", .operate = open_notifier},
    {.name = "notify_first", .prepare = prepare_notifier, .operate = raise_one},
    {.name = "notify", .prepare = prepare_known, .operate = raise_one},
    {.name = "notify_and_wake", .prepare = prepare_known, .operate = raise_one, .sleeps = true},
    {.name = "close_notifier", .prepare = prepare_known, .operate = close_notifier},
    {.name = "open_listener", .operate = open_listener},
    {.name = "take", .prepare = prepare_listener_with_fd, .operate = take_events, .repairs = true},
    {.name = "close_listener", .prepare = prepare_listener_with_fd, .operate = close_listener},
    {.name = "repair_by_waiting", .prepare = prepare_listener, .operate = wait_for_deaths, .repairs = true},
    {.name = "repair_by_opening", .operate = open_notifier, .repairs = true},
    {.name = "repair_by_sweeping", .operate = sweep, .repairs = true},
    {.name = "open_monitor", .operate = open_monitor, .repairs = true},
    {.name = "repair_by_monitor", .prepare = prepare_monitor, .operate = take_matches, .repairs = true},
    {.name = "close_monitor", .prepare = prepare_monitor, .operate = close_monitor},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static void act(void *arg) {
    const struct operation *operation = arg;
    struct actor actor = {0};
    if (operation->prepare)
        operation->prepare(&actor);
    tracer_mark();
    CHECK_INT(operation->operate(&actor), >=, 0);
    tracer_mark();
    sleep_until_killed();
}

/* ---- survivors -------------------------------------------------------------------------------------------------- */

/* Two notifiers die with it. */
static void be_corpse(void *arg) {
    (void)arg;
    tarn_notifier *one = NOTIFIER(TOPIC, .death_event = DEATH + 1);
    NOTIFIER(TOPIC, .death_event = DEATH + 1);
    ledger->begun++;
    notify(one, EVENT, 1);
    ledger->done++;
    ledger->corpse_is_ready = true;
    sleep_until_killed();
}

static void sleep_on(void *arg) {
    struct told told = {{0}};
    (void)arg;
    tarn_listener *listener = LISTENER(TOPIC, .wait_strategy = TARN_WAIT_SLEEP);
    ledger->sleeper_is_ready = true;
    hear_until(listener, &told, 9, 1);
    CHECK_STATUS(tarn_listener_close(listener), 0);
}

struct scene {
    const struct operation *operation;
    struct traced traced;
    tarn_listener *listener;
    tarn_monitor *monitor;
    struct told told;
    pid_t sleeper;
    unsigned deaths; /* of the corpse */
};

static void begin_scene(struct scene *scene, const struct operation *operation) {
    if (!ledger)
        ledger = shared_page(sizeof *ledger);
    memset(ledger, 0, sizeof *ledger);
    *scene = (struct scene){.operation = operation};
    tracer_spawn(&scene->traced, act, (void *)(uintptr_t)operation);
    scene->listener = LISTENER(TOPIC);
    CHECK_STATUS(tarn_monitor_open(&scene->monitor, TOPIC, NULL), 0);
    tracer_begin(&scene->traced);
    if (operation->repairs) {
        pid_t corpse = spawn(be_corpse, NULL);
        AWAIT(ledger->corpse_is_ready);
        kill_child(corpse);
        scene->deaths = 2;
    }
    if (operation->sleeps) {
        scene->sleeper = spawn(sleep_on, NULL);
        AWAIT(ledger->sleeper_is_ready);
        nap_ns(2 * MS);
    }
}

/* Each life is told, or missed, once, however often its end was begun to be noted. */
static void check_matches(struct scene *scene) {
    uint64_t joined = 0, died = 0, left = 0, missed = 0;
    tarn_match match;
    while (tarn_monitor_take(scene->monitor, &match) == 1) {
        joined += match.kind == TARN_MATCH_JOINED;
        died += match.kind == TARN_MATCH_DIED;
        left += match.kind == TARN_MATCH_LEFT;
        missed += match.missed;
    }
    CHECK_INT(joined, ==, died + left);
    if (scene->operation->operate == sweep) /* two that died; the listener; the newcomers */
        CHECK_INT(joined + missed, ==, 2 + 1 + 2);
    CHECK_STATUS(tarn_monitor_close(scene->monitor), 0);
}

/* The actor is gone: all is repaired, told exactly, and nothing is left. */
static void end_scene(struct scene *scene) {
    struct inspect_sweep swept;
    tracer_kill(&scene->traced);
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(inspect_sweep(&swept, NULL, NULL), 0);
    hear_all(scene->listener, &scene->told);
    uint64_t deaths = scene->told.counts[DEATH] - scene->deaths, events = scene->told.counts[EVENT];
    CHECK_INT(deaths, >=, ledger->is_open && !ledger->closing);
    CHECK_INT(deaths, <=, ledger->opening);
    CHECK_INT(events, >=, ledger->done);
    CHECK_INT(events, <=, ledger->begun);
    struct told newcomer = {{0}};
    tarn_listener *late = LISTENER(TOPIC, .history = 1);
    tarn_notifier *notifier = NOTIFIER(TOPIC);
    notify(notifier, 9, 1);
    hear_until(scene->listener, &scene->told, 9, 1);
    hear_all(late, &newcomer);
    CHECK(memcmp(&newcomer, &scene->told, sizeof newcomer) == 0);
    if (scene->sleeper)
        CHECK_INT(wait_child(scene->sleeper, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_notifier_listeners(notifier), 2);
    CHECK_STATUS(tarn_notifier_close(notifier), 0);
    CHECK_STATUS(tarn_listener_close(late), 0);
    CHECK_STATUS(tarn_listener_close(scene->listener), 0);
    check_matches(scene);
    char path[512];
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 0), ==, 0);
    CHECK_INT(count_segments(), ==, 0);
}

/* ---- kills ------------------------------------------------------------------------------------------------------ */

static bool step_to(struct traced *traced, unsigned point) {
    for (unsigned i = 0; i <= point; i++)
        if (!tracer_next(traced))
            return false;
    return true;
}

static unsigned count_points(const struct operation *operation) {
    struct scene scene;
    unsigned count = 0;
    set_context("%s", "");
    begin_scene(&scene, operation);
    while (tracer_next(&scene.traced))
        count++;
    end_scene(&scene);
    return count;
}

static void kill_at(const struct operation *operation, unsigned point) {
    struct scene scene;
    begin_scene(&scene, operation);
    bool is_on_its_way = step_to(&scene.traced, point);
    set_context("%s killed at point %u, %s", operation->name, point,
                is_on_its_way ? tracer_describe(&scene.traced) : "the end");
    end_scene(&scene);
}

/* One repairer is killed, and so is the next. The first notifies nothing, and has no death event. */
static void kill_twice(const struct operation *operation, unsigned first, unsigned second) {
    struct scene scene;
    struct traced repairer;
    begin_scene(&scene, operation);
    tracer_spawn(&repairer, act, (void *)(uintptr_t)&operations[10]);
    tracer_begin(&repairer);
    step_to(&repairer, first);
    tracer_kill(&repairer);
    step_to(&scene.traced, second);
    set_context("%s killed at point %u, after a sweep that was killed at point %u", operation->name, second, first);
    end_scene(&scene);
}

static void kill_everywhere(const struct operation *operation) {
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    need_root(); /* for an IPC namespace in which to count segments */
    const char *text = getenv("TARN_POINTS");
    bool all = text && strcmp(text, "all") == 0;
    unsigned count = count_points(operation), size = all ? count : text ? (unsigned)strtoul(text, NULL, 10) : 12;
    struct random random = random_start(1);
    unsigned visited = 0;
    for (unsigned i = 0; i < count; i++) {
        if (random_between(&random, 1, count - i) > (size < count ? size : count) - visited)
            continue;
        kill_at(operation, i);
        visited++;
    }
    for (unsigned i = 0; operation->repairs && i < (all ? 300 : 8); i++)
        kill_twice(operation, (unsigned)random_between(&random, 0, 60),
                   (unsigned)random_between(&random, 0, count - 1));
    printf("  %-28s %4u points, %4u visited\n", operation->name, count, visited);
}

static void play_named(void) {
    for (int i = 0; i < OPERATIONS; i++)
        if (strcmp(operations[i].name, getenv("TARN_TEST")) == 0)
            kill_everywhere(&operations[i]);
}

__attribute__((constructor)) static void add_tests(void) {
    static struct test tests[OPERATIONS];
    for (int i = 0; i < OPERATIONS; i++) {
        tests[i] = (struct test){operations[i].name, 600, play_named, NULL};
        harness_add_test(&tests[i]);
    }
}
