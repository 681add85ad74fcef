/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * RabbitMQ: a server of the run's own, with the epmd that Erlang needs, and librabbitmq, a connection for each end. A
 * queue for each receiver: senders publish to it by its name, or, where there are several, to a fanout exchange. The
 * server makes senders wait, by not reading from them.
 */
#define _GNU_SOURCE
#include "rabbitmq_server.h"

struct sender {
    amqp_connection_state_t connection;
    amqp_bytes_t exchange, key, body;
    const struct peer_channel *channel;
    char name[64];
};

struct receiver {
    amqp_connection_state_t connection;
    amqp_envelope_t envelope;
};

/* ---- ends ------------------------------------------------------------------------------------------------------- */

/* By both sides, as either may be first. */
static void declare_exchange(amqp_connection_state_t connection, const struct peer_channel *channel) {
    amqp_exchange_declare(connection, AMQP_CHANNEL, amqp_cstring_bytes(channel->name), amqp_cstring_bytes("fanout"), 0,
                          0, 0, 0, amqp_empty_table);
    check_last(connection, "amqp_exchange_declare");
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sender *sender = calloc(1, sizeof(*sender));
    sender->channel = channel;
    sender->connection = connect_to_server();
    sender->body = (amqp_bytes_t){channel->bytes, calloc(1, channel->bytes)};
    if (channel->receivers > 1) {
        snprintf(sender->name, sizeof(sender->name), "%s", channel->name);
        sender->exchange = amqp_cstring_bytes(sender->name);
        sender->key = amqp_empty_bytes;
        declare_exchange(sender->connection, channel);
    } else {
        snprintf(sender->name, sizeof(sender->name), "%s.0", channel->name);
        sender->exchange = amqp_empty_bytes;
        sender->key = amqp_cstring_bytes(sender->name);
    }
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    amqp_connection_state_t connection = receiver->connection = connect_to_server();
    char name[64];
    snprintf(name, sizeof(name), "%s.%" PRIu32, channel->name, index);
    amqp_bytes_t queue = amqp_cstring_bytes(name);
    amqp_queue_declare(connection, AMQP_CHANNEL, queue, 0, 0, 1, 1, amqp_empty_table);
    check_last(connection, "amqp_queue_declare");
    if (channel->receivers > 1) {
        declare_exchange(connection, channel);
        amqp_queue_bind(connection, AMQP_CHANNEL, queue, amqp_cstring_bytes(channel->name), amqp_empty_bytes,
                        amqp_empty_table);
        check_last(connection, "amqp_queue_bind");
    }
    amqp_basic_consume(connection, AMQP_CHANNEL, queue, amqp_empty_bytes, 0, 1, 1, amqp_empty_table);
    check_last(connection, "amqp_basic_consume");
    ready_add(channel, 1);
    return receiver;
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    disconnect(sender->connection);
    free(sender->body.bytes);
    free(sender);
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    disconnect(receiver->connection);
    free(receiver);
}

static bool connected(void *handle) {
    struct sender *sender = handle;
    return ready_count(sender->channel) == sender->channel->receivers;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static void *loan(void *handle) {
    struct sender *sender = handle;
    return sender->body.bytes;
}

static void send_loan(void *handle) {
    struct sender *sender = handle;
    check_status(
        amqp_basic_publish(sender->connection, AMQP_CHANNEL, sender->exchange, sender->key, 0, 0, NULL, sender->body),
        "amqp_basic_publish");
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    struct timeval at_once = {0};
    amqp_rpc_reply_t reply = amqp_consume_message(receiver->connection, &receiver->envelope, wait ? NULL : &at_once, 0);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return receiver->envelope.message.body.bytes;
    }
    if (reply.library_error != AMQP_STATUS_TIMEOUT) {
        check(reply, "amqp_consume_message");
    }
    sched_yield();
    return NULL;
}

static void done(void *handle) {
    struct receiver *receiver = handle;
    amqp_destroy_envelope(&receiver->envelope);
    amqp_maybe_release_buffers(receiver->connection);
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "rabbitmq",
    .title = "RabbitMQ",
    .how = "librabbitmq with a rabbitmq-server of its own on loopback, in a memory file system; transient messages, "
           "consumed without acknowledgement, frames of 1 MiB, a fanout exchange for several receivers.",
    .bytes_max = UINT64_C(64) << 20,
    .senders_max = 256,
    .receivers_max = 256,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
    .connected = connected,
    .loan = loan,
    .send = send_loan,
    .take = take,
    .done = done,
    .close_sender = close_sender,
    .close_receiver = close_receiver,
    .servers = servers,
};
