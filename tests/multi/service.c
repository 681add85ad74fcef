/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Requests and responses between processes: any number on both sides, deaths of either, who is stopped, what is left.
 */
#include "common.h"

#define TOPIC "multi/service"

static tarn_client *client_of(const tarn_client_options *options) {
    tarn_client *client = NULL;
    CHECK_STATUS(tarn_client_open(&client, TOPIC, options), 0);
    return client;
}

static tarn_server *server_of(const tarn_server_options *options) {
    tarn_server *server = NULL;
    CHECK_STATUS(tarn_server_open(&server, TOPIC, options), 0);
    return server;
}

#define CLIENT(...)                                                                                                    \
    client_of(&(tarn_client_options){                                                                                  \
        .struct_bytes = sizeof(tarn_client_options), .server_timeout_ns = GENEROUS, __VA_ARGS__})
#define SERVER(...) server_of(&(tarn_server_options){.struct_bytes = sizeof(tarn_server_options), __VA_ARGS__})

/* What all processes of a test see. */
struct page {
    struct meeting open, done;
    _Atomic unsigned answered, said;
    _Atomic int stop;
    unsigned clients, servers, calls;
};

static struct page *page;

static void make_page(unsigned servers, unsigned clients, unsigned calls) {
    page = shared_page(sizeof *page);
    page->servers = servers;
    page->clients = clients;
    page->calls = calls;
}

/* Answers each request with its bytes, until it is told to stop and nothing more comes. */
static void echo_until_stopped(void *arg) {
    (void)arg;
    tarn_server *server = SERVER();
    for (;;) {
        tarn_request request;
        int status = tarn_server_receive(server, &request, 20 * MS);
        if (status == 0 && atomic_load(&page->stop))
            break;
        if (status == 0)
            continue;
        CHECK_STATUS(status, 1);
        status = tarn_request_reply(&request, request.data, request.bytes);
        if (status != TARN_ERROR_PEER_DIED && status != 0)
            CHECK_STATUS(status, 1);
        atomic_fetch_add(&page->answered, 1);
    }
    CHECK_STATUS(tarn_server_close(server), 0);
}

/* Calls until it is answered, whoever dies. */
static void call_number(tarn_client *client, uint64_t seed, size_t bytes) {
    static char data[NUMBERED_BYTES_MAX];
    tarn_message message;
    int status;
    fill_pattern(data, bytes, seed);
    do
        status = tarn_client_call(client, data, bytes, &message, GENEROUS);
    while (status == TARN_ERROR_PEER_DIED);
    CHECK_STATUS(status, 1);
    CHECK_INT(message.flags, ==, TARN_MESSAGE_LAST);
    CHECK_INT(message.bytes, ==, bytes);
    CHECK(check_pattern(message.data, bytes, seed));
    CHECK_STATUS(tarn_message_release(&message), 0);
}

static void call_often(void *arg) {
    uint64_t mine = (uint64_t)(uintptr_t)arg << 32;
    tarn_client *client = CLIENT();
    for (unsigned i = 0; i < page->calls; i++)
        call_number(client, mine + i, bytes_of_number(i));
    CHECK_INT(tarn_client_pending(client), ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void run_crowd(unsigned servers, unsigned clients, unsigned calls) {
    pid_t pids[2][16];
    make_page(servers, clients, calls);
    for (unsigned i = 0; i < servers; i++)
        pids[0][i] = spawn(echo_until_stopped, NULL);
    for (unsigned i = 0; i < clients; i++)
        pids[1][i] = spawn(call_often, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 0; i < clients; i++)
        CHECK_INT(wait_child(pids[1][i], LIMIT_S), ==, 0);
    atomic_store(&page->stop, 1);
    for (unsigned i = 0; i < servers; i++)
        CHECK_INT(wait_child(pids[0][i], LIMIT_S), ==, 0);
    CHECK_INT(page->answered, ==, clients * calls);
}

TEST_LIMIT(one_client_many_servers, 60) {
    run_crowd(5, 1, 1000);
}

TEST_LIMIT(many_clients_one_server, 60) {
    run_crowd(1, 5, 400);
}

TEST_LIMIT(many_clients_many_servers, 60) {
    run_crowd(4, 6, 300);
}

/* ---- start order ------------------------------------------------------------------------------------------------- */

TEST(a_client_waits_for_the_first_server) {
    make_page(1, 1, 1);
    tarn_client *client;
    pid_t server = spawn(echo_until_stopped, NULL);
    client = CLIENT();
    call_number(client, 1, 100);
    atomic_store(&page->stop, 1);
    CHECK_INT(wait_child(server, LIMIT_S), ==, 0);
    tarn_message message;
    int64_t start = now_ns();
    tarn_client *hasty =
        client_of(&(tarn_client_options){.struct_bytes = sizeof(tarn_client_options), .server_timeout_ns = 50 * MS});
    CHECK_REFUSED(tarn_client_call(hasty, "x", 1, &message, GENEROUS), TARN_ERROR_NO_PEER, TOPIC);
    CHECK_INT(now_ns() - start, >=, 50 * MS);
    CHECK_STATUS(tarn_client_close(hasty), 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void serve_late(void *arg) {
    nap_ns(200 * MS);
    echo_until_stopped(arg);
}

TEST(a_client_may_come_long_before_a_server) {
    make_page(1, 1, 1);
    pid_t server = spawn(serve_late, NULL);
    tarn_client *client = CLIENT();
    call_number(client, 1, 100);
    atomic_store(&page->stop, 1);
    CHECK_INT(wait_child(server, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

/*
 * ---- deaths --------------------------------------------------------------------------------------------------------
 */

/* Answers the first request, takes the second, and does no more. */
static void answer_one_and_hang(void *arg) {
    (void)arg;
    tarn_server *server = SERVER();
    tarn_request request;
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    CHECK_STATUS(tarn_request_reply(&request, "first", 5), 1);
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    CHECK_STATUS(tarn_request_stream(&request, "part", 4), 1);
    atomic_fetch_add(&page->said, 1);
    sleep_until_killed();
}

static void kill_later(void *arg) {
    pid_t pid = *(pid_t *)arg;
    AWAIT(atomic_load(&page->said) == 1);
    nap_ns(150 * MS);
    CHECK(kill(pid, SIGKILL) == 0);
    *(volatile int64_t *)((char *)page + 2048) = now_ns();
}

TEST(a_killed_server_is_an_error_at_once) {
    make_page(1, 1, 1);
    pid_t server = spawn(answer_one_and_hang, NULL), killer = spawn(kill_later, &server);
    tarn_client *client = CLIENT();
    tarn_message message;
    uint64_t second, third;
    CHECK_STATUS(tarn_client_call(client, "x", 1, &message, GENEROUS), 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_client_send(client, "y", 1, &second), 1);
    CHECK_STATUS(tarn_client_send(client, "z", 1, &third), 1);
    CHECK_STATUS(tarn_client_receive(client, &message, GENEROUS), 1); /* what it had answered */
    CHECK_INT(message.request, ==, second);
    CHECK_INT(message.flags, ==, 0);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_REFUSED(tarn_client_receive(client, &message, TARN_FOREVER), TARN_ERROR_PEER_DIED, number_text(server));
    int64_t told = now_ns(), died = 0;
    CHECK(strstr(tarn_error(), "died"));
    CHECK_INT(message.request, ==, second);
    CHECK_STATUS(tarn_client_receive(client, &message, TARN_FOREVER), TARN_ERROR_PEER_DIED);
    CHECK_INT(message.request, ==, third);
    CHECK_INT(wait_child(killer, LIMIT_S), ==, 0);
    died = *(volatile int64_t *)((char *)page + 2048);
    CHECK_INT(told - died, <, 500 * MS);
    CHECK_INT(wait_child(server, LIMIT_S), ==, -SIGKILL);
    server = spawn(echo_until_stopped, NULL); /* no handle of the parent is used there */
    call_number(client, 7, 1000);
    atomic_store(&page->stop, 1);
    CHECK_INT(wait_child(server, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

TEST(a_call_tells_that_its_server_was_killed) {
    make_page(1, 1, 1);
    pid_t server = spawn(answer_one_and_hang, NULL), killer = spawn(kill_later, &server);
    tarn_client *client = CLIENT(.wait_strategy = TARN_WAIT_SPIN);
    tarn_message message;
    for (int i = 0; i < 2; i++) { /* an answer; a part of one */
        CHECK_STATUS(tarn_client_call(client, "x", 1, &message, GENEROUS), 1);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_REFUSED(tarn_client_call(client, "x", 1, &message, TARN_FOREVER), TARN_ERROR_PEER_DIED, number_text(server));
    CHECK_INT(tarn_client_pending(client), ==, 1); /* the one of which a part came */
    CHECK_STATUS(tarn_client_take(client, &message), TARN_ERROR_PEER_DIED);
    CHECK_INT(message.request, ==, 2);
    CHECK_INT(wait_child(killer, LIMIT_S), ==, 0);
    CHECK_INT(wait_child(server, LIMIT_S), ==, -SIGKILL);
    CHECK_STATUS(tarn_client_close(client), 0);
}

/* Nobody but who polls is there to ask whether it lives. */
TEST(who_only_polls_learns_that_a_server_was_killed) {
    make_page(1, 1, 1);
    pid_t server = spawn(answer_one_and_hang, NULL);
    tarn_client *client = CLIENT();
    tarn_message message;
    int status;
    for (int i = 0; i < 2; i++) { /* an answer; a part of one */
        CHECK_STATUS(tarn_client_call(client, "x", 1, &message, GENEROUS), 1);
        CHECK_STATUS(tarn_message_release(&message), 0);
    }
    CHECK_STATUS(tarn_client_take(client, &message), 0);
    kill_child(server);
    AWAIT((status = tarn_client_take(client, &message)) != 0);
    CHECK_STATUS(status, TARN_ERROR_PEER_DIED);
    CHECK_INT(message.request, ==, 2);
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void ask_and_hang(void *arg) {
    (void)arg;
    tarn_client *client = CLIENT();
    tarn_message message;
    CHECK_STATUS(tarn_client_send(client, "more", 4, NULL), 1);
    CHECK_STATUS(tarn_client_receive(client, &message, GENEROUS), 1);
    atomic_fetch_add(&page->said, 1);
    sleep_until_killed();
}

/* Streams until it is told that the client is gone. */
static void stream_to_the_end(uint64_t memory_limit_bytes) {
    make_page(1, 1, 1);
    static char data[10000];
    pid_t client = spawn(ask_and_hang, NULL);
    tarn_server *server = SERVER(.memory_limit_bytes = memory_limit_bytes, .full_timeout_ns = GENEROUS);
    tarn_request request;
    bool killed = false;
    int status;
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    for (int64_t end = now_ns() + GENEROUS;;) {
        if (!killed && atomic_load(&page->said)) {
            CHECK(kill(client, SIGKILL) == 0);
            killed = true;
        }
        status = tarn_request_stream(&request, data, sizeof data);
        if (status != 1)
            break;
        CHECK(now_ns() < end);
        nap_ns(MS / 10);
    }
    CHECK_STATUS(status, TARN_ERROR_PEER_DIED);
    CHECK(strstr(tarn_error(), number_text(client)));
    CHECK(killed);
    CHECK_INT(wait_child(client, LIMIT_S), ==, -SIGKILL);
    CHECK_STATUS(tarn_server_close(server), 0);
}

TEST(a_killed_client_ends_a_stream) {
    stream_to_the_end(0);
}

static void kill_when_full(void *arg) {
    pid_t pid = *(pid_t *)arg;
    AWAIT(atomic_load(&page->said) == 1);
    nap_ns(300 * MS);
    atomic_store(&page->stop, 1); /* what is being sent is the last */
    CHECK(kill(pid, SIGKILL) == 0);
}

TEST(a_client_killed_while_it_is_waited_for_ends_a_stream) {
    make_page(1, 1, 1);
    static char data[100000];
    pid_t client = spawn(ask_and_hang, NULL), killer = spawn(kill_when_full, &client);
    tarn_server *server = SERVER(.memory_limit_bytes = 1 << 20, .full_timeout_ns = GENEROUS);
    tarn_request request;
    int status;
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    int64_t start = now_ns();
    do
        status = tarn_request_stream(&request, data, sizeof data);
    while (status == 1);
    CHECK_STATUS(status, TARN_ERROR_PEER_DIED);
    CHECK_INT(now_ns() - start, <, 5 * SECOND);
    CHECK_INT(wait_child(killer, LIMIT_S), ==, 0);
    CHECK_INT(wait_child(client, LIMIT_S), ==, -SIGKILL);
    CHECK_STATUS(tarn_server_close(server), 0);
}

static void take_nothing(void *arg) {
    (void)arg;
    SERVER();
    sleep_until_killed();
}

/* The send that waited has sent; and each request is failed, that one too. */
TEST(a_server_killed_while_it_is_waited_for_fails_all_requests) {
    make_page(1, 1, 1);
    static char data[100000];
    pid_t server = spawn(take_nothing, NULL), killer = spawn(kill_when_full, &server);
    tarn_client *client = CLIENT(.memory_limit_bytes = 1 << 20, .full_timeout_ns = GENEROUS);
    tarn_message message;
    uint64_t sent = 0;
    AWAIT(tarn_client_servers(client) == 1);
    atomic_fetch_add(&page->said, 1);
    int64_t start = now_ns();
    do {
        CHECK_STATUS(tarn_client_send(client, data, sizeof data, NULL), 1);
        sent++;
    } while (!atomic_load(&page->stop));
    CHECK_INT(sent, <, 20); /* so it did wait */
    CHECK_INT(now_ns() - start, <, 5 * SECOND);
    CHECK_INT(tarn_client_pending(client), ==, sent);
    for (uint64_t i = 1; i <= sent; i++) {
        CHECK_REFUSED(tarn_client_receive(client, &message, TARN_FOREVER), TARN_ERROR_PEER_DIED, number_text(server));
        CHECK_INT(message.request, ==, i);
    }
    CHECK_INT(tarn_client_pending(client), ==, 0);
    CHECK_INT(wait_child(killer, LIMIT_S), ==, 0);
    CHECK_INT(wait_child(server, LIMIT_S), ==, -SIGKILL);
    CHECK_STATUS(tarn_client_close(client), 0);
}

/* Servers are killed and replaced all the time; each call is answered at last. */
TEST_LIMIT(calls_survive_the_death_of_servers, 60) {
    pid_t servers[3], clients[2];
    make_page(3, 2, 400);
    struct random random = random_start(1);
    for (int i = 0; i < 3; i++)
        servers[i] = spawn(echo_until_stopped, NULL);
    for (int i = 0; i < 2; i++)
        clients[i] = spawn(call_often, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < 20; i++) {
        nap_ns((int64_t)random_between(&random, 1, 40) * MS);
        int victim = (int)random_between(&random, 0, 2);
        kill_child(servers[victim]);
        servers[victim] = spawn(echo_until_stopped, NULL);
    }
    for (int i = 0; i < 2; i++)
        CHECK_INT(wait_child(clients[i], LIMIT_S), ==, 0);
    atomic_store(&page->stop, 1);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_child(servers[i], LIMIT_S), ==, 0);
}

TEST(when_all_are_killed_nothing_is_left) {
    pid_t pids[6];
    make_page(3, 3, UINT32_MAX);
    for (int i = 0; i < 3; i++)
        pids[i] = spawn(echo_until_stopped, NULL);
    for (int i = 3; i < 6; i++)
        pids[i] = spawn(call_often, (void *)(uintptr_t)i);
    AWAIT(atomic_load(&page->answered) > 100);
    for (int i = 0; i < 6; i++)
        CHECK(kill(pids[i], SIGKILL) == 0);
    for (int i = 0; i < 6; i++)
        CHECK_INT(wait_child(pids[i], LIMIT_S), ==, -SIGKILL);
    run_tarn("gc"); /* one in the making may be left until then */
    CHECK_INT(count_segments(), ==, 0);
    char path[512];
    domain_path(path, NULL);
    CHECK_INT(count_files(path, 1 << 20), ==, 0);
}

/*
 * ---- who is stopped ------------------------------------------------------------------------------------------------
 */

static void ask_for_much(void *arg) {
    (void)arg;
    tarn_client *client = CLIENT();
    for (int i = 0; i < 10; i++)
        CHECK_STATUS(tarn_client_send(client, "much", 4, NULL), 1);
    atomic_fetch_add(&page->said, 1);
    sleep_until_killed();
}

TEST(a_stopped_client_does_not_hold_answers_to_others) {
    static char data[300000];
    make_page(1, 2, 200);
    pid_t stopped = spawn(ask_for_much, NULL), other = spawn(call_often, (void *)(uintptr_t)1);
    tarn_server *server = SERVER(.memory_limit_bytes = 1 << 20, .when_full = TARN_FULL_FAIL);
    int64_t longest = 0;
    unsigned answered = 0, full = 0;
    AWAIT(atomic_load(&page->said) == 1);
    stop_process(stopped);
    while (answered < 200) {
        tarn_request request;
        CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
        bool much = request.bytes == 4 && memcmp(request.data, "much", 4) == 0;
        int64_t start = now_ns();
        int status = much ? tarn_request_reply(&request, data, sizeof data)
                          : tarn_request_reply(&request, request.data, request.bytes);
        if (now_ns() - start > longest)
            longest = now_ns() - start;
        if (!much)
            CHECK_STATUS(status, 1);
        else if (status == TARN_ERROR_FULL) {
            full++;
            CHECK_STATUS(tarn_request_end(&request), 1);
        }
        answered += !much;
    }
    CHECK_INT(full, >, 0);
    CHECK_INT(longest, <, SECOND);
    CHECK_INT(wait_child(other, LIMIT_S), ==, 0);
    kill_child(stopped);
    CHECK_STATUS(tarn_server_close(server), 0);
}

static void stop_after_open(void *arg) {
    (void)arg;
    tarn_server *server = SERVER();
    (void)server;
    atomic_fetch_add(&page->said, 1);
    sleep_until_killed();
}

/* It is not dead, so the call ends when its time is over, not before; others are asked for the next. */
TEST(a_stopped_server_costs_its_own_requests_only) {
    make_page(1, 1, 1);
    pid_t stopped = spawn(stop_after_open, NULL);
    AWAIT(atomic_load(&page->said) == 1);
    pid_t server = spawn(echo_until_stopped, NULL);
    tarn_client *client = CLIENT();
    AWAIT(tarn_client_servers(client) == 2);
    stop_process(stopped);
    tarn_message message;
    uint64_t first;
    CHECK_STATUS(tarn_client_send(client, "x", 1, &first), 1);
    CHECK_STATUS(tarn_client_send(client, "y", 1, NULL), 1);
    CHECK_STATUS(tarn_client_receive(client, &message, GENEROUS), 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_client_receive(client, &message, 100 * MS), 0);
    CHECK_INT(tarn_client_pending(client), ==, 1);
    for (uint64_t i = 0; i < 100; i++)
        call_number(client, i, 100);
    continue_process(stopped);
    kill_child(stopped);
    CHECK_STATUS(tarn_client_receive(client, &message, GENEROUS), TARN_ERROR_PEER_DIED);
    atomic_store(&page->stop, 1);
    CHECK_INT(wait_child(server, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

/*
 * ---- streams --------------------------------------------------------------------------------------------------------
 */

#define STREAM 1000u

static void read_stream_slowly(void *arg) {
    (void)arg;
    tarn_client *client = CLIENT();
    tarn_message message;
    CHECK_STATUS(tarn_client_send(client, "stream", 6, NULL), 1);
    for (unsigned i = 0;; i++) {
        CHECK_STATUS(tarn_client_receive(client, &message, GENEROUS), 1);
        bool last = message.flags & TARN_MESSAGE_LAST;
        if (!last)
            CHECK(check_pattern(message.data, message.bytes, i));
        CHECK_STATUS(tarn_message_release(&message), 0);
        if (i % 100 == 0)
            nap_ns(5 * MS);
        if (last) {
            CHECK_INT(i, ==, STREAM);
            break;
        }
    }
    CHECK_STATUS(tarn_client_close(client), 0);
}

TEST(a_stream_waits_for_its_client) {
    static char data[5000];
    make_page(1, 1, 1);
    pid_t client = spawn(read_stream_slowly, NULL);
    tarn_server *server = SERVER(.memory_limit_bytes = 512 * 1024, .full_timeout_ns = GENEROUS);
    tarn_request request;
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    for (unsigned i = 0; i < STREAM; i++) {
        fill_pattern(data, sizeof data, i);
        CHECK_STATUS(tarn_request_stream(&request, data, sizeof data), 1);
    }
    CHECK_STATUS(tarn_request_end(&request), 1);
    CHECK_STATUS(tarn_server_close(server), 0);
    CHECK_INT(wait_child(client, LIMIT_S), ==, 0);
}

/* As fast as it can, to a request of which it does not ask whether it was abandoned. */
static void stream_without_a_pause(void *arg) {
    (void)arg;
    tarn_server *server = SERVER(.when_full = TARN_FULL_FAIL, .linger_ns = TARN_IMMEDIATELY);
    tarn_request request;
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    while (!atomic_load(&page->stop)) {
        tarn_loan loan;
        int status = tarn_request_loan(&request, 8, 0, &loan);
        if (status != TARN_ERROR_FULL)
            CHECK_STATUS(status, 1);
        if (status == 1)
            CHECK_STATUS(tarn_loan_send(&loan), 1);
    }
    CHECK_INT(tarn_server_close(server), >=, 0);
}

TEST(streams_of_abandoned_requests_do_not_hold_a_call) {
    pid_t servers[3];
    make_page(3, 1, 1);
    for (int i = 0; i < 3; i++)
        servers[i] = spawn(stream_without_a_pause, NULL);
    tarn_client *client = CLIENT();
    tarn_message message;
    uint64_t numbers[3];
    AWAIT(tarn_client_servers(client) == 3);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_client_send(client, "x", 1, &numbers[i]), 1);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_client_abandon(client, numbers[i]), 1);
    for (int i = 0; i < 20; i++) {
        int64_t start = now_ns();
        CHECK_STATUS(tarn_client_call(client, "y", 1, &message, 20 * MS), 0);
        CHECK_INT(now_ns() - start, >=, 20 * MS);
        CHECK_INT(now_ns() - start, <, SECOND);
    }
    atomic_store(&page->stop, 1);
    for (int i = 0; i < 3; i++)
        CHECK_INT(wait_child(servers[i], LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void answer_and_leave(void *arg) {
    (void)arg;
    static char data[3000000];
    tarn_server *server = SERVER();
    tarn_request request;
    fill_pattern(data, sizeof data, 5);
    CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
    CHECK_STATUS(tarn_request_reply(&request, data, sizeof data), 1);
    CHECK_STATUS(tarn_server_close(server), 0);
}

/* What was answered arrives, though its memory was made just before, and its server has left. */
TEST(the_answer_of_a_server_that_leaves_arrives) {
    for (int i = 0; i < 20; i++) {
        pid_t server = spawn(answer_and_leave, NULL);
        tarn_client *client = CLIENT();
        tarn_message message;
        CHECK_STATUS(tarn_client_call(client, "x", 1, &message, GENEROUS), 1);
        CHECK_INT(wait_child(server, LIMIT_S), ==, 0);
        CHECK(check_pattern(message.data, message.bytes, 5));
        CHECK_STATUS(tarn_message_release(&message), 0);
        CHECK_STATUS(tarn_client_close(client), 0);
    }
}

/* The same, where the client is busy with something else when its server leaves, which waits for it then. */
TEST(a_server_that_leaves_waits_until_its_answer_can_be_had) {
    pid_t server = spawn(answer_and_leave, NULL);
    tarn_client *client = CLIENT();
    tarn_message message;
    CHECK_STATUS(tarn_client_send(client, "x", 1, NULL), 1);
    nap_ns(100 * MS);
    CHECK_STATUS(tarn_client_receive(client, &message, GENEROUS), 1);
    CHECK(check_pattern(message.data, message.bytes, 5));
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_INT(wait_child(server, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void answer_twice_and_die(void *arg) {
    (void)arg;
    tarn_server *server = SERVER();
    for (int i = 0; i < 2; i++) {
        tarn_request request;
        CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
        CHECK_STATUS(tarn_request_reply(&request, "last words", 10), 1);
        if (i == 0)
            continue;
        raise(SIGKILL);
    }
}

/* The first answer has shown where its answers lie; the second was sent, so it arrives. */
TEST(the_answer_of_a_server_that_dies_arrives) {
    for (int i = 0; i < 50; i++) {
        pid_t server = spawn(answer_twice_and_die, NULL);
        tarn_client *client = CLIENT();
        for (int k = 0; k < 2; k++) {
            tarn_message message;
            CHECK_STATUS(tarn_client_call(client, "x", 1, &message, GENEROUS), 1);
            CHECK(memcmp(message.data, "last words", 10) == 0);
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        CHECK_INT(wait_child(server, LIMIT_S), ==, -SIGKILL);
        CHECK_STATUS(tarn_client_close(client), 0);
    }
}

/*
 * ---- fork
 * ------------------------------------------------------------------------------------------------------------
 */

struct inherited {
    tarn_client *client;
    tarn_server *server;
    tarn_request request;
    tarn_message message;
};

/* A server for some microseconds, again and again. */
static void flicker(void *arg) {
    (void)arg;
    while (!atomic_load(&page->stop))
        CHECK_STATUS(tarn_server_close(SERVER(.linger_ns = TARN_IMMEDIATELY)), 0);
}

/*
 * Who waits for one may have seen it, and find it gone when it sends. How long it takes to meet one is a matter of
 * chance.
 */
TEST_LIMIT(servers_that_leave_at_once_are_waited_for, 60) {
    make_page(0, 0, 0);
    tarn_client *client = CLIENT();
    pid_t server = spawn(flicker, NULL);
    int64_t enough_ns = now_ns() + 5 * SECOND;
    for (int i = 0; i < 50 && now_ns() < enough_ns; i++) {
        tarn_message message;
        CHECK_INT(tarn_client_call(client, "", 0, &message, GENEROUS), ==, TARN_ERROR_PEER_DIED);
    }
    atomic_store(&page->stop, 1);
    CHECK_INT(wait_child(server, LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_client_close(client), 0);
}

static void use_inherited(void *arg) {
    struct inherited *in = arg;
    tarn_request request;
    tarn_message message;
    CHECK_STATUS(tarn_client_send(in->client, "x", 1, NULL), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_client_take(in->client, &message), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_client_abandon(in->client, 1), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_server_take(in->server, &request), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_request_reply(&in->request, "x", 1), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_message_release(&in->message), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_client_close(in->client), TARN_ERROR_FORKED);
    CHECK_STATUS(tarn_server_close(in->server), TARN_ERROR_FORKED);
    tarn_client *own = CLIENT();
    CHECK_INT(tarn_client_servers(own), ==, 1);
    CHECK_STATUS(tarn_client_close(own), 0);
}

TEST(handles_are_the_parents) {
    struct inherited in = {.server = SERVER(), .client = CLIENT()};
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(tarn_client_send(in.client, "x", 1, NULL), 1);
    CHECK_STATUS(tarn_server_take(in.server, &in.request), 1);
    CHECK_STATUS(tarn_request_reply(&in.request, "y", 1), 1);
    CHECK_STATUS(tarn_client_take(in.client, &in.message), 1);
    CHECK_STATUS(tarn_server_take(in.server, &in.request), 1);
    CHECK_INT(wait_child(spawn(use_inherited, &in), LIMIT_S), ==, 0);
    CHECK_STATUS(tarn_message_release(&in.message), 0);
    CHECK_STATUS(tarn_request_reply(&in.request, "y", 1), 1);
    CHECK_STATUS(tarn_client_take(in.client, &in.message), 1);
    CHECK_STATUS(tarn_message_release(&in.message), 0);
    CHECK_STATUS(tarn_client_close(in.client), 0);
    CHECK_STATUS(tarn_server_close(in.server), 0);
}
