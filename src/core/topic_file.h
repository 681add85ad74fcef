/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The topic file: a short text that names the roster, whose bytes are locked by those who are alive. Read and written
 * whole with pread and pwrite, never mapped (a mapping would keep its locks alive).
 *
 * The text may be read while it is written, so it ends with a checksum: what does not match is no header.
 */
#ifndef TARN_CORE_TOPIC_FILE_H
#define TARN_CORE_TOPIC_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/segment.h"

struct topic_header {
    uint32_t layout_major, layout_minor;
    struct segment_name roster; /* backend BACKEND_NONE: none */
    uint64_t ipc_namespace;     /* where the roster lives: os_ipc_namespace() */
    int32_t master;             /* pid that has the master lock, and was not done with it; for sentences */
    bool open;                  /* false: being created or deleted; look again under the master lock */
};

enum topic_header_state { HEADER_SOUND, HEADER_EMPTY, HEADER_DAMAGED, HEADER_OTHER_LAYOUT, HEADER_UNREADABLE };

/* Not empty, and not begun as a topic's file is: somebody else's. */
bool topic_file_is_foreign(int fd);

enum topic_header_state topic_header_read(struct topic_header *ret, int fd);
int topic_header_write(const struct topic_header *header, int fd); /* 0 or a negative errno */

#endif
