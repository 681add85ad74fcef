/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A POSIX message queue for each receiver. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "peer.h"

#define QUEUE_BYTES (256u << 10)

struct sender {
    size_t bytes;
    uint32_t count;
    mqd_t *queues;
    char *message;
};

struct receiver {
    size_t bytes;
    mqd_t queue;
    char *message;
    char name[64];
};

static const char *version(void) {
    return "";
}

static mqd_t open_queue(const struct peer_channel *channel, uint32_t receiver, int flags, char *name, size_t size) {
    setrlimit(RLIMIT_MSGQUEUE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}); /* root's; others keep the default */
    snprintf(name, size, "/tarn-bench-%ld-%s-%u", (long)(intptr_t)channel->prepared, channel->name, receiver);
    struct mq_attr attributes = {.mq_msgsize = (long)channel->bytes, .mq_maxmsg = (long)(QUEUE_BYTES / channel->bytes)};
    attributes.mq_maxmsg = attributes.mq_maxmsg < 2 ? 2 : attributes.mq_maxmsg > 1024 ? 1024 : attributes.mq_maxmsg;
    mqd_t queue = mq_open(name, flags | O_CREAT | O_CLOEXEC, 0600, &attributes);
    if (queue == (mqd_t)-1 && (errno == EINVAL || errno == EMFILE)) {
        attributes.mq_maxmsg = 10; /* what everybody may have */
        queue = mq_open(name, flags | O_CREAT | O_CLOEXEC, 0600, &attributes);
    }
    if (queue == (mqd_t)-1) {
        peer_fail("%s of %zu bytes: %s", name, channel->bytes, strerror(errno));
    }
    return queue;
}

/* So that a run that was killed leaves nothing that the next would meet. */
static void prepare(struct peer_channel *channel) {
    channel->prepared = (void *)(intptr_t)getpid();
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sender *sender = calloc(1, sizeof(*sender));
    char name[64];
    sender->bytes = channel->bytes;
    sender->count = channel->receivers;
    sender->queues = calloc(sender->count, sizeof(mqd_t));
    sender->message = calloc(1, channel->bytes);
    for (uint32_t i = 0; i < sender->count; i++) {
        sender->queues[i] = open_queue(channel, i, O_WRONLY, name, sizeof(name));
    }
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    receiver->bytes = channel->bytes;
    receiver->message = calloc(1, channel->bytes);
    int flags = channel->sleeps ? O_RDONLY : O_RDONLY | O_NONBLOCK;
    receiver->queue = open_queue(channel, index, flags, receiver->name, sizeof(receiver->name));
    return receiver;
}

static void *loan(void *handle) {
    return ((struct sender *)handle)->message;
}

static void send_message(void *handle) {
    struct sender *sender = handle;
    for (uint32_t i = 0; i < sender->count; i++) {
        if (mq_send(sender->queues[i], sender->message, sender->bytes, 0) != 0) {
            peer_fail("mq_send: %s", strerror(errno));
        }
    }
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    (void)wait; /* the descriptor blocks or does not */
    if (mq_receive(receiver->queue, receiver->message, receiver->bytes, NULL) >= 0) {
        return receiver->message;
    }
    if (errno != EAGAIN) {
        peer_fail("mq_receive: %s", strerror(errno));
    }
    return NULL;
}

static void done(void *handle) {
    (void)handle;
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    for (uint32_t i = 0; i < sender->count; i++) {
        mq_close(sender->queues[i]);
    }
    free(sender->queues);
    free(sender->message);
    free(sender);
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    mq_close(receiver->queue);
    mq_unlink(receiver->name);
    free(receiver->message);
    free(receiver);
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "mq",
    .title = "POSIX message queue",
    .how = "One queue for each receiver, 256 KiB of messages deep where allowed (at most 1024), else ten.",
    .bytes_max = 8192, /* fs.mqueue.msgsize_max as it is by default */
    .senders_max = 256,
    .receivers_max = 256,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
    .loan = loan,
    .send = send_message,
    .take = take,
    .done = done,
    .close_sender = close_sender,
    .close_receiver = close_receiver,
};
