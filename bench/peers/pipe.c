/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* An anonymous pipe for each pair of sender and receiver. */
#define _GNU_SOURCE
#include "descriptors.h"

struct pipes {
    int (*ends)[2];
    uint32_t count;
};

static const char *version(void) {
    return "";
}

static void prepare(struct peer_channel *channel) {
    struct pipes *pipes = calloc(1, sizeof(*pipes));
    pipes->count = channel->senders * channel->receivers;
    pipes->ends = calloc(pipes->count, sizeof(*pipes->ends));
    for (uint32_t i = 0; i < pipes->count; i++) {
        if (pipe2(pipes->ends[i], O_CLOEXEC) != 0) {
            peer_fail("pipe %u: %s", i, strerror(errno));
        }
        fcntl(pipes->ends[i][1], F_SETPIPE_SZ, 1 << 20); /* refused where the user has too many: then 64 KiB */
    }
    channel->prepared = pipes;
}

static void release(struct peer_channel *channel) {
    struct pipes *pipes = channel->prepared;
    for (uint32_t i = 0; i < pipes->count; i++) {
        close(pipes->ends[i][0]);
        close(pipes->ends[i][1]);
    }
    free(pipes->ends);
    free(pipes);
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    const struct pipes *pipes = channel->prepared;
    struct fd_sender *sender = make_fd_sender(channel);
    for (uint32_t i = 0; i < sender->count; i++) {
        sender->fds[i] = fcntl(pipes->ends[index * channel->receivers + i][1], F_DUPFD_CLOEXEC, 0);
    }
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    const struct pipes *pipes = channel->prepared;
    struct fd_receiver *receiver = make_fd_receiver(channel, false);
    for (uint32_t i = 0; i < receiver->count; i++) {
        receiver->sources[i].fd = fcntl(pipes->ends[i * channel->receivers + index][0], F_DUPFD_CLOEXEC, 0);
    }
    ready_fd_receiver(receiver, channel->sleeps);
    return receiver;
}

const struct peer peer = {
    PEER_BY_DESCRIPTORS(UINT64_C(1) << 30),
    .name = "pipe",
    .title = "pipe",
    .how = "pipe2, 1 MiB large where allowed, one for each receiver; a write for each message, reads of up to 64 KiB.",
    .version = version,
    .prepare = prepare,
    .release = release,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
};
