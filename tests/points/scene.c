/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See scene.h. */
#include "scene.h"

#include <poll.h>

#include "core/inspect.h"

enum {
    PATTERN_MAX = 4096, /* larger messages have the pattern at their ends only: each store of the actor is a point */
    PATTERN_END = 64,
    PRESSURE_COUNT = 24, /* messages of that size are more than the witness' memory holds */
    PRESSURE_BYTES = 50000,
    WITNESS_MEMORY = 1 << 20,
};

/* ---- messages ----------------------------------------------------------------------------------------------------- */

static void write_message(char *data, size_t bytes, uint64_t seed) {
    if (bytes <= PATTERN_MAX) {
        fill_pattern(data, bytes, seed);
        return;
    }
    fill_pattern(data, PATTERN_END, seed);
    fill_pattern(data + bytes - PATTERN_END, PATTERN_END, seed + 1);
}

static bool is_message(const char *data, size_t bytes, uint64_t seed) {
    if (bytes <= PATTERN_MAX)
        return check_pattern(data, bytes, seed);
    return check_pattern(data, PATTERN_END, seed) && check_pattern(data + bytes - PATTERN_END, PATTERN_END, seed + 1);
}

static uint64_t seed_of(uint64_t publisher, uint64_t number) {
    return publisher ^ number << 32;
}

static uint64_t begin_message(struct actor *actor) {
    uint64_t number = actor->ledger->sent + actor->ledger->dropped + 1;
    actor->ledger->begun = number;
    return number;
}

static int end_message(struct actor *actor, int result) {
    if (result == 1) {
        actor->ledger->dropped = 0;
        actor->ledger->sent = actor->ledger->begun;
    }
    actor->ledger->dropped += result == 0;
    return result;
}

int send_next(struct actor *actor, size_t bytes) {
    static char buffer[PATTERN_MAX];
    uint64_t number = begin_message(actor), seed = seed_of(actor->ledger->identity, number);
    int result;
    if (bytes <= sizeof buffer) {
        write_message(buffer, bytes, seed);
        result = tarn_publisher_publish(actor->publisher, buffer, bytes);
    } else {
        tarn_loan loan;
        result = tarn_publisher_loan(actor->publisher, bytes, &loan);
        if (result == 1) {
            write_message(loan.data, bytes, seed);
            result = tarn_loan_send(&loan);
        }
    }
    return end_message(actor, result);
}

void write_loan(struct actor *actor) {
    write_message(actor->loan.data, actor->loan.bytes, seed_of(actor->ledger->identity, begin_message(actor)));
}

int send_loan(struct actor *actor) {
    return end_message(actor, tarn_loan_send(&actor->loan));
}

/* ---- accounts ----------------------------------------------------------------------------------------------------- */

static struct account *find_account(struct follower *follower, const tarn_message *message) {
    for (unsigned i = 0; i < follower->count; i++)
        if (follower->accounts[i].publisher == message->publisher)
            return &follower->accounts[i];
    CHECK_INT(follower->count, <, sizeof follower->accounts / sizeof follower->accounts[0]);
    struct account *account = &follower->accounts[follower->count++];
    *account = (struct account){message->publisher, follower->from_first ? 1 : message->sequence - message->lost, 0};
    return account;
}

void account_for(struct follower *follower, const tarn_message *message) {
    struct account *account = find_account(follower, message);
    CHECK_INT(message->sequence, ==, account->next + message->lost);
    CHECK(is_message(message->data, message->bytes, seed_of(message->publisher, message->sequence)));
    account->next = message->sequence + 1;
    account->lost += message->lost;
}

struct account account_of(const struct follower *follower, uint64_t publisher) {
    for (unsigned i = 0; i < follower->count; i++)
        if (follower->accounts[i].publisher == publisher)
            return follower->accounts[i];
    return (struct account){publisher, 1, 0};
}

void follow(struct follower *follower) {
    tarn_message message;
    int result;
    while ((result = tarn_subscriber_take(follower->subscriber, &message)) == 1) {
        account_for(follower, &message);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(result, 0);
}

/* ---- survivors ---------------------------------------------------------------------------------------------------- */

static int send_from(tarn_publisher *publisher, uint64_t number, size_t bytes) {
    static char buffer[PRESSURE_BYTES];
    CHECK_INT(bytes, <=, sizeof buffer);
    write_message(buffer, bytes, seed_of(tarn_publisher_identity(publisher), number));
    return tarn_publisher_publish(publisher, buffer, bytes);
}

static int send_one(struct survivors *survivors, size_t bytes) {
    int result = send_from(survivors->witness, survivors->sent + 1, bytes);
    survivors->sent += result == 1;
    follow(&survivors->reliable);
    if (survivors->sent % 3 == 0)
        follow(&survivors->loose);
    return result;
}

void send_some(struct survivors *survivors, unsigned count, size_t bytes) {
    for (unsigned i = 0; i < count; i++)
        CHECK_STATUS(send_one(survivors, bytes), 1);
}

/* Unless a reliable subscriber that lives holds the witness back, as far as that was told to wait. */
static bool send_unless_full(struct scene *scene, bool actor_lives, size_t bytes) {
    char pid[24];
    snprintf(pid, sizeof pid, "pid %d", (int)scene->traced.pid);
    int result = send_one(&scene->survivors, bytes);
    if (result == TARN_ERROR_FULL && actor_lives && scene->operation->holds_back && strstr(tarn_error(), pid))
        return false;
    CHECK_STATUS(result, 1);
    return true;
}

/* More than the witness' memory holds. */
static void send_much(struct scene *scene, bool actor_lives) {
    for (int i = 0; i < PRESSURE_COUNT && send_unless_full(scene, actor_lives, PRESSURE_BYTES); i++)
        ;
}

/* Whether somebody who joins may be refused because the actor, which lives, has the topic's file locked. */
static bool is_locked_out(int status, const struct scene *scene, bool actor_lives) {
    char pid[24];
    snprintf(pid, sizeof pid, "process %d", (int)scene->traced.pid);
    if (status != TARN_ERROR_BUSY || !actor_lives)
        return false;
    if (!strstr(tarn_error(), pid) && !strstr(tarn_error(), "another process"))
        FAIL("not named as who has the lock: %s", tarn_error());
    return true;
}

static const tarn_publisher_options witness_options = {
    .struct_bytes = sizeof witness_options,
    .memory_limit_bytes = WITNESS_MEMORY,
    .full_timeout_ns = 100 * MS,
};
static const tarn_subscriber_options reliable_options = {.struct_bytes = sizeof reliable_options, .reliable = 1};

/* False: locked out. */
static bool open_survivors(struct scene *scene, bool actor_lives) {
    struct survivors *survivors = &scene->survivors;
    int status = tarn_publisher_open(&survivors->witness, TOPIC, &witness_options);
    if (is_locked_out(status, scene, actor_lives))
        return false;
    CHECK_STATUS(status, 0);
    CHECK_STATUS(tarn_subscriber_open(&survivors->reliable.subscriber, TOPIC, &reliable_options), 0);
    CHECK_STATUS(tarn_subscriber_open(&survivors->loose.subscriber, TOPIC, NULL), 0);
    survivors->reliable.from_first = !scene->operation->alone;
    scene->ledger->witness = tarn_publisher_identity(survivors->witness);
    return true;
}

/* A message that was sent, but of which nobody was told, is taken by who waits for it all the same. */
static void check_waiting(struct survivors *survivors) {
    struct ledger *ledger = survivors->ledger;
    if (survivors->sleeper)
        AWAIT(ledger->woken >= ledger->sent);
    if (survivors->fd >= 0 && ledger->sent) {
        struct pollfd waiting = {.fd = survivors->fd, .events = POLLIN};
        CHECK_INT(poll(&waiting, 1, GENEROUS / MS), ==, 1);
    }
}

/* Somebody joins, sends, takes, counts, and leaves. */
static void check_newcomer(struct scene *scene, bool actor_lives) {
    struct survivors *survivors = &scene->survivors;
    unsigned others = actor_lives;
    struct follower follower = {.subscriber = subscriber_of(TOPIC, NULL)};
    tarn_publisher *publisher = PUBLISHER(TOPIC, .linger_ns = others ? 20 * MS : SECOND);
    for (uint64_t number = 1; number <= 3; number++)
        CHECK_STATUS(send_from(publisher, number, 100), 1);
    bool any = send_unless_full(scene, actor_lives, 64);
    follow(&follower);
    uint64_t identity = tarn_publisher_identity(publisher);
    CHECK_INT(account_of(&survivors->reliable, identity).next, ==, 4);
    CHECK_INT(account_of(&follower, identity).next, ==, 4);
    CHECK_INT(account_of(&follower, scene->ledger->witness).next, ==, any ? survivors->sent + 1 : 1);
    unsigned known = 3 + (survivors->sleeper != 0);
    int subscribers = tarn_publisher_subscribers(publisher),
        publishers = tarn_subscriber_publishers(follower.subscriber);
    CHECK_INT(subscribers, >=, known);
    CHECK_INT(subscribers, <=, known + others);
    CHECK_INT(publishers, >=, 2);
    CHECK_INT(publishers, <=, 2 + others);
    CHECK_STATUS(tarn_subscriber_close(follower.subscriber), 0);
    follow(&survivors->loose);
    int behind = tarn_publisher_close(publisher);
    CHECK_INT(behind, >=, 0);
    CHECK_INT(behind, <=, others);
}

bool check_survivors(struct scene *scene, bool actor_lives) {
    struct survivors *survivors = &scene->survivors;
    if (!survivors->witness && !open_survivors(scene, actor_lives))
        return false;
    check_waiting(survivors);
    send_much(scene, actor_lives);
    check_newcomer(scene, actor_lives);
    follow(&survivors->reliable);
    follow(&survivors->loose);
    CHECK_INT(account_of(&survivors->reliable, scene->ledger->witness).next, ==, survivors->sent + 1);
    CHECK_INT(account_of(&survivors->reliable, scene->ledger->witness).lost, ==, 0);
    return true;
}

/* Nobody is dead and not repaired, and nobody is there who should not. */
static void check_swept(const struct survivors *survivors) {
    struct inspect_sweep sweep;
    struct inspect_domain *domain;
    CHECK_STATUS(inspect_sweep(&sweep, NULL, NULL), 0);
    CHECK_INT(sweep.topics_busy + sweep.topics_failed, ==, 0);
    CHECK_STATUS(inspect_domain_open(&domain, NULL, NULL), 0);
    CHECK_INT(domain->topic_count, ==, 1);
    CHECK_INT(domain->topics[0].participant_count, ==, 3 + (survivors->sleeper != 0));
    inspect_domain_close(domain);
}

void check_gone(struct scene *scene) {
    struct ledger *ledger = scene->ledger;
    struct follower *reliable = &scene->survivors.reliable;
    check_swept(&scene->survivors);
    follow(reliable);
    if (scene->operation->alone || !ledger->identity)
        return;
    struct account account = account_of(reliable, ledger->identity);
    uint64_t taken = account.next - 1 - account.lost, lost = tarn_subscriber_lost(reliable->subscriber);
    CHECK_INT(taken + lost, >=, ledger->sent);
    CHECK_INT(taken + lost, <=, ledger->begun);
    if (!scene->operation->lets_lose)
        CHECK_INT(lost, ==, 0);
}

/* ---- sleeping ----------------------------------------------------------------------------------------------------- */

static void sleep_on(void *arg) {
    struct ledger *ledger = arg;
    struct follower follower = {
        .subscriber = SUBSCRIBER(TOPIC, .wait_strategy = TARN_WAIT_SLEEP),
        .accounts = {{ledger->identity, ledger->sent + 1, 0}},
        .count = 1,
    };
    tarn_message message;
    ledger->woken = ledger->sent;
    while (!ledger->last || account_of(&follower, ledger->witness).next <= ledger->last) {
        CHECK_STATUS(tarn_subscriber_receive(follower.subscriber, &message, GENEROUS), 1);
        account_for(&follower, &message);
        CHECK_STATUS(tarn_message_release(&message), 0);
        ledger->woken = account_of(&follower, ledger->identity).next - 1;
    }
    CHECK_STATUS(tarn_subscriber_close(follower.subscriber), 0);
}

void begin_sleeper(struct survivors *survivors) {
    survivors->ledger->woken = UINT64_MAX;
    survivors->sleeper = spawn(sleep_on, survivors->ledger);
    AWAIT(survivors->ledger->woken != UINT64_MAX);
    nap_ns(2 * MS); /* it is asleep by then, most probably */
}

static void end_sleeper(struct survivors *survivors) {
    if (!survivors->sleeper)
        return;
    survivors->ledger->last = survivors->sent + 1;
    send_some(survivors, 1, 64);
    CHECK_INT(wait_child(survivors->sleeper, LIMIT_S), ==, 0);
    survivors->sleeper = 0;
}

/* ---- the actor ---------------------------------------------------------------------------------------------------- */

/* A subscriber goes on: it gets everything from here on, or is told how much it lost. */
static void catch_up(struct actor *actor) {
    struct ledger *ledger = actor->ledger;
    tarn_message message;
    while (account_of(&actor->follower, ledger->witness).next <= ledger->expected) {
        CHECK_STATUS(tarn_subscriber_receive(actor->subscriber, &message, GENEROUS), 1);
        account_for(&actor->follower, &message);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
}

static void end_actor(struct actor *actor) {
    int result = actor->ledger->result;
    if (result < 0) {
        CHECK(actor->ledger->may_fail);
        CHECK_INT(actor->operation->operate(actor), >=, 0);
    }
    if (actor->publisher)
        CHECK_STATUS(send_next(actor, 32), 1);
    if (actor->subscriber)
        catch_up(actor);
    while (actor->held_count)
        CHECK_STATUS(tarn_message_release(&actor->held[--actor->held_count]), 0);
    CHECK_INT(tarn_publisher_close(actor->publisher), >=, 0); /* who is behind when it has lingered */
    CHECK_STATUS(tarn_subscriber_close(actor->subscriber), 0);
    CHECK_INT(count_attached(), ==, actor->attached);
    CHECK_INT(count_descriptors(), ==, actor->descriptors);
}

bool scene_is_operating;

static void act(void *arg) {
    struct scene *scene = arg;
    struct actor actor = {
        .ledger = scene->ledger,
        .operation = scene->operation,
        .descriptors = count_descriptors(),
        .attached = count_attached(),
    };
    if (scene->operation->prepare)
        scene->operation->prepare(&actor);
    actor.follower.subscriber = actor.subscriber;
    tracer_mark();
    scene_is_operating = true;
    int result = scene->operation->operate(&actor);
    scene_is_operating = false;
    CHECK(result >= TARN_ERROR_SYSTEM && (result >= 0 || *tarn_error()));
    actor.ledger->result = result;
    tracer_mark();
    end_actor(&actor);
}

void let_actor_end(struct scene *scene) {
    struct survivors *survivors = &scene->survivors;
    int status;
    scene->ledger->expected = survivors->sent;
    tracer_let_go(&scene->traced);
    for (int64_t end = now_ns() + GENEROUS; waitpid(scene->traced.pid, &status, WNOHANG) == 0; nap_ns(MS / 4)) {
        send_some(survivors, 1, 64);
        if (now_ns() > end)
            FAIL("the process that did the operation has not ended");
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        FAIL("the process that did the operation ended with status %#x", status);
    follow(&survivors->reliable);
    follow(&survivors->loose);
}

/* ---- beginning and end -------------------------------------------------------------------------------------------- */

void begin_scene(struct scene *scene, const struct operation *operation) {
    static struct ledger *ledger;
    if (!ledger)
        ledger = shared_page(sizeof *ledger);
    memset(ledger, 0, sizeof *ledger);
    *scene = (struct scene){.operation = operation, .ledger = ledger, .survivors = {.fd = -1, .ledger = ledger}};
    scene->descriptors = count_descriptors();
    scene->attached = count_attached();
    set_context("%s", "");
    tracer_spawn(&scene->traced, act, scene);
    if (!operation->alone)
        open_survivors(scene, false);
    tracer_begin(&scene->traced);
    if (!operation->alone) { /* what is in memory that nobody else has attached would go with the actor */
        CHECK_INT(tarn_subscriber_wait(scene->survivors.reliable.subscriber, 0), >=, 0);
        CHECK_INT(tarn_subscriber_wait(scene->survivors.loose.subscriber, 0), >=, 0);
    }
    if (operation->before)
        operation->before(&scene->survivors);
}

void end_scene(struct scene *scene) {
    struct survivors *survivors = &scene->survivors;
    char path[512];
    end_sleeper(survivors);
    CHECK_STATUS(tarn_subscriber_close(survivors->loose.subscriber), 0);
    CHECK_STATUS(tarn_subscriber_close(survivors->reliable.subscriber), 0);
    CHECK_STATUS(tarn_publisher_close(survivors->witness), 0);
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 0), ==, 0);
    CHECK_INT(count_files(getenv("TARN_DIR"), 1 << 20), ==, 1); /* the domain's directory */
    CHECK_INT(count_segments(), ==, 0);
    CHECK_INT(count_attached(), ==, scene->attached);
    CHECK_INT(count_descriptors(), ==, scene->descriptors);
}

/* ---- visiting points ---------------------------------------------------------------------------------------------- */

enum { POINTS_MAX = 20000 };

/* Which points are wanted of those that it passes on its way to the end. */
static unsigned list_points(const struct operation *operation, bool (*wanted)(const struct traced *),
                            unsigned ret[static POINTS_MAX]) {
    struct scene scene;
    unsigned count = 0;
    begin_scene(&scene, operation);
    for (unsigned point = 0; tracer_next(&scene.traced); point++) {
        CHECK_INT(count, <, POINTS_MAX);
        if (!wanted || wanted(&scene.traced))
            ret[count++] = point;
    }
    CHECK_INT(scene.ledger->result, >=, 0);
    CHECK(check_survivors(&scene, true));
    let_actor_end(&scene);
    check_gone(&scene);
    end_scene(&scene);
    return count;
}

bool visits_all(void) {
    const char *text = getenv("TARN_POINTS");
    return text && strcmp(text, "all") == 0;
}

/* How many points to visit, of so many. */
static unsigned sample_size(unsigned count, unsigned usual) {
    const char *text = getenv("TARN_POINTS");
    unsigned size = visits_all() ? count : text ? (unsigned)strtoul(text, NULL, 10) : usual;
    return size < count ? size : count;
}

unsigned visit_points(const struct operation *operation, bool (*wanted)(const struct traced *traced), unsigned usual,
                      void (*visit)(const struct operation *operation, unsigned point)) {
    static unsigned points[POINTS_MAX];
    unsigned count = list_points(operation, wanted, points), size = sample_size(count, usual), visited = 0;
    struct random random = random_start(0);
    int64_t longest_ns = 0;
    for (unsigned i = 0; i < count; i++) {
        if (random_between(&random, 1, count - i) > size - visited)
            continue; /* so that each choice of so many is as probable as another */
        int64_t start = now_ns();
        visit(operation, points[i]);
        int64_t took_ns = now_ns() - start;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
        visited++;
    }
    set_context("%s", "");
    printf("  %-28s %4u points, %4u visited, longest %lld ms\n", operation->name, count, visited,
           (long long)(longest_ns / MS));
    return count;
}

static bool step_to(struct traced *traced, unsigned point) {
    for (unsigned i = 0; i <= point; i++)
        if (!tracer_next(traced))
            return false;
    return true;
}

bool go_to_point(struct scene *scene, unsigned point) {
    begin_scene(scene, scene->operation);
    return step_to(&scene->traced, point);
}

void kill_another_at(const struct operation *operation, unsigned point) {
    static struct ledger *ledger;
    if (!ledger)
        ledger = shared_page(sizeof *ledger);
    memset(ledger, 0, sizeof *ledger);
    struct scene scene = {.operation = operation, .ledger = ledger};
    tracer_spawn(&scene.traced, act, &scene);
    tracer_begin(&scene.traced);
    step_to(&scene.traced, point);
    tracer_kill(&scene.traced);
}

static void (*play_one)(const struct operation *operation);

static void play_named(void) {
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    need_root(); /* for an IPC namespace in which to count segments */
    for (unsigned i = 0; i < operation_count; i++)
        if (strcmp(operations[i].name, getenv("TARN_TEST")) == 0)
            play_one(&operations[i]);
}

void add_scenes(void (*play)(const struct operation *operation), int limit_s) {
    struct test *tests = calloc(operation_count, sizeof *tests);
    CHECK(tests);
    play_one = play;
    for (unsigned i = 0; i < operation_count; i++) {
        tests[i] = (struct test){operations[i].name, limit_s, play_named, NULL};
        harness_add_test(&tests[i]);
    }
}
