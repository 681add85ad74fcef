/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What tools ask before anything is wrong: whether the kernel does what the library needs, and what was left behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/os.h"
#include "base/process.h"
#include "base/status.h"
#include "core/inspect.h"
#include "core/topic.h"
#include "core/topic_master.h"

/* ---- the kernel ----------------------------------------------------------------------------------------------- */

static int try_wipe(void) {
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return errno;
    int error = madvise(page, bytes, MADV_WIPEONFORK) == 0 ? 0 : errno;
    munmap(page, bytes);
    return error;
}

/* A lock by one open file description is seen by another, and its end, too. */
static int try_locks(void) {
    char path[32];
    int mine = memfd_create("tarn-locks", MFD_CLOEXEC);
    if (mine < 0)
        return errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", mine);
    int other = open(path, O_RDWR | O_CLOEXEC), error = other < 0 ? errno : -os_lock(mine, 7);
    if (!error && os_locked(other, 0, 16) != 7)
        error = ENOLCK;
    if (!error && (os_unlock(mine, 7) != 0 || os_locked(other, 0, 16) != -1))
        error = ENOLCK;
    if (other >= 0)
        close(other);
    close(mine);
    return error;
}

/* What one mapping writes the other reads, though the segment is marked for removal by then. */
static int try_segment(void) {
    const struct segment_access access = {.group = getegid(), .directory_mode = 0700};
    const uint64_t bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    void *mine, *other;
    int32_t id;
    int error = -segment_create(&mine, &id, bytes, NULL, &access, false);
    if (error)
        return error;
    error = -segment_attach(&other, id, bytes, false);
    if (!error) {
        *(volatile char *)mine = 'x';
        error = *(volatile char *)other == 'x' ? 0 : EIO;
        segment_detach(other);
    }
    segment_detach(mine);
    return error;
}

void inspect_probe(struct inspect_probe *ret) {
    ret->wipe_on_fork = try_wipe();
    ret->barrier = os_barrier_register() && os_barrier() ? 0 : errno;
    ret->futex = os_try_futex();
    ret->locks = try_locks();
    ret->segments = try_segment();
    ret->pidfd = os_try_pidfd();
    ret->fine_timeout = os_try_fine_timeout();
    ret->ipc_namespace = os_ipc_namespace();
    ret->memory_limit_bytes = machine_memory_limit();
}

/* ---- what was left -------------------------------------------------------------------------------------------- */

/* Counts of a file of the domain's directory. */
static void count_left(struct inspect_left *left, const struct directory *directory, const char *file) {
    static struct topic topic; /* large; under process_lock() */
    if (!topic_name_of_file(topic.name, file) || topic_file_open(directory, file, topic.name, false, &topic.fd) != 0)
        return;
    if (topic_file_identify(&topic) == 0) {
        left->segments += segment_count_orphans(topic.directory.access.key_seed);
        left->topics += !topic_file_in_use(topic.fd) && !topic_file_is_foreign(topic.fd);
    }
    close(topic.fd);
}

int inspect_left(struct inspect_left *ret, const char *directory_path, const char *domain_name) {
    struct directory directory;
    memset(ret, 0, sizeof(*ret));
    int status = directory_open(&directory, directory_path, domain_name, false);
    if (status)
        return status == 1 ? 0 : status;
    process_lock();
    DIR *entries = directory_entries(&directory);
    if (!entries)
        status = fail_system(TARN_ERROR_DIRECTORY, errno, "cannot list %s", directory.path);
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        count_left(ret, &directory, entry->d_name);
    if (entries)
        closedir(entries);
    process_unlock();
    directory_close(&directory);
    return status;
}
