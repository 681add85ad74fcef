/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * All operations of clients and servers. Survivors are a client and a server: whatever happens to the actor, the one's
 * requests are answered by the other, and each request that went to the actor, or to who died before, is answered or
 * fails, once. See scene.h.
 */
#include "scene.h"

struct actor {
    tarn_client *client;
    tarn_server *server;
    tarn_request request;
    uint64_t number;
};

/*
 * ---- what the actor does ------------------------------------------------------------------------------------------
 */

static const char data[1000];
#define LARGE_BYTES 200000 /* lent, and not written: each store of the actor is a point */
#define LITTLE_MEMORY (1 << 19)
#define FILLING_BYTES 60000

static int open_client_with(struct actor *actor, tarn_client_options options) {
    options.struct_bytes = sizeof options;
    options.server_timeout_ns = GENEROUS;
    return tarn_client_open(&actor->client, TOPIC, &options);
}

static int open_client(struct actor *actor) {
    return open_client_with(actor, (tarn_client_options){0});
}

static int open_server_with(struct actor *actor, tarn_server_options options) {
    options.struct_bytes = sizeof options;
    options.linger_ns = 20 * MS;
    return tarn_server_open(&actor->server, TOPIC, &options);
}

static int open_server(struct actor *actor) {
    return open_server_with(actor, (tarn_server_options){0});
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

static int lend_and_drop(struct actor *actor) {
    tarn_loan loan;
    int status = tarn_client_loan(actor->client, 1000, &loan, &actor->number);
    if (status < 0)
        return status;
    CHECK_INT(tarn_client_pending(actor->client), ==, 1);
    status = tarn_loan_drop(&loan);
    CHECK_INT(tarn_client_pending(actor->client), ==, 0);
    return status;
}

static int send_in_vain(struct actor *actor) {
    int status = lend_and_send(actor, FILLING_BYTES);
    return status == TARN_ERROR_FULL ? 0 : status;
}

/* The server takes nothing meanwhile. */
static void prepare_full(struct actor *actor) {
    CHECK_STATUS(
        open_client_with(actor, (tarn_client_options){.memory_limit_bytes = LITTLE_MEMORY, .full_timeout_ns = 2 * MS}),
        0);
    while (send_in_vain(actor) == 1)
        ;
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

static int receive_within(struct actor *actor, int64_t timeout_ns) {
    tarn_message message;
    int status = tarn_client_receive(actor->client, &message, timeout_ns);
    if (status == 1)
        CHECK_STATUS(tarn_message_release(&message), 0);
    return status;
}

static int receive(struct actor *actor) {
    return receive_within(actor, GENEROUS);
}

static int call_within(struct actor *actor, int64_t timeout_ns) {
    tarn_message message;
    int status = tarn_client_call(actor->client, data, 8, &message, timeout_ns);
    if (status == 1)
        CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_INT(tarn_client_pending(actor->client), ==, 0);
    return status;
}

static int call(struct actor *actor) {
    return call_within(actor, GENEROUS);
}

static int call_in_vain(struct actor *actor) {
    return call_within(actor, 2 * MS);
}

static int wait_as_client(struct actor *actor) {
    return tarn_client_wait(actor->client, MS);
}

/* Its bell may say yet that somebody sleeps. */
static void prepare_client_that_slept(struct actor *actor) {
    prepare_sent(actor);
    CHECK_STATUS(wait_as_client(actor), 0);
}

static int interrupt_client(struct actor *actor) {
    int status = tarn_client_interrupt(actor->client);
    if (status < 0)
        return status;
    status = tarn_client_wait(actor->client, 0);
    return status == TARN_ERROR_INTERRUPTED ? 0 : status;
}

static int open_clients_descriptor(struct actor *actor) {
    return tarn_client_fd(actor->client);
}

static void prepare_sent_with_descriptor(struct actor *actor) {
    prepare_sent(actor);
    CHECK_INT(open_clients_descriptor(actor), >=, 0);
}

/*
 * Of three requests one at least goes to a dead server, unless it is known by then that it is dead. Nobody answers
 * meanwhile, for long enough to ask who is alive.
 */
static int send_and_look(struct actor *actor) {
    int status = 1;
    for (int i = 0; i < 3 && status == 1; i++)
        status = send_word(actor);
    if (status == 1)
        status = receive_within(actor, 30 * MS);
    return status == TARN_ERROR_PEER_DIED ? 0 : status;
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

static int wait_as_server(struct actor *actor) {
    return tarn_server_wait(actor->server, MS);
}

static void prepare_server_that_slept(struct actor *actor) {
    prepare_server(actor);
    CHECK_STATUS(wait_as_server(actor), 0);
}

static int interrupt_server(struct actor *actor) {
    int status = tarn_server_interrupt(actor->server);
    if (status < 0)
        return status;
    status = tarn_server_wait(actor->server, 0);
    return status == TARN_ERROR_INTERRUPTED ? 0 : status;
}

static int open_servers_descriptor(struct actor *actor) {
    return tarn_server_fd(actor->server);
}

static void prepare_server_with_descriptor(struct actor *actor) {
    prepare_server(actor);
    CHECK_INT(open_servers_descriptor(actor), >=, 0);
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

static int end_request(struct actor *actor) {
    return tarn_request_end(&actor->request);
}

static int lend_and_drop_response(struct actor *actor) {
    tarn_loan loan;
    int status = tarn_request_loan(&actor->request, 1000, 1, &loan);
    return status < 0 ? status : tarn_loan_drop(&loan);
}

static int stream_in_vain(struct actor *actor) {
    tarn_loan loan;
    int status = tarn_request_loan(&actor->request, FILLING_BYTES, 0, &loan);
    if (status == 1)
        status = send_or_drop(&loan);
    return status == TARN_ERROR_FULL ? 0 : status;
}

/* The client takes nothing. */
static void prepare_taken_and_full(struct actor *actor) {
    CHECK_STATUS(
        open_server_with(actor, (tarn_server_options){.memory_limit_bytes = LITTLE_MEMORY, .full_timeout_ns = 2 * MS}),
        0);
    CHECK_STATUS(take(actor), 1);
    while (stream_in_vain(actor) == 1)
        ;
}

static int ask_if_abandoned(struct actor *actor) {
    return tarn_request_abandoned(&actor->request);
}

/* Until it is told. */
static int await_abandonment(struct actor *actor) {
    int status;
    for (int64_t end = now_ns() + GENEROUS; (status = ask_if_abandoned(actor)) == 0; nap_ns(MS))
        CHECK(now_ns() < end);
    return status;
}

/* All that there is, and then for long enough to look at the peers, which are repaired if they are dead. */
static int answer_and_look(struct actor *actor) {
    int status;
    while ((status = tarn_server_receive(actor->server, &actor->request, 120 * MS)) == 1) {
        status = reply(actor);
        if (status < 0 && status != TARN_ERROR_PEER_DIED)
            return status;
    }
    return status;
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
        if (status != TARN_ERROR_PEER_DIED && status != TARN_ERROR_INTERRUPTED)
            CHECK_STATUS(status, 1);
    }
    CHECK_INT(close_all(actor), >=, 0);
}

/*
 * ---- the survivors ------------------------------------------------------------------------------------------------
 */

struct survivors {
    tarn_client *client;
    tarn_server *server;
    unsigned asked, ended;     /* requests of the client; those that were answered or failed */
    pid_t other_server, asker; /* processes that the actor needs; 0: none */
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
    survivors->asked++;
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
    end_process(&survivors->other_server);
}

static void kill_asker(struct survivors *survivors) {
    end_process(&survivors->asker);
}

static void start_others(const struct operation *operation) {
    if (operation->prepare == prepare_taken || operation->prepare == prepare_taken_and_full)
        others.asker = spawn(ask_and_stay, NULL);
    if (operation->prepare == prepare_victim)
        others.other_server = somebody_comes_as(serve_nobody);
}

static void serve_all(void *is_ready) {
    struct actor server = {0};
    prepare_server(&server);
    *(_Atomic bool *)is_ready = true;
    for (;;)
        if (take(&server) == 1)
            reply(&server);
}

static void begin_serving(struct survivors *survivors) {
    survivors->other_server = somebody_comes_as(serve_all);
}

/*
 * It begins to answer all that it is asked, ends nothing, and has requests of its own with all servers, itself
 * included.
 */
static void be_there(void *is_ready) {
    struct actor dead = {0};
    prepare_server_with_descriptor(&dead);
    prepare_client(&dead);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(send_word(&dead), 1);
    *(_Atomic bool *)is_ready = true;
    while (take(&dead) == 1)
        CHECK_STATUS(tarn_request_stream(&dead.request, data, 8), 1);
    sleep_until_killed();
}

static void ask_until_begun(struct survivors *survivors) {
    tarn_message message;
    int status = 0;
    while (status == 0) {
        ask(survivors);
        status = tarn_client_receive(survivors->client, &message, 5 * MS);
    }
    CHECK_STATUS(status, 1);
    CHECK_INT(message.flags, ==, 0); /* more would follow */
    CHECK_STATUS(tarn_message_release(&message), 0);
}

static void somebody_dies(struct survivors *survivors) {
    pid_t pid = somebody_comes_as(be_there);
    if (survivors->client)
        ask_until_begun(survivors);
    kill_child(pid);
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

/* Answers and takes what there is, for up to so long. Returns how many requests were answered to their end. */
static unsigned serve_and_hear(int64_t timeout_ns) {
    tarn_message message = {0};
    unsigned answers = 0;
    answer_all(&others);
    int status;
    while ((status = tarn_client_receive(others.client, &message, timeout_ns)) != 0) {
        bool is_last = message.flags & TARN_MESSAGE_LAST;
        others.ended += is_last;
        if (status == 1) {
            answers += is_last;
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
    CHECK_INT(servers, <=, 1 + actor_lives + (others.other_server != 0));
    CHECK_INT(clients, >=, 1);
    CHECK_INT(clients, <=, 1 + actor_lives + (others.asker != 0));
}

static void go_on(struct survivors *survivors) {
    (void)survivors;
    serve_and_hear(0);
}

static void hear_all(void) {
    for (int64_t end = now_ns() + GENEROUS; tarn_client_pending(others.client); CHECK(now_ns() < end))
        serve_and_hear(MS);
    CHECK_INT(others.ended, ==, others.asked);
}

/*
 * Each request is over, once. Nobody is there any more but the survivors, each with its way to the other, and one to
 * the actor.
 */
static void check_gone(struct scene *scene) {
    (void)scene;
    end_process(&others.asker);
    end_process(&others.other_server);
    hear_all();
    check_swept(-1);
    ask(&others); /* for which they look who is there */
    hear_all();
    int count = count_swept();
    CHECK_INT(count, >=, 4);
    CHECK_INT(count, <=, 6);
}

static void close_survivors(struct scene *scene) {
    (void)scene;
    CHECK_STATUS(tarn_client_close(others.client), 0);
    CHECK_STATUS(tarn_server_close(others.server), 0);
}

/*
 * ---- the table ----------------------------------------------------------------------------------------------------
 */

static const struct operation operations[] = {
    {.name = "create_as_client", .operate = open_client, .alone = true},
    {.name = "create_as_server", .operate = open_server, .alone = true},
    {.name = "open_client", .operate = open_client},
    {.name = "open_server", .operate = open_server},
    {.name = "send_word", .prepare = prepare_client, .operate = send_word},
    {.name = "send_lines", .prepare = prepare_client, .operate = send_lines},
    {.name = "send_large", .prepare = prepare_client, .operate = send_large},
    {.name = "send_loan", .prepare = prepare_client, .operate = send_loan},
    {.name = "send_when_full", .prepare = prepare_full, .operate = send_in_vain},
    {.name = "lend_and_drop", .prepare = prepare_client, .operate = lend_and_drop},
    {.name = "call", .prepare = prepare_client, .before = begin_serving, .operate = call, .partly = true},
    {.name = "call_in_vain", .prepare = prepare_client, .operate = call_in_vain},
    {.name = "abandon", .prepare = prepare_sent, .operate = abandon},
    {.name = "receive", .prepare = prepare_sent, .before = answer_all, .operate = receive},
    {.name = "wait_as_client", .prepare = prepare_sent, .before = answer_all, .operate = wait_as_client},
    {.name = "wait_as_client_in_vain", .prepare = prepare_sent, .operate = wait_as_client},
    {.name = "interrupt_client", .prepare = prepare_client_that_slept, .operate = interrupt_client},
    {.name = "descriptor_of_client", .prepare = prepare_client, .operate = open_clients_descriptor},
    {.name = "receive_with_descriptor",
     .prepare = prepare_sent_with_descriptor,
     .before = answer_all,
     .operate = receive},
    {.name = "take", .prepare = prepare_server, .before = ask, .operate = take, .partly = true},
    {.name = "wait_as_server", .prepare = prepare_server, .before = ask, .operate = wait_as_server, .partly = true},
    {.name = "wait_as_server_in_vain", .prepare = prepare_server, .operate = wait_as_server},
    {.name = "interrupt_server", .prepare = prepare_server_that_slept, .operate = interrupt_server},
    {.name = "descriptor_of_server", .prepare = prepare_server, .operate = open_servers_descriptor},
    {.name = "take_with_descriptor",
     .prepare = prepare_server_with_descriptor,
     .before = ask,
     .operate = take,
     .partly = true},
    {.name = "close_client", .prepare = prepare_sent, .operate = close_all},
    {.name = "close_server", .prepare = prepare_server, .before = ask, .operate = close_all, .partly = true},
    {.name = "receive_death",
     .prepare = prepare_victim,
     .before = kill_victim,
     .operate = receive_death,
     .partly = true},
    {.name = "reply", .prepare = prepare_taken, .operate = reply, .partly = true},
    {.name = "stream", .prepare = prepare_taken, .operate = stream, .partly = true},
    {.name = "stream_when_full", .prepare = prepare_taken_and_full, .operate = stream_in_vain, .partly = true},
    {.name = "end", .prepare = prepare_taken, .operate = end_request, .partly = true},
    {.name = "lend_and_drop_response", .prepare = prepare_taken, .operate = lend_and_drop_response, .partly = true},
    {.name = "ask_if_abandoned", .prepare = prepare_taken, .operate = ask_if_abandoned, .partly = true},
    {.name = "await_abandonment",
     .prepare = prepare_taken,
     .before = kill_asker,
     .operate = await_abandonment,
     .partly = true},
    {.name = "close_answering", .prepare = prepare_taken, .operate = close_all, .partly = true},
    {.name = "close_with_descriptor", .prepare = prepare_sent_with_descriptor, .operate = close_all},
    {.name = "repair_by_opening", .before = somebody_dies, .operate = open_client, .repairs = true},
    {.name = "repair_by_server", .before = somebody_dies, .operate = open_server, .repairs = true},
    {.name = "repair_by_receiving",
     .prepare = prepare_client,
     .before = somebody_dies,
     .operate = send_and_look,
     .repairs = true},
    {.name = "repair_by_waiting",
     .prepare = prepare_server,
     .before = somebody_dies,
     .operate = answer_and_look,
     .repairs = true},
    {.name = "repair_by_sweeping", .before = somebody_dies, .operate = sweep, .repairs = true},
    {.name = "create_after_death", .before = somebody_dies, .operate = open_server, .alone = true, .repairs = true},
    {.name = "sweep_after_death", .before = somebody_dies, .operate = sweep, .alone = true, .repairs = true},
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
