/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The topic file's text, as anyone may have written it. An input is that text; where it starts with '!', the rest is
 * given the checksum that it should have, or nothing but a checksum would ever be looked at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/topic_file.h"
#include "shm/layout.h"

#define TEXT_MOST 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int file = -1;

static void write_text(const char *text, size_t bytes) {
    if (file < 0)
        file = memfd_create("topic", MFD_CLOEXEC);
    if (ftruncate(file, 0) != 0 || pwrite(file, text, bytes, 0) != (ssize_t)bytes)
        abort();
}

/* FNV-1a of all before its line. */
static size_t add_checksum(char *text, size_t bytes) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return bytes + (size_t)sprintf(text + bytes, "\nchecksum %016llx\n", (unsigned long long)hash);
}

/* What was read as sound is the same when it is written and read again. */
static void check_again(const struct topic_header *header) {
    struct topic_header again;
    if (topic_header_write(header, file) != 0 || topic_header_read(&again, file) != HEADER_SOUND)
        abort();
    if (again.roster.backend != header->roster.backend || again.roster.id != header->roster.id ||
        again.roster.bytes != header->roster.bytes || again.roster.nonce != header->roster.nonce ||
        again.ipc_namespace != header->ipc_namespace || again.master != header->master || again.open != header->open)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    char text[TEXT_MOST + 64];
    if (bytes > TEXT_MOST)
        return 0;
    bool with_checksum = bytes > 0 && data[0] == '!';
    memcpy(text, data + with_checksum, bytes - with_checksum);
    bytes -= with_checksum;
    write_text(text, with_checksum ? add_checksum(text, bytes) : bytes);
    struct topic_header header;
    memset(&header, 0x5a, sizeof header);
    switch (topic_header_read(&header, file)) {
    case HEADER_SOUND:
        check_again(&header);
        break;
    case HEADER_OTHER_LAYOUT:
        if (layout_is_ours(header.layout_major, header.layout_minor))
            abort();
        break;
    case HEADER_EMPTY:
    case HEADER_DAMAGED:
    case HEADER_UNREADABLE:
        break;
    }
    return 0;
}
