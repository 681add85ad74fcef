/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A named pipe for each pair of sender and receiver. */
#define _GNU_SOURCE
#include <sys/stat.h>

#include "descriptors.h"

static const char *version(void) {
    return "";
}

/* Opens one end; both make it. */
static int open_fifo(const struct peer_channel *channel, uint32_t sender, uint32_t receiver, int flags) {
    char path[200];
    snprintf(path, sizeof(path), "%s/%s-%u-%u", channel->folder, channel->name, sender, receiver);
    if (mkfifo(path, 0600) != 0 && errno != EEXIST) {
        peer_fail("%s: %s", path, strerror(errno));
    }
    for (;;) {
        int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) {
            return fd;
        }
        if (errno != ENXIO) { /* that: no reader yet */
            peer_fail("%s: %s", path, strerror(errno));
        }
        usleep(100);
    }
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    struct fd_sender *sender = make_fd_sender(channel);
    for (uint32_t i = 0; i < sender->count; i++) {
        sender->fds[i] = open_fifo(channel, index, i, O_WRONLY);
        fcntl(sender->fds[i], F_SETPIPE_SZ, 1 << 20);
        set_blocking(sender->fds[i], true);
    }
    return sender;
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    struct fd_receiver *receiver = make_fd_receiver(channel, false);
    for (uint32_t i = 0; i < receiver->count; i++) {
        receiver->sources[i].fd = open_fifo(channel, i, index, O_RDWR); /* so that it never sees an end */
    }
    ready_fd_receiver(receiver, channel->sleeps);
    return receiver;
}

const struct peer peer = {
    PEER_BY_DESCRIPTORS(UINT64_C(1) << 30),
    .name = "fifo",
    .title = "named pipe",
    .how = "mkfifo in memory, 1 MiB large where allowed, one for each receiver; a write for each message, reads of up "
           "to 64 "
           "KiB.",
    .version = version,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
};
