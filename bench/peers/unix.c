/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Unix stream sockets. */
#define _GNU_SOURCE
#define SOCKET_TYPE SOCK_STREAM
#include "unix.h"

const struct peer peer = {
    PEER_BY_DESCRIPTORS(UINT64_C(1) << 30),
    .name = "unix",
    .title = "Unix stream socket",
    .how = "One connection for each receiver, send buffer as large as the system allows; a write for each message, "
           "reads of "
           "up to 64 KiB.",
    .version = version,
    .open_sender = open_sender,
    .open_receiver = open_receiver,
};
