/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A classic queue of RabbitMQ, with a connection for each worker: what most people mean by a work queue. Messages are
 * transient and not confirmed to the producer; the server hands each worker so many before the first is acknowledged.
 */
#define _GNU_SOURCE
#include "rabbitmq_server.h"

#define QUEUE "work"
#define PREFETCH 100

struct producer {
    amqp_connection_state_t connection;
    amqp_bytes_t body;
    const struct peer_channel *channel;
};

struct worker {
    amqp_connection_state_t connection;
    amqp_envelope_t envelope;
};

static void *open_producer(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct producer *producer = calloc(1, sizeof(*producer));
    *producer = (struct producer){connect_to_server(), {channel->bytes, calloc(1, channel->bytes)}, channel};
    return producer;
}

static void *open_worker(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct worker *worker = calloc(1, sizeof(*worker));
    amqp_connection_state_t connection = worker->connection = connect_to_server();
    amqp_bytes_t queue = amqp_cstring_bytes(QUEUE);
    amqp_queue_declare(connection, AMQP_CHANNEL, queue, 0, 0, 0, 1, amqp_empty_table);
    check_last(connection, "amqp_queue_declare");
    amqp_basic_qos(connection, AMQP_CHANNEL, 0, PREFETCH, 0);
    check_last(connection, "amqp_basic_qos");
    amqp_basic_consume(connection, AMQP_CHANNEL, queue, amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    check_last(connection, "amqp_basic_consume");
    ready_add(channel, 1);
    return worker;
}

static void close_producer(void *handle) {
    struct producer *producer = handle;
    disconnect(producer->connection);
    free(producer->body.bytes);
    free(producer);
}

static void close_worker(void *handle) {
    struct worker *worker = handle;
    disconnect(worker->connection);
    free(worker);
}

static bool connected(void *handle) {
    const struct producer *producer = handle;
    return ready_count(producer->channel) == producer->channel->receivers;
}

static void *loan(void *handle) {
    return ((struct producer *)handle)->body.bytes;
}

static void send_loan(void *handle) {
    struct producer *producer = handle;
    check_status(amqp_basic_publish(producer->connection, AMQP_CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(QUEUE), 0,
                                    0, NULL, producer->body),
                 "amqp_basic_publish");
}

static const void *take(void *handle, bool wait) {
    struct worker *worker = handle;
    struct timeval at_once = {0};
    amqp_rpc_reply_t reply = amqp_consume_message(worker->connection, &worker->envelope, wait ? NULL : &at_once, 0);
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        return worker->envelope.message.body.bytes;
    }
    if (reply.library_error != AMQP_STATUS_TIMEOUT) {
        check(reply, "amqp_consume_message");
    }
    sched_yield();
    return NULL;
}

static void acknowledge(void *handle) {
    struct worker *worker = handle;
    check_status(amqp_basic_ack(worker->connection, AMQP_CHANNEL, worker->envelope.delivery_tag, 0), "amqp_basic_ack");
    amqp_destroy_envelope(&worker->envelope);
    amqp_maybe_release_buffers(worker->connection);
}

const struct peer peer_queue = {
    .interface = PEER_INTERFACE,
    .name = "rabbitmq",
    .title = "RabbitMQ",
    .how = "A classic queue, transient messages without publisher confirms, a prefetch of 100 for each worker, each "
           "message acknowledged by itself.",
    .bytes_max = UINT64_C(64) << 20,
    .senders_max = 1,
    .receivers_max = 256,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_producer,
    .open_receiver = open_worker,
    .connected = connected,
    .loan = loan,
    .send = send_loan,
    .take = take,
    .done = acknowledge,
    .close_sender = close_producer,
    .close_receiver = close_worker,
    .servers = servers,
};
