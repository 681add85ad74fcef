/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * ZeroMQ's PUSH and PULL with several workers. Each binds an endpoint of its own, so that the producer has them all
 * from the start; it deals messages out in turns. There are no acknowledgements: what a worker has not done when it
 * dies is lost.
 */
#define _GNU_SOURCE
#include "zmq_end.h"

static void *open_producer(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct end *end = open_end(channel, ZMQ_PUSH);
    for (uint32_t i = 0; i < channel->receivers; i++) {
        bind_or_connect(end, channel, false, i);
    }
    return end;
}

static void *open_worker(const struct peer_channel *channel, uint32_t index) {
    struct end *end = open_end(channel, ZMQ_PULL);
    bind_or_connect(end, channel, true, index);
    return end;
}

const struct peer peer_queue = {
    .interface = PEER_INTERFACE,
    .name = "zmq",
    .title = "ZeroMQ ipc",
    .how =
        "PUSH and PULL over ipc:// in a memory file system, 1 MiB or 1000 messages queued for each worker, without any "
        "acknowledgement, as there is none.",
    .bytes_max = UINT64_C(1) << 30,
    .senders_max = 1,
    .receivers_max = PEER_HANDLES_MAX,
    .copies = true,
    .can_sleep = true,
    .version = version,
    .prepare = prepare,
    .open_sender = open_producer,
    .open_receiver = open_worker,
    .loan = loan,
    .send = send_loan,
    .take = take,
    .done = done,
    .close_sender = close_end,
    .close_receiver = close_end,
};
