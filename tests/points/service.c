/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * All operations of clients and servers. Survivors are a client and a server: whatever happens to the actor, the one's requests are
 * answered by the other, and each request that went to the actor is answered or fails. See scene.h.
 */
#include "scene.h"

struct actor {
    tarn_client *client;
    tarn_server *server;
    tarn_request request;
    uint64_t number;
};

/* ---- what the actor does ------------------------------------------------------------------------------------------ */

static const char data[1000];
#define LARGE_BYTES 200000 /* lent, and not written: each store of the actor is a point */

static int open_client(struct actor *actor) {
    tarn_client_options how = {.struct_bytes = sizeof how, .server_timeout_ns = GENEROUS};
    return tarn_client_open(&actor->client, TOPIC, &how);
}

static int open_server(struct actor *actor) {
    tarn_server_options how = {.struct_bytes = sizeof how, .linger_ns = 20 * MS};
    return tarn_server_open(&actor->server, TOPIC, &how);
}

static void prepare_client(struct actor *actor) {
    CHECK_STATUS(open_client(actor), 0);
}

static void prepare_server(struct actor *actor) {
    CHECK_STATUS(open_server(actor), 0);
}

static int send_word(struct actor *actor) {
    return tarn_client_send(actor->client, data, 8, &actor->number);
}

static int send_lines(struct actor *actor) {
    return tarn_client_send(actor->client, data, 1000, &actor->number);
}

static int send_or_drop(tarn_loan *loan) {
    int status = tarn_loan_send(loan);
    if (status < 0)
        CHECK_STATUS(tarn_loan_drop(loan), 0);
    return status;
}

static int lend_and_send(struct actor *actor, size_t bytes) {
    tarn_loan loan;
    int status = tarn_client_loan(actor->client, bytes, &loan, &actor->number);
    return status < 0 ? status : send_or_drop(&loan);
}

static int send_large(struct actor *actor) {
    return lend_and_send(actor, LARGE_BYTES);
}

static int send_loan(struct actor *actor) {
    return lend_and_send(actor, 1000);
}

static void prepare_sent(struct actor *actor) {
    prepare_client(actor);
    CHECK_STATUS(send_word(actor), 1);
}

/* The server that its request goes to is another process. */
static void prepare_victim(struct actor *actor) {
    prepare_sent(actor);
}

static int abandon(struct actor *actor) {
    return tarn_client_abandon(actor->client, actor->number);
}

static int receive(struct actor *actor) {
    tarn_message message;
    int status = tarn_client_receive(actor->client, &message, GENEROUS);
    if (status == 1)
        CHECK_STATUS(tarn_message_release(&message), 0);
    return status;
}

static int receive_death(struct actor *actor) {
    int status = receive(actor);
    CHECK_INT(status, <, 0);
    return status == TARN_ERROR_PEER_DIED ? 0 : status;
}

static int take(struct actor *actor) {
    return tarn_server_receive(actor->server, &actor->request, GENEROUS);
}

static void prepare_taken(struct actor *actor) {
    prepare_server(actor);
    CHECK_STATUS(take(actor), 1);
}

static int reply(struct actor *actor) {
    return tarn_request_reply(&actor->request, data, 8);
}

static int stream(struct actor *actor) {
    tarn_loan loan;
    int status = tarn_request_stream(&actor->request, data, 100);
    if (status == 1)
        status = tarn_request_loan(&actor->request, LARGE_BYTES, 0, &loan);
    if (status == 1)
        status = send_or_drop(&loan);
    return status == 1 ? tarn_request_end(&actor->request) : status;
}

static int close_all(struct actor *actor) {
    int client = tarn_client_close(actor->client), server = tarn_server_close(actor->server);
    *actor = (struct actor){0};
    return client < 0 ? client : server;
}

/* A client has all its requests answered, or they failed. */
static void leave(struct actor *actor) {
    if (actor->client)
        CHECK_STATUS(send_word(actor), 1);
    while (actor->client && tarn_client_pending(actor->client) > 0) {
        int status = receive(actor);
        if (status != TARN_ERROR_PEER_DIED)
            CHECK_STATUS(status, 1);
    }
    CHECK_INT(close_all(actor), >=, 0);
}

/* ---- the survivors ------------------------------------------------------------------------------------------------ */

struct survivors {
    tarn_client *client;
    tarn_server *server;
    pid_t victim, asker; /* processes that the actor needs; 0: none */
};
static struct survivors others;

static void clear(void) {
    others = (struct survivors){0};
}

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

/* In a process of its own, as the actor prepares while this one waits. */
static void serve_nobody(void *is_ready) {
    struct actor server = {0};
    prepare_server(&server);
    *(_Atomic bool *)is_ready = true;
    sleep_until_killed();
}

static void ask_and_stay(void *arg) {
    struct actor client = {0};
    (void)arg;
    prepare_sent(&client);
    sleep_until_killed();
}

static void end_process(pid_t *pid) {
    if (*pid)
        kill_child(*pid);
    *pid = 0;
}

static void kill_victim(struct survivors *survivors) {
    end_process(&survivors->victim);
}

static void start_others(const struct operation *operation) {
    static _Atomic bool *is_ready;
    if (!is_ready)
        is_ready = shared_page(sizeof *is_ready);
    *is_ready = false;
    if (operation->prepare == prepare_taken)
        others.asker = spawn(ask_and_stay, NULL);
    if (operation->prepare != prepare_victim)
        return;
    others.victim = spawn(serve_nobody, (void *)is_ready);
    AWAIT(*is_ready);
}

static bool open_survivors(struct scene *scene, bool actor_lives) {
    struct actor opened = {0};
    start_others(scene->operation);
    int status = open_client(&opened);
    if (is_locked_out(status, scene, actor_lives))
        return false;
    CHECK_STATUS(status, 0);
    if (!scene->operation->partly)
        CHECK_STATUS(open_server(&opened), 0);
    others.client = opened.client;
    others.server = opened.server;
    return true;
}

/* Answers and takes what there is, for up to so long. Returns how many answers came. */
static unsigned serve_and_hear(int64_t timeout_ns) {
    tarn_message message;
    unsigned answers = 0;
    answer_all(&others);
    int status;
    while ((status = tarn_client_receive(others.client, &message, timeout_ns)) != 0) {
        if (status == 1) {
            answers++;
            CHECK_STATUS(tarn_message_release(&message), 0);
        } else
            CHECK_STATUS(status, TARN_ERROR_PEER_DIED);
        timeout_ns = 0;
    }
    return answers;
}

/* What goes to an actor that lives may take until it goes on. */
static void check(struct scene *scene, bool actor_lives) {
    struct actor opened = {0};
    if (!others.server) {
        CHECK_STATUS(open_server(&opened), 0);
        others.server = opened.server;
    }
    if (!actor_lives)
        end_process(&others.asker);
    (void)scene;
    for (int64_t end = now_ns() + GENEROUS; !actor_lives && tarn_client_pending(others.client);) {
        serve_and_hear(MS);
        CHECK(now_ns() < end);
    }
    for (unsigned answers = 0, tries = 0; answers < 3; tries++) {
        CHECK_INT(tries, <, 8);
        ask(&others);
        for (int i = 0; i < 4 && tarn_client_pending(others.client); i++)
            answers += serve_and_hear(5 * MS);
    }
    int servers = tarn_client_servers(others.client), clients = tarn_server_clients(others.server);
    CHECK_INT(servers, >=, 1);
    CHECK_INT(servers, <=, 1 + actor_lives);
    CHECK_INT(clients, >=, 1);
    CHECK_INT(clients, <=, 1 + actor_lives + (others.asker != 0));
}

static void go_on(struct survivors *survivors) {
    (void)survivors;
    serve_and_hear(0);
}

/* Each request is over. */
static void check_gone(struct scene *scene) {
    (void)scene;
    end_process(&others.asker);
    end_process(&others.victim);
    for (int64_t end = now_ns() + GENEROUS; tarn_client_pending(others.client); CHECK(now_ns() < end))
        serve_and_hear(MS);
    check_swept(-1);
}

static void close_survivors(struct scene *scene) {
    (void)scene;
    CHECK_STATUS(tarn_client_close(others.client), 0);
    CHECK_STATUS(tarn_server_close(others.server), 0);
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static const struct operation operations[] = {
    {.name = "create_as_client", .operate = open_client, .alone = true},
    {.name = "create_as_server", .operate = open_server, .alone = true},
    {.name = "open_client", .operate = open_client},
    {.name = "open_server", .operate = open_server},
    {.name = "send_word", .prepare = prepare_client, .operate = send_word},
    {.name = "send_lines", .prepare = prepare_client, .operate = send_lines},
    {.name = "send_large", .prepare = prepare_client, .operate = send_large},
    {.name = "send_loan", .prepare = prepare_client, .operate = send_loan},
    {.name = "abandon", .prepare = prepare_sent, .operate = abandon},
    {.name = "receive", .prepare = prepare_sent, .before = answer_all, .operate = receive},
    {.name = "take", .prepare = prepare_server, .before = ask, .operate = take, .partly = true},
    {.name = "close_client", .prepare = prepare_sent, .operate = close_all},
    {.name = "close_server", .prepare = prepare_server, .before = ask, .operate = close_all, .partly = true},
    {.name = "receive_death",
     .prepare = prepare_victim,
     .before = kill_victim,
     .operate = receive_death,
     .partly = true},
    {.name = "reply", .prepare = prepare_taken, .operate = reply, .partly = true},
    {.name = "stream", .prepare = prepare_taken, .operate = stream, .partly = true},
    {.name = "close_answering", .prepare = prepare_taken, .operate = close_all, .partly = true},
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
