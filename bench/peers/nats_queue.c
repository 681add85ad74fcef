/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A work-queue stream of JetStream in memory, with one push consumer whose messages go to the members of a queue group,
 * a connection for each. The server does not tell the producer that it has stored a message, as RabbitMQ's does not in
 * the run beside this one; what it then cannot do is to make a fast producer wait, so messages pile up in its memory.
 */
#define _GNU_SOURCE
#include "nats_server.h"

#define STREAM "WORK"
#define SUBJECT "work"
#define GROUP "workers"
#define UNACKNOWLEDGED_MAX 1000 /* of all workers; the server's default */

struct producer {
    jsCtx *stream;
    void *message;
    size_t bytes;
    const struct peer_channel *channel;
};

struct worker {
    jsCtx *stream;
    natsSubscription *subscription;
    natsMsg *message;
};

static void prepare_stream(struct peer_channel *channel) {
    char more[512];
    snprintf(more, sizeof(more), "jetstream: {store_dir: \"%s/jetstream\", max_mem: 4GB, max_file: 1MB}\n",
             channel->folder);
    prepare_server(channel, more);
}

static jsCtx *open_stream(void) {
    jsCtx *stream;
    jsStreamConfig config;
    use_connection(false);
    check(natsConnection_JetStream(&stream, connection, NULL), "natsConnection_JetStream");
    check(jsStreamConfig_Init(&config), "jsStreamConfig_Init");
    config.Name = STREAM;
    config.Subjects = (const char *[]){SUBJECT};
    config.SubjectsLen = 1;
    config.Retention = js_WorkQueuePolicy;
    config.Storage = js_MemoryStorage;
    config.NoAck = true;
    check(js_AddStream(NULL, stream, &config, NULL, NULL), "js_AddStream");
    return stream;
}

static void close_stream(jsCtx *stream) {
    jsCtx_Destroy(stream);
    leave_connection();
}

static void *open_producer(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct producer *producer = calloc(1, sizeof(*producer));
    *producer = (struct producer){open_stream(), calloc(1, channel->bytes), channel->bytes, channel};
    return producer;
}

static void *open_worker(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct worker *worker = calloc(1, sizeof(*worker));
    worker->stream = open_stream();
    jsSubOptions options;
    check(jsSubOptions_Init(&options), "jsSubOptions_Init");
    options.Stream = STREAM;
    options.Queue = GROUP;
    options.ManualAck = true;
    options.Config.AckPolicy = js_AckExplicit;
    options.Config.MaxAckPending = UNACKNOWLEDGED_MAX;
    options.Config.MemoryStorage = true;
    check(js_SubscribeSync(&worker->subscription, worker->stream, SUBJECT, NULL, &options, NULL), "js_SubscribeSync");
    check(natsSubscription_SetPendingLimits(worker->subscription, -1, -1), "natsSubscription_SetPendingLimits");
    check(natsConnection_Flush(connection), "natsConnection_Flush");
    ready_add(channel, 1);
    return worker;
}

static void close_producer(void *handle) {
    struct producer *producer = handle;
    close_stream(producer->stream);
    free(producer->message);
    free(producer);
}

static void close_worker(void *handle) {
    struct worker *worker = handle;
    natsSubscription_Destroy(worker->subscription);
    close_stream(worker->stream);
    free(worker);
}

static bool connected(void *handle) {
    const struct producer *producer = handle;
    return ready_count(producer->channel) == producer->channel->receivers;
}

static void *loan(void *handle) {
    return ((struct producer *)handle)->message;
}

static void send_loan(void *handle) {
    struct producer *producer = handle;
    check(natsConnection_Publish(connection, SUBJECT, producer->message, (int)producer->bytes),
          "natsConnection_Publish");
}

static const void *take(void *handle, bool wait) {
    struct worker *worker = handle;
    natsStatus status;
    do {
        status = natsSubscription_NextMsg(&worker->message, worker->subscription, wait ? WAIT_MS : 0);
    } while (wait && status == NATS_TIMEOUT);
    if (status == NATS_OK) {
        return natsMsg_GetData(worker->message);
    }
    if (status != NATS_TIMEOUT) {
        check(status, "natsSubscription_NextMsg");
    }
    sched_yield();
    return NULL;
}

static void acknowledge(void *handle) {
    struct worker *worker = handle;
    check(natsMsg_Ack(worker->message, NULL), "natsMsg_Ack");
    natsMsg_Destroy(worker->message);
}

const struct peer peer_queue = {
    .interface = PEER_INTERFACE,
    .name = "nats",
    .title = "NATS",
    .how = "A work-queue stream of JetStream in memory that does not confirm publishing, a push consumer with a queue "
           "group, each message acknowledged by itself, at most 1000 unacknowledged.",
    .bytes_max = MESSAGE_BYTES_MAX,
    .senders_max = 1,
    .receivers_max = 256,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare_stream,
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
