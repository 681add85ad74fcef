/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Sockets with connections. One process has all receivers: it listens once, and each receiver accepts a connection from
 * each sender. Channels with several senders and several receivers are not opened, so which is whose does not matter.
 */
#ifndef TARN_BENCH_SOCKETS_H
#define TARN_BENCH_SOCKETS_H

#include "descriptors.h"

struct address {
    const struct sockaddr *name;
    socklen_t bytes;
    int family, type;
};

static int make_socket(const struct address *address) {
    int fd = socket(address->family, address->type | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        peer_fail("socket: %s", strerror(errno));
    }
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    return fd;
}

static int connect_to(const struct address *address) {
    for (int tries = 0; tries < 100000; tries++) {
        int fd = make_socket(address);
        if (connect(fd, address->name, address->bytes) == 0) {
            return fd;
        }
        if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN) {
            peer_fail("connect: %s", strerror(errno));
        }
        close(fd);
        usleep(100);
    }
    peer_fail("nobody listens");
}

/* adjust: options of each connection; NULL: none. */
static void *open_socket_sender(const struct peer_channel *channel, const struct address *address,
                                void (*adjust)(int fd)) {
    struct fd_sender *sender = make_fd_sender(channel);
    for (uint32_t i = 0; i < sender->count; i++) {
        sender->fds[i] = connect_to(address);
        if (adjust != NULL) {
            adjust(sender->fds[i]);
        }
    }
    return sender;
}

static void *open_socket_receiver(const struct peer_channel *channel, const struct address *address, bool packets,
                                  void (*adjust)(int fd)) {
    static int listening = -1;
    static uint32_t to_come;
    if (to_come == 0) {
        listening = make_socket(address);
        if (bind(listening, address->name, address->bytes) != 0 || listen(listening, PEER_HANDLES_MAX) != 0) {
            peer_fail("cannot listen: %s", strerror(errno));
        }
        to_come = channel->receivers;
    }
    struct fd_receiver *receiver = make_fd_receiver(channel, packets);
    for (uint32_t i = 0; i < receiver->count; i++) {
        receiver->sources[i].fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        if (receiver->sources[i].fd < 0) {
            peer_fail("accept: %s", strerror(errno));
        }
        if (adjust != NULL) {
            adjust(receiver->sources[i].fd);
        }
    }
    if (--to_come == 0) {
        close(listening);
    }
    ready_fd_receiver(receiver, channel->sleeps);
    return receiver;
}

#endif
