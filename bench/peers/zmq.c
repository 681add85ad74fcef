/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * ZeroMQ over Unix sockets: PUSH to PULL where there is one receiver, XPUB to SUB for several. XPUB, since it
 * tells who has subscribed, and with NODROP, as it would drop for slow ones otherwise. PULL binds; SUB connects, as one
 * that binds subscribes only when it is first used.
 */
#define _GNU_SOURCE
#include "zmq_end.h"

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
