/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * ZeroMQ over Unix sockets: PUSH to PULL where there is one receiver, XPUB to SUB for several. XPUB, since it
 * tells who has subscribed, and with NODROP, as it would drop for slow ones otherwise. PULL binds; SUB connects, as one
 * that binds subscribes only when it is first used.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <zmq.h>

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

__attribute__((noreturn)) static void fail(const char *what) {
    peer_fail("zmq: %s: %s", what, zmq_strerror(zmq_errno()));
}

static const char *version(void) {
    static char text[32];
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    snprintf(text, sizeof(text), "%d.%d.%d", major, minor, patch);
    return text;
}

static void prepare(struct peer_channel *channel) {
    (void)channel;
    threads_prepare();
}

static void set(void *socket, int option, int value) {
    if (zmq_setsockopt(socket, option, &value, sizeof(value)) != 0) {
        fail("zmq_setsockopt");
    }
}

/* The context's thread starts with the first socket. */
static struct end *open_end(const struct peer_channel *channel, int type) {
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

static void bind_or_connect(struct end *end, const struct peer_channel *channel, bool binds, uint32_t index) {
    char path[256];
    snprintf(path, sizeof(path), "ipc://%s/%s.%u", channel->folder, channel->name, index);
    if ((binds ? zmq_bind : zmq_connect)(end->socket, path) != 0) {
        fail(path);
    }
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    bool several = channel->receivers > 1;
    struct end *end = open_end(channel, several ? ZMQ_XPUB : ZMQ_PUSH);
    if (several) {
        set(end->socket, ZMQ_XPUB_NODROP, 1);
        set(end->socket, ZMQ_XPUB_VERBOSE, 1);
        end->expected = channel->receivers;
    }
    bind_or_connect(end, channel, several, several ? index : 0);
    return end;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    bool several = channel->receivers > 1;
    struct end *end = open_end(channel, several ? ZMQ_SUB : ZMQ_PULL);
    if (several && zmq_setsockopt(end->socket, ZMQ_SUBSCRIBE, "", 0) != 0) {
        fail("zmq_setsockopt");
    }
    for (uint32_t i = 0; i < (several ? channel->senders : 1); i++) {
        bind_or_connect(end, channel, !several, i);
    }
    return end;
}

static bool connected(void *handle) {
    struct end *end = handle;
    char subscription[8]; /* 1 for a new one, then what it is for: everything */
    while (end->subscribed < end->expected &&
           zmq_recv(end->socket, subscription, sizeof(subscription), ZMQ_DONTWAIT) > 0) {
        end->subscribed += subscription[0] == 1;
    }
    return end->subscribed == end->expected;
}

static void *loan(void *handle) {
    struct end *end = handle;
    if (zmq_msg_init_size(&end->message, end->bytes) != 0) {
        fail("zmq_msg_init_size");
    }
    return zmq_msg_data(&end->message);
}

static void send_loan(void *handle) {
    struct end *end = handle;
    while (zmq_msg_send(&end->message, end->socket, 0) < 0) {
        if (zmq_errno() != EINTR) {
            fail("zmq_msg_send");
        }
    }
}

static const void *take(void *handle, bool wait) {
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

static void done(void *handle) {
    struct end *end = handle;
    zmq_msg_close(&end->message);
}

static void close_end(void *handle) {
    struct end *end = handle;
    zmq_close(end->socket);
    free(end);
    if (--context_users == 0) {
        zmq_ctx_term(context);
    }
}

const struct peer peer = {
    .interface = PEER_INTERFACE,
    .name = "zmq",
    .title = "ZeroMQ ipc",
    .how =
        "PUSH and PULL, for several receivers XPUB (with NODROP) and SUB, over ipc:// in a memory file system, 1 MiB "
        "or 1000 messages queued; messages are written and read where zmq_msg_t has them, one I/O thread.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = PEER_HANDLES_MAX,
    .receivers_max = PEER_HANDLES_MAX,
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
    .close_sender = close_end,
    .close_receiver = close_end,
};
