/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A client or a server killed at the points of what it does with requests: see support/tracer.h and, for $TARN_POINTS,
 * scene.h. Survivors are a client and a server in this process: after the death the one's requests are answered by the
 * other, each request that went to the dead is answered or fails, and when they leave nothing is left.
 */
#include "../multi/common.h"
#include "core/inspect.h"
#include "tracer.h"

#define TOPIC "points"

struct actor {
    tarn_client *client;
    tarn_server *server;
    tarn_request request;
    uint64_t number;
};

struct survivors {
    tarn_client *client;
    tarn_server *server;
};

struct operation {
    const char *name;
    void (*prepare)(struct actor *);    /* before the points are counted */
    void (*before)(struct survivors *); /* then */
    void (*operate)(struct actor *);
    bool only_server, only_client; /* the actor is: the survivors' comes later */
};

/* ---- what the actor does -------------------------------------------------------------------------------------------- */

static const char data[1000];
#define LARGE_BYTES 200000 /* lent, and not written: each store of the actor is a point */

static void open_client(struct actor *actor) {
    tarn_client_options how = {.struct_bytes = sizeof how, .server_timeout_ns = GENEROUS};
    CHECK_STATUS(tarn_client_open(&actor->client, TOPIC, &how), 0);
}

static void open_server(struct actor *actor) {
    tarn_server_options how = {.struct_bytes = sizeof how, .linger_ns = 20 * MS};
    CHECK_STATUS(tarn_server_open(&actor->server, TOPIC, &how), 0);
}

static void send_bytes(struct actor *actor, size_t bytes) {
    CHECK_STATUS(tarn_client_send(actor->client, data, bytes, &actor->number), 1);
}

static void send_word(struct actor *actor) {
    send_bytes(actor, 8);
}

static void send_lines(struct actor *actor) {
    send_bytes(actor, 1000);
}

static void lend_and_send(struct actor *actor, size_t bytes) {
    tarn_loan loan;
    CHECK_STATUS(tarn_client_loan(actor->client, bytes, &loan, &actor->number), 1);
    CHECK_STATUS(tarn_loan_send(&loan), 1);
}

static void send_large(struct actor *actor) {
    lend_and_send(actor, LARGE_BYTES);
}

static void send_loan(struct actor *actor) {
    lend_and_send(actor, 1000);
}

static void prepare_sent(struct actor *actor) {
    open_client(actor);
    send_word(actor);
}

static void abandon(struct actor *actor) {
    CHECK_STATUS(tarn_client_abandon(actor->client, actor->number), 1);
}

static void receive(struct actor *actor) {
    tarn_message message;
    CHECK_STATUS(tarn_client_receive(actor->client, &message, GENEROUS), 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
}

static void receive_death(struct actor *actor) {
    tarn_message message;
    CHECK_STATUS(tarn_client_receive(actor->client, &message, GENEROUS), TARN_ERROR_PEER_DIED);
}

static void take(struct actor *actor) {
    CHECK_STATUS(tarn_server_receive(actor->server, &actor->request, GENEROUS), 1);
}

static void prepare_taken(struct actor *actor) {
    open_server(actor);
    take(actor);
}

static void reply(struct actor *actor) {
    CHECK_STATUS(tarn_request_reply(&actor->request, data, 8), 1);
}

static void stream(struct actor *actor) {
    CHECK_STATUS(tarn_request_stream(&actor->request, data, 100), 1);
    tarn_loan loan;
    CHECK_STATUS(tarn_request_loan(&actor->request, LARGE_BYTES, 0, &loan), 1);
    CHECK_STATUS(tarn_loan_send(&loan), 1);
    CHECK_STATUS(tarn_request_end(&actor->request), 1);
}

static void close_all(struct actor *actor) {
    CHECK_STATUS(tarn_client_close(actor->client), 0);
    CHECK_INT(tarn_server_close(actor->server), >=, 0);
    *actor = (struct actor){0};
}

/* ---- what the survivors do -------------------------------------------------------------------------------------------- */

static void answer_all(struct survivors *survivors) {
    tarn_request request;
    int status;
    while ((status = tarn_server_take(survivors->server, &request)) == 1) {
        status = tarn_request_reply(&request, request.data, request.bytes);
        if (status != 0 && status != TARN_ERROR_PEER_DIED)
            CHECK_STATUS(status, 1);
    }
    CHECK_STATUS(status, 0);
}

static void ask(struct survivors *survivors) {
    CHECK_STATUS(tarn_client_send(survivors->client, data, 8, NULL), 1);
}

static _Atomic bool *is_ready;

static void serve_nobody(void *arg) {
    struct actor actor = {0};
    open_server(&actor);
    *(_Atomic bool *)arg = true;
    sleep_until_killed();
}

static pid_t victim;

static void kill_victim(struct survivors *survivors) {
    (void)survivors;
    kill_child(victim);
    victim = 0;
}

/* The server that its request goes to is another process. */
static void prepare_victim(struct actor *actor) {
    prepare_sent(actor);
}

static void open_survivors(struct survivors *survivors, const struct operation *operation) {
    struct actor opened = {0};
    if (operation->prepare == prepare_victim && !victim) {
        if (!is_ready)
            is_ready = shared_page(sizeof *is_ready);
        *is_ready = false;
        victim = spawn(serve_nobody, (void *)is_ready);
        AWAIT(*is_ready);
    }
    if (!operation->only_client)
        open_client(&opened);
    if (!operation->only_server)
        open_server(&opened);
    *survivors = (struct survivors){opened.client, opened.server};
}

/* Until nothing is pending: what went to the dead fails, or was answered. Returns how many answers came. */
static unsigned finish_pending(struct survivors *survivors) {
    unsigned answers = 0;
    for (int64_t end = now_ns() + GENEROUS; tarn_client_pending(survivors->client);) {
        tarn_message message;
        answer_all(survivors);
        int status = tarn_client_receive(survivors->client, &message, MS);
        if (status == 1) {
            answers++;
            CHECK_STATUS(tarn_message_release(&message), 0);
        } else if (status != TARN_ERROR_PEER_DIED)
            CHECK_STATUS(status, 0);
        CHECK(now_ns() < end);
    }
    return answers;
}

static void check_survivors(struct survivors *survivors) {
    struct actor opened = {0};
    if (!survivors->client) {
        open_client(&opened);
        survivors->client = opened.client;
    }
    if (!survivors->server) {
        open_server(&opened);
        survivors->server = opened.server;
    }
    finish_pending(survivors);
    for (unsigned answers = 0, tries = 0; answers < 3; tries++) {
        CHECK_INT(tries, <, 6);
        ask(survivors);
        answers += finish_pending(survivors);
    }
    CHECK_INT(tarn_client_servers(survivors->client), ==, 1);
    CHECK_INT(tarn_server_clients(survivors->server), ==, 1);
}

static void check_nothing_left(struct survivors *survivors) {
    struct inspect_sweep swept;
    char path[512];
    CHECK_STATUS(tarn_client_close(survivors->client), 0);
    CHECK_STATUS(tarn_server_close(survivors->server), 0);
    CHECK_STATUS(inspect_sweep(&swept, NULL, NULL), 0);
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 0), ==, 0);
    CHECK_INT(count_segments(), ==, 0);
    CHECK_INT(count_attached(), ==, 0);
}

/* ---- the table -------------------------------------------------------------------------------------------------------- */

static const struct operation operations[] = {
    {.name = "create_as_client", .operate = open_client, .only_client = true, .only_server = true},
    {.name = "create_as_server", .operate = open_server, .only_client = true, .only_server = true},
    {.name = "open_client", .operate = open_client},
    {.name = "open_server", .operate = open_server},
    {.name = "send_word", .prepare = open_client, .operate = send_word},
    {.name = "send_lines", .prepare = open_client, .operate = send_lines},
    {.name = "send_large", .prepare = open_client, .operate = send_large},
    {.name = "send_loan", .prepare = open_client, .operate = send_loan},
    {.name = "abandon", .prepare = prepare_sent, .operate = abandon},
    {.name = "receive", .prepare = prepare_sent, .before = answer_all, .operate = receive},
    {.name = "take", .prepare = open_server, .before = ask, .operate = take, .only_server = true},
    {.name = "close_client", .prepare = prepare_sent, .operate = close_all},
    {.name = "close_server", .prepare = open_server, .before = ask, .operate = close_all, .only_server = true},
    {.name = "receive_death",
     .prepare = prepare_victim,
     .before = kill_victim,
     .operate = receive_death,
     .only_server = true},
    {.name = "reply", .prepare = prepare_taken, .operate = reply, .only_server = true},
    {.name = "stream", .prepare = prepare_taken, .operate = stream, .only_server = true},
    {.name = "close_answering", .prepare = prepare_taken, .operate = close_all, .only_server = true},
};

/* ---- playing it --------------------------------------------------------------------------------------------------------- */

static void act(void *arg) {
    const struct operation *operation = arg;
    struct actor actor = {0};
    if (operation->prepare)
        operation->prepare(&actor);
    tracer_mark();
    operation->operate(&actor);
    tracer_mark();
    close_all(&actor);
}

static bool asks_first(const struct operation *operation) {
    return operation->prepare == prepare_taken;
}

/* A client in a process of its own, as the tracer waits here until the actor has taken a request. */
static void ask_and_stay(void *arg) {
    struct actor actor = {0};
    (void)arg;
    open_client(&actor);
    send_word(&actor);
    sleep_until_killed();
}

static pid_t begin(const struct operation *operation, struct traced *traced, struct survivors *survivors) {
    tracer_spawn(traced, act, (void *)(uintptr_t)operation);
    pid_t asker = asks_first(operation) ? spawn(ask_and_stay, NULL) : 0;
    open_survivors(survivors, operation);
    tracer_begin(traced);
    if (operation->before)
        operation->before(survivors);
    return asker;
}

static void finish(struct survivors *survivors, pid_t asker) {
    if (asker)
        kill_child(asker);
    if (victim)
        kill_victim(survivors);
    check_survivors(survivors);
    check_nothing_left(survivors);
}

/* Kills it at that point. False: it has no such point any more. */
static bool kill_at(const struct operation *operation, unsigned point) {
    struct traced traced;
    struct survivors survivors;
    pid_t asker = begin(operation, &traced, &survivors);
    bool is_there = true;
    for (unsigned i = 0; i <= point && is_there; i++)
        is_there = tracer_next(&traced);
    set_context("killed at point %u, %s", point, is_there ? tracer_describe(&traced) : "the end");
    tracer_kill(&traced);
    finish(&survivors, asker);
    set_context("%s", "");
    return is_there;
}

static unsigned count_points(const struct operation *operation) {
    struct traced traced;
    struct survivors survivors;
    unsigned count = 0;
    pid_t asker = begin(operation, &traced, &survivors);
    while (tracer_next(&traced))
        count++;
    tracer_kill(&traced);
    finish(&survivors, asker);
    return count;
}

static unsigned sample_size(unsigned count) {
    const char *text = getenv("TARN_POINTS");
    unsigned size = !text ? 10 : strcmp(text, "all") == 0 ? count : (unsigned)strtoul(text, NULL, 10);
    return size < count ? size : count;
}

static void play(const struct operation *operation) {
    unsigned count = count_points(operation), size = sample_size(count), visited = 0;
    struct random random = random_start(0);
    CHECK_INT(count, >, 0);
    for (unsigned i = 0; i < count; i++) {
        if (random_between(&random, 1, count - i) > size - visited)
            continue;
        kill_at(operation, i);
        visited++;
    }
    printf("  %-28s %4u points, %4u visited\n", operation->name, count, visited);
}

static void play_named(void) {
    if (!tracer_works())
        SKIP("processes cannot be traced here");
    need_root(); /* for an IPC namespace in which to count segments */
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operations[i].name, getenv("TARN_TEST")) == 0)
            play(&operations[i]);
}

__attribute__((constructor)) static void add_tests(void) {
    static struct test tests[sizeof operations / sizeof operations[0]];
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        tests[i] = (struct test){operations[i].name, 1800, play_named, NULL};
        harness_add_test(&tests[i]);
    }
}
