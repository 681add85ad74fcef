/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Clients and servers of one process, each used by a thread of its own; responses are released by another thread. */
#include <sched.h>

#include "common.h"

#define CLIENTS 3
#define SERVERS 2
#define MOST 3000
#define SECOND INT64_C(1000000000)

static unsigned calls;
static _Atomic unsigned clients_left;

static void *serving(void *arg) {
    tarn_server *server;
    tarn_request request;
    (void)arg;
    CHECK_STATUS(tarn_server_open(&server, TOPIC, NULL), 0);
    while (atomic_load(&clients_left)) {
        int status = tarn_server_receive(server, &request, SECOND / 50);
        if (!status)
            continue;
        CHECK_STATUS(status, 1);
        CHECK_STATUS(tarn_request_stream(&request, request.data, request.bytes), 1);
        CHECK_STATUS(tarn_request_reply(&request, request.data, request.bytes), 1);
    }
    CHECK_STATUS(tarn_server_close(server), 0);
    return NULL;
}

struct releasing {
    _Atomic bool is_full;
    tarn_message message;
    bool is_last;
};

static void *releasing(void *arg) {
    struct releasing *place = arg;
    for (bool last = false; !last;) {
        while (!atomic_load(&place->is_full))
            sched_yield();
        last = place->is_last;
        CHECK_STATUS(tarn_message_release(&place->message), 0);
        atomic_store(&place->is_full, false);
    }
    return NULL;
}

static void hand_over(struct releasing *place, const tarn_message *message, bool is_last) {
    while (atomic_load(&place->is_full))
        sched_yield();
    place->message = *message;
    place->is_last = is_last;
    atomic_store(&place->is_full, true);
}

static void *calling(void *arg) {
    static _Thread_local char data[MOST];
    uint64_t self = (uint64_t)(uintptr_t)arg;
    struct releasing place = {.is_last = false};
    pthread_t releaser = start(releasing, &place);
    tarn_client *client;
    CHECK_STATUS(tarn_client_open(&client, TOPIC, NULL), 0);
    for (unsigned i = 1; i <= calls; i++) {
        tarn_message message;
        size_t bytes = bytes_of(self, i, MOST);
        fill_pattern(data, bytes, seed_of(self, i));
        CHECK_STATUS(tarn_client_call(client, data, bytes, &message, 10 * SECOND), 1);
        CHECK_INT(message.flags, ==, 0);
        CHECK_INT(message.bytes, ==, bytes);
        CHECK(check_pattern(message.data, bytes, seed_of(self, i)));
        hand_over(&place, &message, false);
        CHECK_STATUS(tarn_client_receive(client, &message, 10 * SECOND), 1);
        CHECK_INT(message.flags, ==, TARN_MESSAGE_LAST);
        CHECK(check_pattern(message.data, bytes, seed_of(self, i)));
        hand_over(&place, &message, i == calls);
    }
    CHECK_STATUS(tarn_client_close(client), 0); /* the last answer may be held yet */
    join(releaser);
    atomic_fetch_sub(&clients_left, 1);
    return NULL;
}

TEST_LIMIT(clients_and_servers_side_by_side, 120) {
    pthread_t servers[SERVERS], clients[CLIENTS];
    calls = ROUNDS(2000);
    clients_left = CLIENTS;
    for (int i = 0; i < SERVERS; i++)
        servers[i] = start(serving, NULL);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = start(calling, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < CLIENTS; i++)
        join(clients[i]);
    for (int i = 0; i < SERVERS; i++)
        join(servers[i]);
}

/* They come and go while others call. */
static void *coming_and_going(void *arg) {
    (void)arg;
    while (atomic_load(&clients_left)) {
        tarn_client *client;
        tarn_message message;
        CHECK_STATUS(tarn_client_open(&client, TOPIC, NULL), 0);
        if (atomic_load(&clients_left)) {
            CHECK_STATUS(tarn_client_send(client, "x", 1, NULL), 1);
            CHECK_STATUS(tarn_client_receive(client, &message, 10 * SECOND), 1);
            CHECK_STATUS(tarn_message_release(&message), 0);
        }
        CHECK_STATUS(tarn_client_close(client), 0);
    }
    return NULL;
}

static void *serving_whoever_is_there(void *arg) {
    tarn_server *server;
    tarn_request request;
    _Atomic bool *stop = arg;
    CHECK_STATUS(tarn_server_open(&server, TOPIC, NULL), 0);
    while (!atomic_load(stop)) {
        int status = tarn_server_receive(server, &request, SECOND / 50);
        if (!status)
            continue;
        CHECK_STATUS(status, 1);
        status = tarn_request_stream(&request, request.data, request.bytes);
        if (status == 1)
            status = tarn_request_reply(&request, request.data, request.bytes);
        CHECK(status == 1 || status == TARN_ERROR_PEER_DIED);
    }
    CHECK_INT(tarn_server_close(server), >=, 0);
    return NULL;
}

TEST_LIMIT(clients_come_and_go, 120) {
    _Atomic bool stop = false;
    calls = ROUNDS(800);
    clients_left = 1;
    pthread_t server = start(serving_whoever_is_there, &stop), other = start(coming_and_going, NULL);
    join(start(calling, (void *)1));
    join(other);
    atomic_store(&stop, true);
    join(server);
}
