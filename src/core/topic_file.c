/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See topic_file.h. */
#include "core/topic_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shm/layout.h"

#define HEADER_BYTES 384
#define BEGIN "tarn topic, layout "

/* FNV-1a, 64 bits (Fowler, Noll, Vo): against torn reads and accidents, not against malice. */
static uint64_t checksum(const char *text, size_t bytes) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return hash;
}

bool topic_file_is_foreign(int fd) {
    char begin[sizeof(BEGIN) - 1];
    ssize_t length = pread(fd, begin, sizeof(begin), 0);
    return length != 0 && (length != (ssize_t)sizeof(begin) || memcmp(begin, BEGIN, sizeof(begin)) != 0);
}

enum topic_header_state topic_header_read(struct topic_header *ret, int fd) {
    char text[HEADER_BYTES + 1];
    ssize_t length = pread(fd, text, HEADER_BYTES, 0);
    if (length <= 0)
        return length < 0 ? HEADER_UNREADABLE : HEADER_EMPTY;
    text[length] = 0;
    struct topic_header header = {0};
    char state[8];
    uint64_t sum;
    char *sum_line = strstr(text, "\nchecksum ");
    if (sscanf(text, BEGIN "%" SCNu32 ".%" SCNu32 "\n", &header.layout_major, &header.layout_minor) != 2)
        return HEADER_DAMAGED;
    if (!layout_is_ours(header.layout_major, header.layout_minor)) {
        *ret = header;
        return HEADER_OTHER_LAYOUT;
    }
    if (!sum_line || sscanf(sum_line, "\nchecksum %16" SCNx64, &sum) != 1 ||
        sum != checksum(text, (size_t)(sum_line - text)))
        return HEADER_DAMAGED;
    if (sscanf(text,
               "tarn topic, layout %*u.%*u\nroster backend %" SCNu32 " id %" SCNd32 " bytes %" SCNu64 " nonce %" SCNx64
               "\nipc namespace %" SCNu64 "\nlast locked by pid %" SCNd32 "\nstate %7s\n",
               &header.roster.backend, &header.roster.id, &header.roster.bytes, &header.roster.nonce,
               &header.ipc_namespace, &header.master, state) != 7)
        return HEADER_DAMAGED;
    header.open = strcmp(state, "open") == 0;
    *ret = header;
    return HEADER_SOUND;
}

int topic_header_write(const struct topic_header *header, int fd) {
    char text[HEADER_BYTES];
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < sizeof(text))
        return -EFBIG; /* before the kernel kills this process for trying (SIGXFSZ) */
    int length =
        snprintf(text, sizeof(text),
                 "tarn topic, layout %u.%u\nroster backend %" PRIu32 " id %" PRId32 " bytes %" PRIu64
                 " nonce %016" PRIx64 "\nipc namespace %" PRIu64 "\nlast locked by pid %" PRId32 "\nstate %s\n",
                 TARN_LAYOUT_MAJOR, TARN_LAYOUT_MINOR, header->roster.backend, header->roster.id, header->roster.bytes,
                 header->roster.nonce, header->ipc_namespace, header->master, header->open ? "open" : "closed");
    length += snprintf(text + length, sizeof(text) - (size_t)length, "checksum %016" PRIx64 "\n",
                       checksum(text, (size_t)length - 1));
    memset(text + length, ' ', sizeof(text) - (size_t)length - 1);
    text[sizeof(text) - 1] = '\n';
    ssize_t written = pwrite(fd, text, sizeof(text), 0);
    if (written == (ssize_t)sizeof(text))
        return 0;
    return written < 0 ? -errno : -ENOSPC;
}
