/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Unix sockets of one type, SOCKET_TYPE. */
#ifndef TARN_BENCH_UNIX_H
#define TARN_BENCH_UNIX_H

#include <sys/un.h>

#include "sockets.h"

static const char *version(void) {
    return "";
}

static void adjust(int fd) {
    int bytes = 1 << 20; /* as much as net.core.wmem_max allows */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static struct sockaddr_un path_of(const struct peer_channel *channel) {
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(path.sun_path, sizeof(path.sun_path), "%s/%s", channel->folder, channel->name) >=
        sizeof(path.sun_path)) {
        peer_fail("the folder's name is too long for a socket");
    }
    return path;
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sockaddr_un path = path_of(channel);
    struct address address = {(const struct sockaddr *)&path, sizeof(path), AF_UNIX, SOCKET_TYPE};
    return open_socket_sender(channel, &address, adjust);
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sockaddr_un path = path_of(channel);
    struct address address = {(const struct sockaddr *)&path, sizeof(path), AF_UNIX, SOCKET_TYPE};
    return open_socket_receiver(channel, &address, SOCKET_TYPE == SOCK_SEQPACKET, NULL);
}

#endif
