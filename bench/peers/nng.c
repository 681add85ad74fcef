/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * nng over Unix sockets, a PUSH for each pair of sender and receiver, as PUB drops for slow receivers,
 * and a PUSH with several PULLs would send each message to one of them only. PULL listens.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"

#define QUEUED_BYTES (1u << 20)
#define QUEUED_MESSAGES_MAX 128

struct sender {
    nng_msg *message;
    const struct peer_channel *channel;
    uint32_t dialed;
    _Atomic uint32_t pipes; /* connections that are up */
    nng_socket sockets[];   /* one per receiver */
};

struct receiver {
    nng_socket socket;
    nng_msg *message;
};

static void check(int result, const char *what) {
    if (result != 0) {
        peer_fail("nng: %s: %s", what, nng_strerror(result));
    }
}

static const char *version(void) {
    return nng_version();
}

static void prepare(struct peer_channel *channel) {
    (void)channel;
    threads_prepare();
}

static void path_of(const struct peer_channel *channel, uint32_t receiver, char *path, size_t bytes) {
    snprintf(path, bytes, "ipc://%s/%s.%u", channel->folder, channel->name, receiver);
}

static int queue_length(const struct peer_channel *channel) {
    size_t length = QUEUED_BYTES / channel->bytes;
    return length > QUEUED_MESSAGES_MAX ? QUEUED_MESSAGES_MAX : length < 1 ? 1 : (int)length;
}

static void count_pipe(nng_pipe pipe, nng_pipe_ev event, void *arguments) {
    (void)pipe, (void)event;
    struct sender *sender = arguments;
    atomic_fetch_add(&sender->pipes, 1);
}

static void open_push(struct sender *sender, uint32_t receiver) {
    nng_socket *socket = &sender->sockets[receiver];
    check(nng_push0_open(socket), "nng_push0_open");
    check(nng_socket_set_int(*socket, NNG_OPT_SENDBUF, queue_length(sender->channel)), "NNG_OPT_SENDBUF");
    check(nng_pipe_notify(*socket, NNG_PIPE_EV_ADD_POST, count_pipe, sender), "nng_pipe_notify");
}

/* The library's threads start with the first socket of the process. */
static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sender *sender = calloc(1, sizeof(*sender) + channel->receivers * sizeof(sender->sockets[0]));
    sender->channel = channel;
    cpu_set_t own = threads_leave_cpu();
    for (uint32_t i = 0; i < channel->receivers; i++) {
        open_push(sender, i);
    }
    threads_return(own);
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    struct receiver *receiver = calloc(1, sizeof(*receiver));
    char path[256];
    path_of(channel, index, path, sizeof(path));
    cpu_set_t own = threads_leave_cpu();
    check(nng_pull0_open(&receiver->socket), "nng_pull0_open");
    threads_return(own);
    check(nng_socket_set_size(receiver->socket, NNG_OPT_RECVMAXSZ, 0), "NNG_OPT_RECVMAXSZ");
    check(nng_listen(receiver->socket, path, NULL, 0), path);
    return receiver;
}

/* Dials as long as nobody listens: nng would do so by itself every 100 ms, and if more often, for ever as it closes. */
static bool connected(void *handle) {
    struct sender *sender = handle;
    uint32_t receivers = sender->channel->receivers;
    for (; sender->dialed < receivers; sender->dialed++) {
        char path[256];
        path_of(sender->channel, sender->dialed, path, sizeof(path));
        int result = nng_dial(sender->sockets[sender->dialed], path, NULL, 0);
        if (result == NNG_ECONNREFUSED || result == NNG_ENOENT) {
            return false;
        }
        check(result, path);
    }
    return atomic_load(&sender->pipes) >= receivers;
}

static void *loan(void *handle) {
    struct sender *sender = handle;
    check(nng_msg_alloc(&sender->message, sender->channel->bytes), "nng_msg_alloc");
    return nng_msg_body(sender->message);
}

static void send_loan(void *handle) {
    struct sender *sender = handle;
    for (uint32_t i = 0; i < sender->channel->receivers; i++) {
        nng_msg *message = sender->message;
        if (i + 1 < sender->channel->receivers) {
            check(nng_msg_dup(&message, sender->message), "nng_msg_dup");
        }
        check(nng_sendmsg(sender->sockets[i], message, 0), "nng_sendmsg");
    }
}

static const void *take(void *handle, bool wait) {
    struct receiver *receiver = handle;
    int result = nng_recvmsg(receiver->socket, &receiver->message, wait ? 0 : NNG_FLAG_NONBLOCK);
    if (result == 0) {
        return nng_msg_body(receiver->message);
    }
    if (result != NNG_EAGAIN && result != NNG_EINTR) {
        check(result, "nng_recvmsg");
    }
    sched_yield();
    return NULL;
}

static void done(void *handle) {
    struct receiver *receiver = handle;
    nng_msg_free(receiver->message);
}

static void close_sender(void *handle) {
    struct sender *sender = handle;
    for (uint32_t i = 0; i < sender->channel->receivers; i++) {
        nng_close(sender->sockets[i]);
    }
    free(sender);
}

static void close_receiver(void *handle) {
    struct receiver *receiver = handle;
    nng_close(receiver->socket);
    free(receiver);
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "nng",
    .title = "nng ipc",
    .how =
        "push0 and pull0 over ipc:// in a memory file system, a push0 for each receiver, as pub0 drops for slow ones; "
        "messages are written and read where nng_msg has them, up to 1 MiB or 128 messages queued.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = PEER_HANDLES_MAX,
    .receivers_max = 256, /* a thousand sockets of its kind take minutes */
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
    .connected = connected,
    .loan = loan,
    .send = send_loan,
    .take = take,
    .done = done,
    .close_sender = close_sender,
    .close_receiver = close_receiver,
};
