/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Request and reply of NATS: the library's own request, which waits for the reply, and a server that replies. */
#define _GNU_SOURCE
#include "nats_server.h"

#define SUBJECT "call"
#define PATIENCE_MS 20000

struct client {
    void *request;
    size_t bytes;
    natsMsg *reply, *taken;
    const struct peer_channel *channel;
};

struct server_end {
    natsSubscription *subscription;
    natsMsg *request;
    void *response;
    size_t bytes;
};

static void *open_client(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct client *client = calloc(1, sizeof(*client));
    use_connection(true);
    *client = (struct client){.request = calloc(1, channel->bytes), .bytes = channel->bytes, .channel = channel};
    return client;
}

static void *open_server(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct server_end *end = calloc(1, sizeof(*end));
    use_connection(true);
    *end = (struct server_end){
        .subscription = subscribe(SUBJECT), .response = calloc(1, channel->bytes), .bytes = channel->bytes};
    ready_add(channel, 1);
    return end;
}

static void close_client(void *handle) {
    struct client *client = handle;
    free(client->request);
    free(client);
    leave_connection();
}

static void close_server(void *handle) {
    struct server_end *end = handle;
    natsSubscription_Destroy(end->subscription);
    free(end->response);
    free(end);
    leave_connection();
}

static bool connected(void *handle) {
    const struct client *client = handle;
    return ready_count(client->channel) == client->channel->receivers;
}

static void *loan_request(void *handle) {
    return ((struct client *)handle)->request;
}

static void send_request(void *handle) {
    struct client *client = handle;
    check(natsConnection_Request(&client->reply, connection, SUBJECT, client->request, (int)client->bytes, PATIENCE_MS),
          "natsConnection_Request");
}

static const void *take_reply(void *handle, bool wait) {
    (void)wait;
    struct client *client = handle;
    client->taken = client->reply;
    return natsMsg_GetData(client->taken);
}

static void done_reply(void *handle) {
    struct client *client = handle;
    natsMsg_Destroy(client->taken);
}

static const void *take_request(void *handle, bool wait) {
    struct server_end *end = handle;
    natsStatus status;
    do {
        status = natsSubscription_NextMsg(&end->request, end->subscription, wait ? WAIT_MS : 0);
    } while (wait && status == NATS_TIMEOUT);
    if (status == NATS_OK) {
        return natsMsg_GetData(end->request);
    }
    if (status != NATS_TIMEOUT) {
        check(status, "natsSubscription_NextMsg");
    }
    sched_yield();
    return NULL;
}

static void *loan_response(void *handle) {
    return ((struct server_end *)handle)->response;
}

static void send_response(void *handle) {
    struct server_end *end = handle;
    check(natsConnection_Publish(connection, natsMsg_GetReply(end->request), end->response, (int)end->bytes),
          "natsConnection_Publish");
    natsMsg_Destroy(end->request);
}

const struct peer peer_call = {
    .interface = PEER_INTERFACE,
    .name = "nats",
    .title = "NATS",
    .how =
        "natsConnection_Request and a synchronous subscription that publishes to the reply's subject; connections that "
        "send at once (SendAsap).",
    .bytes_max = MESSAGE_BYTES_MAX,
    .senders_max = 1,
    .receivers_max = 1,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_client,
    .open_receiver = open_server,
    .connected = connected,
    .loan = loan_request,
    .send = send_request,
    .take = take_reply,
    .done = done_reply,
    .close_sender = close_client,
    .close_receiver = close_server,
    .servers = servers,
    .serve_take = take_request,
    .serve_loan = loan_response,
    .serve_send = send_response,
};
