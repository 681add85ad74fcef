/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* ZeroMQ's REQ and REP. The server binds. */
#define _GNU_SOURCE
#include "zmq_end.h"

/* What they send is in end->message. */
struct client {
    struct end *end;
    zmq_msg_t response;
};

struct server {
    struct end *end;
    zmq_msg_t request;
};

static void *open_client(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct client *client = calloc(1, sizeof(*client));
    client->end = open_end(channel, ZMQ_REQ);
    bind_or_connect(client->end, channel, false, 0);
    return client;
}

static void *open_server(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct server *server = calloc(1, sizeof(*server));
    server->end = open_end(channel, ZMQ_REP);
    bind_or_connect(server->end, channel, true, 0);
    return server;
}

static void close_client(void *handle) {
    struct client *client = handle;
    close_end(client->end);
    free(client);
}

static void close_server(void *handle) {
    struct server *server = handle;
    close_end(server->end);
    free(server);
}

static void *loan_request(void *handle) {
    return loan(((struct client *)handle)->end);
}

static void send_request(void *handle) {
    send_loan(((struct client *)handle)->end);
}

/* NULL, or the message, received into *ret. */
static const void *receive(struct end *end, zmq_msg_t *ret, bool wait) {
    zmq_msg_init(ret);
    if (zmq_msg_recv(ret, end->socket, wait ? 0 : ZMQ_DONTWAIT) >= 0) {
        return zmq_msg_data(ret);
    }
    if (zmq_errno() != EAGAIN && zmq_errno() != EINTR) {
        fail("zmq_msg_recv");
    }
    sched_yield();
    return NULL;
}

static const void *take_response(void *handle, bool wait) {
    struct client *client = handle;
    return receive(client->end, &client->response, wait);
}

static void done_response(void *handle) {
    struct client *client = handle;
    zmq_msg_close(&client->response);
}

static const void *take_request(void *handle, bool wait) {
    struct server *server = handle;
    return receive(server->end, &server->request, wait);
}

static void *loan_response(void *handle) {
    return loan(((struct server *)handle)->end);
}

static void send_response(void *handle) {
    struct server *server = handle;
    send_loan(server->end);
    zmq_msg_close(&server->request);
}

const struct peer peer_call = {
    .interface = PEER_INTERFACE,
    .name = "zmq",
    .title = "ZeroMQ ipc",
    .how =
        "REQ and REP over ipc:// in a memory file system; messages are written and read where zmq_msg_t has them, one "
        "I/O thread.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 1,
    .receivers_max = 1,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .open_sender = open_client,
    .open_receiver = open_server,
    .loan = loan_request,
    .send = send_request,
    .take = take_response,
    .done = done_response,
    .close_sender = close_client,
    .close_receiver = close_server,
    .serve_take = take_request,
    .serve_loan = loan_response,
    .serve_send = send_response,
};
