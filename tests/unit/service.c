/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Clients and servers in one process: what each call does, and says. Processes and deaths are in tests/multi/service.c. */
#include <stdlib.h>

#include "common.h"

#define CLIENT_OPTIONS(...) (&(tarn_client_options){.struct_bytes = sizeof(tarn_client_options), __VA_ARGS__})
#define SERVER_OPTIONS(...) (&(tarn_server_options){.struct_bytes = sizeof(tarn_server_options), __VA_ARGS__})
#define client_with(...) open_client(CLIENT_OPTIONS(.server_timeout_ns = TARN_IMMEDIATELY, __VA_ARGS__))
#define server_with(...) open_server(SERVER_OPTIONS(.linger_ns = TARN_IMMEDIATELY, __VA_ARGS__))

static tarn_client *open_client(const tarn_client_options *options) {
    tarn_client *client = NULL;
    CHECK_STATUS(tarn_client_open(&client, TOPIC, options), 0);
    return client;
}

static tarn_server *open_server(const tarn_server_options *options) {
    tarn_server *server = NULL;
    CHECK_STATUS(tarn_server_open(&server, TOPIC, options), 0);
    return server;
}

static void close_both(tarn_client *client, tarn_server *server) {
    CHECK_STATUS(tarn_client_close(client), 0);
    CHECK_STATUS(tarn_server_close(server), 0);
}

static uint64_t send_text(tarn_client *client, const char *text) {
    uint64_t number = 0;
    CHECK_STATUS(tarn_client_send(client, text, strlen(text), &number), 1);
    CHECK(number != 0);
    return number;
}

static tarn_request take_request(tarn_server *server, const char *text) {
    tarn_request request;
    CHECK_STATUS(tarn_server_take(server, &request), 1);
    CHECK_INT(request.bytes, ==, strlen(text));
    CHECK(memcmp(request.data, text, strlen(text)) == 0);
    return request;
}

static void take_response(tarn_client *client, uint64_t number, const char *text, uint32_t flags) {
    tarn_message message;
    CHECK_STATUS(tarn_client_take(client, &message), 1);
    CHECK_INT(message.request, ==, number);
    CHECK_INT(message.flags, ==, flags);
    CHECK_INT(message.bytes, ==, strlen(text));
    CHECK(memcmp(message.data, text, strlen(text)) == 0);
    release(&message);
}

static void reply_text(tarn_request *request, const char *text) {
    CHECK_STATUS(tarn_request_reply(request, text, strlen(text)), 1);
    CHECK(request->taken_by == NULL);
}

TEST(a_request_is_answered) {
    tarn_server *server = server_with();
    tarn_client *client = client_with();
    uint64_t number = send_text(client, "question");
    CHECK_INT(number, ==, 1);
    CHECK_INT(tarn_client_pending(client), ==, 1);
    tarn_request request = take_request(server, "question");
    CHECK_INT(request.number, ==, number);
    reply_text(&request, "answer");
    take_response(client, number, "answer", TARN_MESSAGE_LAST);
    CHECK_INT(tarn_client_pending(client), ==, 0);
    close_both(client, server);
}

TEST(the_client_may_come_first) {
    tarn_client *client = client_with();
    tarn_server *server = server_with();
    uint64_t number = send_text(client, "question");
    tarn_request request = take_request(server, "question");
    reply_text(&request, "answer");
    take_response(client, number, "answer", TARN_MESSAGE_LAST);
    close_both(client, server);
}
