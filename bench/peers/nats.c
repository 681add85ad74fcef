/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * NATS: a server of the run's own, one connection per process, plain publish and subscribe. The server disconnects who
 * is too slow, so senders wait: a receiver answers every so many messages on a subject of their sender.
 *
 * Subjects: NAME.m.SENDER for messages, NAME.a.SENDER for the answers. A sender has room for `window` messages that the
 * slowest receiver has not yet answered.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <stdlib.h>
#include <string.h>

#include "ready.h"
#include "server.h"
#include "threads.h"

#define MESSAGE_BYTES_MAX (64u << 20)
#define WINDOW_BYTES (4u << 20)
#define WINDOW_MIN 8u
#define WINDOW_MAX 8192u
#define ANSWERS_PER_WINDOW 4
#define BUFFER_BYTES (256 << 10)
#define WAIT_MS 1000
#define READY_SECONDS 20

struct answer {
    uint32_t receiver, count; /* messages taken since the last answer to the same sender */
};

struct sender {
    char subject[64];
    natsSubscription *answers;
    unsigned char *buffer;
    size_t bytes;
    const struct peer_channel *channel;
    uint64_t window, sent;
    uint64_t taken[]; /* by each receiver */
};

struct receiver {
    char name[32];
    natsSubscription *subscription;
    natsMsg *message;
    uint32_t index, per_answer;
    uint32_t unanswered[]; /* of each sender */
};

static struct server server;
static uint32_t server_users, server_port;
static natsConnection *connection; /* one per process */
static uint32_t connection_users;

static void check(natsStatus status, const char *what) {
    if (status != NATS_OK) {
        peer_fail("nats: %s: %s", what, natsStatus_GetText(status));
    }
}

static const char *version(void) {
    static char text[64];
    snprintf(text, sizeof(text), "%s", nats_GetVersion());
    return text;
}

/* ---- server ----------------------------------------------------------------------------------------------------- */

static void prepare(struct peer_channel *channel) {
    threads_prepare();
    ready_prepare(channel);
    if (server_users++ > 0) {
        return;
    }
    server_port = channel->port;
    char text[512], path[256];
    snprintf(text, sizeof(text),
             "listen: \"127.0.0.1:%" PRIu32 "\"\nmax_payload: %u\nmax_pending: %u\nwrite_deadline: \"60s\"\n",
             server_port, MESSAGE_BYTES_MAX, 1u << 30);
    server_write_file(channel->folder, "nats.conf", text);
    snprintf(path, sizeof(path), "%s/nats.conf", channel->folder);
    const char *const command[] = {"nats-server", "--config", path, NULL};
    server = server_start(command, SIGKILL, channel->folder);
    server_wait_ready(&server, "nats-server", READY_SECONDS, server_port_answers, server_port);
}

static void release(struct peer_channel *channel) {
    ready_release(channel);
    if (--server_users == 0) {
        server_stop(&server);
    }
}

static uint32_t servers(int pids[8]) {
    pids[0] = server.pid;
    return 1;
}

/* ---- ends ------------------------------------------------------------------------------------------------------- */

static void use_connection(void) {
    if (connection_users++ > 0) {
        return;
    }
    natsOptions *options;
    char url[64];
    snprintf(url, sizeof(url), "nats://127.0.0.1:%" PRIu32, server_port);
    cpu_set_t own = threads_leave_cpu();
    check(natsOptions_Create(&options), "natsOptions_Create");
    check(natsOptions_SetURL(options, url), "natsOptions_SetURL");
    check(natsOptions_SetAllowReconnect(options, false), "natsOptions_SetAllowReconnect");
    check(natsOptions_SetSendAsap(options, true), "natsOptions_SetSendAsap");
    check(natsOptions_SetIOBufSize(options, BUFFER_BYTES), "natsOptions_SetIOBufSize");
    check(natsConnection_Connect(&connection, options), "natsConnection_Connect");
    natsOptions_Destroy(options);
    threads_return(own);
}

static void leave_connection(void) {
    if (--connection_users == 0) {
        natsConnection_Destroy(connection);
        connection = NULL;
    }
}

/* The server knows of it when this returns. */
static natsSubscription *subscribe(const char *subject) {
    natsSubscription *subscription;
    check(natsConnection_SubscribeSync(&subscription, connection, subject), "natsConnection_SubscribeSync");
    check(natsSubscription_SetPendingLimits(subscription, -1, -1), "natsSubscription_SetPendingLimits");
    check(natsConnection_Flush(connection), "natsConnection_Flush");
    return subscription;
}

static uint32_t window_of(const struct peer_channel *channel) {
    size_t window = WINDOW_BYTES / channel->bytes / channel->senders;
    return (uint32_t)(window > WINDOW_MAX ? WINDOW_MAX : window < WINDOW_MIN ? WINDOW_MIN : window);
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    struct sender *sender = calloc(1, sizeof(*sender) + channel->receivers * sizeof(sender->taken[0]));
    char subject[64];
    use_connection();
    sender->buffer = calloc(1, channel->bytes);
    sender->bytes = channel->bytes;
    sender->channel = channel;
    sender->window = window_of(channel);
    snprintf(sender->subject, sizeof(sender->subject), "%s.m.%" PRIu32, channel->name, index);
    snprintf(subject, sizeof(subject), "%s.a.%" PRIu32, channel->name, index);
    sender->answers = subscribe(subject);
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    struct receiver *receiver = calloc(1, sizeof(*receiver) + channel->senders * sizeof(receiver->unanswered[0]));
    char subject[64];
    use_connection();
    receiver->index = index;
    receiver->per_answer = window_of(channel) / ANSWERS_PER_WINDOW;
    snprintf(receiver->name, sizeof(receiver->name), "%s", channel->name);
    snprintf(subject, sizeof(subject), "%s.m.*", channel->name);
    receiver->subscription = subscribe(subject);
    ready_add(channel, 1);
    return receiver;
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    natsSubscription_Destroy(sender->answers);
    free(sender->buffer);
    free(sender);
    leave_connection();
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    natsSubscription_Destroy(receiver->subscription);
    free(receiver);
    leave_connection();
}

static bool connected(void *handle) {
    struct sender *sender = handle;
    return ready_count(sender->channel) == sender->channel->receivers;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static void *loan(void *handle) {
    struct sender *sender = handle;
    return sender->buffer;
}

static uint64_t taken_by_all(const struct sender *sender) {
    uint64_t least = sender->taken[0];
    for (uint32_t i = 1; i < sender->channel->receivers; i++) {
        least = sender->taken[i] < least ? sender->taken[i] : least;
    }
    return least;
}

static void wait_for_answer(struct sender *sender) {
    natsMsg *message;
    natsStatus status = natsSubscription_NextMsg(&message, sender->answers, WAIT_MS);
    if (status == NATS_TIMEOUT) {
        return;
    }
    check(status, "natsSubscription_NextMsg");
    struct answer answer;
    memcpy(&answer, natsMsg_GetData(message), sizeof(answer));
    sender->taken[answer.receiver] += answer.count;
    natsMsg_Destroy(message);
}

static void send_loan(void *handle) {
    struct sender *sender = handle;
    while (sender->sent - taken_by_all(sender) >= sender->window) {
        wait_for_answer(sender);
    }
    check(natsConnection_Publish(connection, sender->subject, sender->buffer, (int)sender->bytes),
          "natsConnection_Publish");
    sender->sent++;
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    natsStatus status;
    do {
        status = natsSubscription_NextMsg(&receiver->message, receiver->subscription, wait ? WAIT_MS : 0);
    } while (wait && status == NATS_TIMEOUT);
    if (status == NATS_OK) {
        return natsMsg_GetData(receiver->message);
    }
    if (status != NATS_TIMEOUT) {
        check(status, "natsSubscription_NextMsg");
    }
    sched_yield();
    return NULL;
}

static void answer_sender(const struct receiver *receiver, unsigned long sender) {
    char subject[64];
    struct answer answer = {receiver->index, receiver->per_answer};
    snprintf(subject, sizeof(subject), "%s.a.%lu", receiver->name, sender);
    check(natsConnection_Publish(connection, subject, &answer, sizeof(answer)), "natsConnection_Publish");
}

static void done(void *handle) {
    struct receiver *receiver = handle;
    unsigned long sender = strtoul(strrchr(natsMsg_GetSubject(receiver->message), '.') + 1, NULL, 10);
    natsMsg_Destroy(receiver->message);
    if (++receiver->unanswered[sender] == receiver->per_answer) {
        receiver->unanswered[sender] = 0;
        answer_sender(receiver, sender);
    }
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "nats",
    .title = "NATS",
    .how =
        "cnats with a nats-server of its own on loopback, one connection per process that sends at once "
        "(SendAsap), synchronous subscriptions; a sender is at most 4 MiB or 8192 messages ahead, as receivers tell.",
    .bytes_max = MESSAGE_BYTES_MAX,
    .senders_max = PEER_HANDLES_MAX,
    .receivers_max = PEER_HANDLES_MAX,
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
