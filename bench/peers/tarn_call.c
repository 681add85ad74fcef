/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn's clients and servers. What is small is copied, other requests and responses are written in place. */
#include "peer.h"

#include <stdlib.h>

#include "tarn.h"

#define COPIED_BYTES_MAX 24

/* Either side. */
struct end {
    tarn_client *client;
    tarn_server *server;
    tarn_request request; /* that the server has taken */
    tarn_message response;
    tarn_loan loan;
    size_t bytes;
    char message[COPIED_BYTES_MAX];
};

static const char *version(void) {
    return tarn_version();
}

static void expect_one(int result) {
    if (result != 1) {
        peer_fail("%s", result < 0 ? tarn_error() : "nothing was sent");
    }
}

static struct end *make_end(const struct peer_channel *channel) {
    struct end *end = calloc(1, sizeof(*end));
    end->bytes = channel->bytes;
    return end;
}

static uint32_t strategy_of(const struct peer_channel *channel) {
    return channel->sleeps ? TARN_WAIT_SLEEP : TARN_WAIT_SPIN;
}

static void *open_client(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = make_end(channel);
    tarn_client_options options = {.struct_bytes = sizeof(options), .wait_strategy = strategy_of(channel)};
    if (tarn_client_open(&end->client, channel->name, &options) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static void *open_server(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = make_end(channel);
    tarn_server_options options = {.struct_bytes = sizeof(options), .wait_strategy = strategy_of(channel)};
    if (tarn_server_open(&end->server, channel->name, &options) < 0) {
        peer_fail("%s", tarn_error());
    }
    return end;
}

static bool connected(void *handle) {
    struct end *end = handle;
    return tarn_client_servers(end->client) == 1;
}

static void close_end(void *handle) {
    struct end *end = handle;
    tarn_client_close(end->client);
    tarn_server_close(end->server);
    free(end);
}

/* ---- client ----------------------------------------------------------------------------------------------------- */

static void *loan_request(void *handle) {
    struct end *end = handle;
    if (end->bytes <= COPIED_BYTES_MAX) {
        return end->message;
    }
    expect_one(tarn_client_loan(end->client, end->bytes, &end->loan, NULL));
    return end->loan.data;
}

static void send_request(void *handle) {
    struct end *end = handle;
    expect_one(end->bytes <= COPIED_BYTES_MAX ? tarn_client_send(end->client, end->message, end->bytes, NULL)
                                              : tarn_loan_send(&end->loan));
}

static const void *take_response(void *handle, bool wait) {
    struct end *end = handle;
    tarn_message response;
    int result =
        wait ? tarn_client_receive(end->client, &response, TARN_FOREVER) : tarn_client_take(end->client, &response);
    if (result < 0) {
        peer_fail("%s", tarn_error());
    }
    if (result == 0) {
        return NULL;
    }
    end->response = response;
    return response.data;
}

static void done_response(void *handle) {
    struct end *end = handle;
    tarn_message_release(&end->response);
}

/* ---- server ----------------------------------------------------------------------------------------------------- */

static const void *take_request(void *handle, bool wait) {
    struct end *end = handle;
    int result = wait ? tarn_server_receive(end->server, &end->request, TARN_FOREVER)
                      : tarn_server_take(end->server, &end->request);
    if (result < 0) {
        peer_fail("%s", tarn_error());
    }
    return result == 1 ? end->request.data : NULL;
}

static void *loan_response(void *handle) {
    struct end *end = handle;
    if (end->bytes <= COPIED_BYTES_MAX) {
        return end->message;
    }
    expect_one(tarn_request_loan(&end->request, end->bytes, 1, &end->loan));
    return end->loan.data;
}

static void send_response(void *handle) {
    struct end *end = handle;
    expect_one(end->bytes <= COPIED_BYTES_MAX ? tarn_request_reply(&end->request, end->message, end->bytes)
                                              : tarn_loan_send(&end->loan));
}

const struct peer peer_call = {
    .interface = PEER_INTERFACE,
    .name = "tarn",
    .title = "tarn",
    .how = "Client and server; send and reply up to 24 B, else loans; take (spinning) or receive (sleeping).",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 1,
    .receivers_max = 1,
    .can_sleep = true,
    .version = version,
    .open_sender = open_client,
    .open_receiver = open_server,
    .connected = connected,
    .loan = loan_request,
    .send = send_request,
    .take = take_response,
    .done = done_response,
    .close_sender = close_end,
    .close_receiver = close_end,
    .serve_take = take_request,
    .serve_loan = loan_response,
    .serve_send = send_response,
};
