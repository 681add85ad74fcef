/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Sockets of ZeroMQ over Unix sockets, in a context that all of a process share. */
#ifndef TARN_BENCH_ZMQ_END_H
#define TARN_BENCH_ZMQ_END_H

#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

#include "peer.h"
#include "threads.h"

#define QUEUED_BYTES (1u << 20)  /* more were measured to be slower: they leave the caches */
#define QUEUED_MESSAGES_MAX 1000 /* ZeroMQ's own default */
#define QUEUED_MESSAGES_MIN 4
#define RECONNECT_MS 1

struct end {
    void *socket;
    zmq_msg_t message;
    size_t bytes;
    uint32_t expected, subscribed; /* receivers, where the socket is an XPUB */
};

static void *context; /* one per process */
static uint32_t context_users;

__attribute__((noreturn)) static inline void fail(const char *what) {
    peer_fail("zmq: %s: %s", what, zmq_strerror(zmq_errno()));
}

static inline const char *version(void) {
    static char text[32];
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    snprintf(text, sizeof(text), "%d.%d.%d", major, minor, patch);
    return text;
}

static inline void prepare(struct peer_channel *channel) {
    (void)channel;
    threads_prepare();
}

static inline void set(void *socket, int option, int value) {
    if (zmq_setsockopt(socket, option, &value, sizeof(value)) != 0) {
        fail("zmq_setsockopt");
    }
}

/* The context's thread starts with the first socket. */
static inline struct end *open_end(const struct peer_channel *channel, int type) {
    struct end *end = calloc(1, sizeof(*end));
    size_t queued = QUEUED_BYTES / channel->bytes;
    queued = queued > QUEUED_MESSAGES_MAX   ? QUEUED_MESSAGES_MAX
             : queued < QUEUED_MESSAGES_MIN ? QUEUED_MESSAGES_MIN
                                            : queued;
    cpu_set_t own = threads_leave_cpu();
    if (context_users++ == 0) {
        context = zmq_ctx_new();
        zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 2 * PEER_HANDLES_MAX);
    }
    end->socket = zmq_socket(context, type);
    threads_return(own);
    if (end->socket == NULL) {
        fail("zmq_socket");
    }
    end->bytes = channel->bytes;
    set(end->socket, ZMQ_SNDHWM, (int)queued);
    set(end->socket, ZMQ_RCVHWM, (int)queued);
    set(end->socket, ZMQ_LINGER, 0);
    set(end->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    return end;
}

static inline void bind_or_connect(struct end *end, const struct peer_channel *channel, bool binds, uint32_t index) {
    char path[256];
    snprintf(path, sizeof(path), "ipc://%s/%s.%u", channel->folder, channel->name, index);
    if ((binds ? zmq_bind : zmq_connect)(end->socket, path) != 0) {
        fail(path);
    }
}

static inline void *loan(void *handle) {
    struct end *end = handle;
    if (zmq_msg_init_size(&end->message, end->bytes) != 0) {
        fail("zmq_msg_init_size");
    }
    return zmq_msg_data(&end->message);
}

static inline void send_loan(void *handle) {
    struct end *end = handle;
    while (zmq_msg_send(&end->message, end->socket, 0) < 0) {
        if (zmq_errno() != EINTR) {
            fail("zmq_msg_send");
        }
    }
}

static inline const void *take(void *handle, bool wait) {
    struct end *end = handle;
    zmq_msg_init(&end->message);
    if (zmq_msg_recv(&end->message, end->socket, wait ? 0 : ZMQ_DONTWAIT) >= 0) {
        return zmq_msg_data(&end->message);
    }
    if (zmq_errno() != EAGAIN && zmq_errno() != EINTR) {
        fail("zmq_msg_recv");
    }
    sched_yield();
    return NULL;
}

static inline void done(void *handle) {
    struct end *end = handle;
    zmq_msg_close(&end->message);
}

static inline void close_end(void *handle) {
    struct end *end = handle;
    zmq_close(end->socket);
    free(end);
    if (--context_users == 0) {
        zmq_ctx_term(context);
    }
}

#endif
