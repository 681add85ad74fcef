/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * NATS: a server of the run's own, one connection per process, plain publish and subscribe. The server disconnects who
 * is too slow, so senders wait: a receiver answers every so many messages on a subject of their sender.
 *
 * Subjects: NAME.m.SENDER for messages, NAME.a.SENDER for the answers. A sender has room for `window` messages that the
 * slowest receiver has not yet answered.
 */
#define _GNU_SOURCE
#include "nats_server.h"

#define WINDOW_BYTES (4u << 20)
#define WINDOW_MIN 8u
#define WINDOW_MAX 8192u
#define ANSWERS_PER_WINDOW 4

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

/* ---- ends ------------------------------------------------------------------------------------------------------- */

static uint32_t window_of(const struct peer_channel *channel) {
    size_t window = WINDOW_BYTES / channel->bytes / channel->senders;
    return (uint32_t)(window > WINDOW_MAX ? WINDOW_MAX : window < WINDOW_MIN ? WINDOW_MIN : window);
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    struct sender *sender = calloc(1, sizeof(*sender) + channel->receivers * sizeof(sender->taken[0]));
    char subject[64];
    use_connection(true);
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
    use_connection(true);
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
