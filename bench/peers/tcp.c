/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* TCP over loopback. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>

#include "sockets.h"

static const char *version(void) {
    return "";
}

static void adjust(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static struct sockaddr_in name_of(const struct peer_channel *channel) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)channel->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static void *open_sender(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sockaddr_in name = name_of(channel);
    struct address address = {(const struct sockaddr *)&name, sizeof(name), AF_INET, SOCK_STREAM};
    return open_socket_sender(channel, &address, adjust);
}

static void *open_receiver(const struct peer_channel *channel, uint32_t index) {
    (void)index;
    struct sockaddr_in name = name_of(channel);
    struct address address = {(const struct sockaddr *)&name, sizeof(name), AF_INET, SOCK_STREAM};
    return open_socket_receiver(channel, &address, false, adjust);
}

const struct peer peer = {
    PEER_BY_DESCRIPTORS(UINT64_C(1) << 30),
    .name = "tcp",
    .title = "TCP loopback",
    .how = "One connection for each receiver, TCP_NODELAY; a write for each message, reads of up to 64 KiB.",
    .version = version,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
};
