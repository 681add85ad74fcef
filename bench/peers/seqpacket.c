/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Unix sockets that keep messages apart. */
#define _GNU_SOURCE
#define SOCKET_TYPE SOCK_SEQPACKET
#include "unix.h"

const struct peer peer = {
    PEER_BY_DESCRIPTORS(128 << 10), /* a message has to fit into the send buffer, by default 208 KiB at most */
    .name = "seqpacket",
    .title = "Unix seqpacket socket",
    .how = "One connection for each receiver, send buffer as large as the system allows; a write and a read for each "
           "message.",
    .version = version,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
};
