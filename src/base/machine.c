/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See machine.h. */
#include "base/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stdbool.h>

#include "base/atomics.h"

#define MIB (UINT64_C(1) << 20)

static _Atomic uint64_t memory_limit, rotation_bytes; /* 0: not looked up yet; a race looks twice and finds the same */

/* The first line of a small file; false if there is none. */
static bool read_line(const char *path, char *ret, size_t bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, ret, bytes - 1);
    if (fd >= 0)
        close(fd);
    if (length <= 0)
        return false;
    ret[length] = 0;
    return true;
}

static uint64_t number_in(const char *directory, const char *file) {
    char path[4352], text[64];
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    uint64_t number = read_line(path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
    return number ? number : UINT64_MAX; /* "max", or no such file */
}

/* The least limit of a cgroup and those above it. */
static uint64_t limit_of_cgroup(const char *root, const char *path, const char *file) {
    char directory[4200];
    uint64_t least = UINT64_MAX;
    int length = snprintf(directory, sizeof(directory), "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof(directory))
        return least;
    for (size_t root_length = strlen(root); strlen(directory) >= root_length; *strrchr(directory, '/') = 0) {
        uint64_t limit = number_in(directory, file);
        if (limit < least)
            least = limit;
    }
    return least;
}

static uint64_t cgroup_limit(void) {
    char text[4096];
    uint64_t least = UINT64_MAX;
    if (!read_line("/proc/self/cgroup", text, sizeof(text)))
        return least;
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        uint64_t limit = UINT64_MAX;
        if (controllers[1] == 0)
            limit = limit_of_cgroup("/sys/fs/cgroup", path, "memory.max");
        else if (strcmp(controllers + 1, "memory") == 0)
            limit = limit_of_cgroup("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
        if (limit < least)
            least = limit;
    }
    return least;
}

uint64_t machine_memory_limit(void) {
    uint64_t limit = load_relaxed(&memory_limit);
    if (limit)
        return limit;
    uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t cgroup = cgroup_limit();
    limit = (ram < cgroup ? ram : cgroup) / 4;
    if (limit < MIB)
        limit = MIB;
    store_relaxed(&memory_limit, limit);
    return limit;
}

static uint64_t cache_bytes(int index) {
    char path[80], text[32];
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
    return read_line(path, text, sizeof(text)) ? strtoull(text, NULL, 10) * 1024 : 0; /* "1024K" */
}

uint64_t machine_rotation_bytes(void) {
    uint64_t bytes = load_relaxed(&rotation_bytes);
    if (bytes)
        return bytes;
    uint64_t private_bytes = cache_bytes(2), shared_bytes = cache_bytes(3);
    bytes = private_bytes ? 8 * private_bytes : 8 * MIB;
    if (shared_bytes && bytes > shared_bytes / 2)
        bytes = shared_bytes / 2;
    if (bytes < MIB)
        bytes = MIB;
    store_relaxed(&rotation_bytes, bytes);
    return bytes;
}
