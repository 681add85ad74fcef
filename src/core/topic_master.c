/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See topic_master.h. */
#include "core/topic_master.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "base/points.h"
#include "base/process.h"
#include "base/status.h"
#include "core/topic_slots.h"
#include "shm/segment.h"

#define MASTER_YIELDS 100u /* before the first sleep */
#define MASTER_RETRY_LEAST_NS 10000

/* ---- the file ------------------------------------------------------------------------------------------------- */

static int refuse_file(int error, const struct directory *directory, const char *file, const char *name) {
    if (error == EACCES || error == EPERM)
        return fail(TARN_ERROR_PERMISSION,
                    "topic \"%s\": this user may not open %s/%s; the directory's owner, group and mode decide who may",
                    name, directory->path, file);
    if (error == ELOOP || error == EISDIR || error == ENXIO || error == ENODEV)
        return fail(TARN_ERROR_TOPIC_FILE, "topic \"%s\": %s/%s is not a plain file: remove it", name, directory->path,
                    file);
    return fail_system(status_of_errno(error), error, "topic \"%s\": cannot open %s/%s", name, directory->path, file);
}

static int make_file(const struct directory *directory, const char *file, const char *name, int *ret_fd) {
    /* Without a name until it has its group and mode, so that nobody finds it with others. Not all file systems can. */
    int fd = openat(directory->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    bool named = fd < 0;
    if (named)
        fd = openat(directory->fd, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? AGAIN : refuse_file(errno, directory, file, name);
    struct stat state;
    if (fstat(fd, &state) == 0 && state.st_gid != directory->access.group)
        (void)!fchown(fd, (uid_t)-1, directory->access.group); /* not allowed: others of the group are told so */
    fchmod(fd, directory->access.directory_mode & 0666);
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int error = named || linkat(AT_FDCWD, path, directory->fd, file, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
    POINT(file_made);
    /* killed here: an empty file, that the next one fills */
    if (error == ENOENT) { /* no /proc */
        close(fd);
        fd = openat(directory->fd, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        error = fd < 0 ? errno : 0;
        if (!error)
            fchmod(fd, directory->access.directory_mode & 0666);
    } else if (error)
        close(fd);
    if (error)
        return error == EEXIST ? AGAIN : refuse_file(error, directory, file, name);
    *ret_fd = fd;
    return 0;
}

int topic_file_open(const struct directory *directory, const char *file, const char *name, bool create, int *ret_fd) {
    /* First without O_CREAT: fs.protected_regular refuses that on others' files, even to root. */
    int fd = openat(directory->fd, file, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return create ? make_file(directory, file, name, ret_fd) : 1;
    if (fd < 0)
        return refuse_file(errno, directory, file, name);
    struct stat state;
    if (fstat(fd, &state) != 0 || !S_ISREG(state.st_mode)) {
        close(fd);
        return refuse_file(EISDIR, directory, file, name);
    }
    *ret_fd = fd;
    return 0;
}

bool topic_file_is_in_place(int directory_fd, const char *file, dev_t device, ino_t inode) {
    struct stat state;
    return fstatat(directory_fd, file, &state, AT_SYMLINK_NOFOLLOW) == 0 && state.st_dev == device &&
           state.st_ino == inode;
}

int topic_say_damaged(const struct topic *topic) {
    return fail(TARN_ERROR_DAMAGED,
                "topic \"%s\": a peer damaged the list of participants; it is made anew when all of them have left",
                topic->name);
}

bool topic_is_in_place(const struct topic *topic) {
    char file[TARN_TOPIC_BYTES_MAX + 1];
    topic_file_name(file, topic->name);
    return topic_file_is_in_place(topic->directory.fd, file, topic->device, topic->inode);
}

static bool fd_is_in_place(const struct directory *directory, const char *file, int fd) {
    struct stat state;
    return fstat(fd, &state) == 0 && topic_file_is_in_place(directory->fd, file, state.st_dev, state.st_ino);
}

bool topic_file_in_use(int fd) {
    return os_locked(fd, TOPIC_LOCK_PUBLISHERS, TOPIC_LOCK_END - TOPIC_LOCK_PUBLISHERS) != -1;
}

/* Keys of segments in the making follow from the topic's file, so that they can be found without any note. */
static uint32_t key_seed_of(const struct stat *state) {
    uint64_t mixed = ((uint64_t)state->st_ino ^ (uint64_t)state->st_dev << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(mixed >> 32);
}

int topic_file_identify(struct topic *topic) {
    struct stat state;
    if (fstat(topic->fd, &state) != 0)
        return -1;
    topic->device = state.st_dev;
    topic->inode = state.st_ino;
    topic->directory.access.key_seed = key_seed_of(&state);
    return 0;
}

/* ---- the master lock: creating, replacing, deleting ----------------------------------------------------------- */

void topic_sleep_unlocked(long ns) {
    process_unlock();
    nanosleep(&(struct timespec){0, ns}, NULL);
    process_lock();
}

static int say_busy(int fd, const char *name) {
    struct topic_header header = {0};
    topic_header_read(&header, fd);
    char who[80] = "another process";
    if (header.master > 0)
        snprintf(who, sizeof(who), "process %d (where it runs: a container has numbers of its own)", header.master);
    return fail(TARN_ERROR_BUSY,
                "topic \"%s\": %s has kept the topic's file locked for over a second, as if it were stopped while "
                "creating or deleting it: continue or end it",
                name, who);
}

int topic_try_master(int fd, uint32_t tries, int64_t *patience_ns, const char *name) {
    int error = os_lock(fd, TOPIC_LOCK_MASTER);
    if (error == 0) {
        POINT(master_taken);
        return 0;
    }
    if (error != -EAGAIN)
        return fail_system(status_of_errno(-error), -error, "topic \"%s\": cannot lock its file", name);
    if (*patience_ns <= 0)
        return say_busy(fd, name);
    if (tries < MASTER_YIELDS) { /* making a topic takes some 100 us, and so does the shortest sleep */
        process_unlock();
        sched_yield();
        process_lock();
        return AGAIN;
    }
    /* waits grow, as who is stopped meanwhile should not be asked all the time */
    uint32_t doublings = tries - MASTER_YIELDS;
    long wait_ns = doublings < 7 ? MASTER_RETRY_LEAST_NS << doublings : MASTER_RETRY_NS;
    topic_sleep_unlocked(wait_ns);
    *patience_ns -= wait_ns;
    return AGAIN;
}

/* Removes doorbells of a topic file that is being deleted. */
static void remove_doorbells(const struct directory *directory, ino_t inode) {
    char prefix[DOORBELL_NAME_BYTES];
    int length = snprintf(prefix, sizeof(prefix), "@%" PRIx64 "-", (uint64_t)inode);
    DIR *entries = directory_entries(directory);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));)
        if (strncmp(entry->d_name, prefix, (size_t)length) == 0)
            unlinkat(directory->fd, entry->d_name, 0);
    closedir(entries);
}

/* Under the master lock, the work being done: from now on nobody is named who would be at it. */
static int write_finished_header(int fd, struct topic_header *header, bool open) {
    header->open = open;
    header->master = 0;
    return topic_header_write(header, fd);
}

enum closing { CLOSED, SOMEBODY_THERE, NOT_WRITTEN };

/* Under the master lock: F1. Unless it is CLOSED, the header is as it was, but for who is named in it. */
static enum closing close_header(int fd, struct topic_header *header, int *ret_error) {
    header->open = false;
    header->master = (int32_t)getpid();
    *ret_error = topic_header_write(header, fd);
    if (*ret_error)
        return NOT_WRITTEN;
    POINT(header_closed);
    /* killed here: closed, with the roster still named: the next one under the master lock opens it or goes on */
    if (!topic_file_in_use(fd))
        return CLOSED;
    write_finished_header(fd, header, header->roster.backend != BACKEND_NONE);
    return SOMEBODY_THERE;
}

/* Under the master lock, the file being in place. 1: deleted; 0: somebody is in it. */
static int delete_if_unused(const struct directory *directory, const char *file, int fd) {
    struct topic_header header;
    int error;
    if (topic_header_read(&header, fd) != HEADER_SOUND)
        header = (struct topic_header){0};
    if (topic_file_in_use(fd) || close_header(fd, &header, &error) != CLOSED)
        return 0;
    struct stat state;
    if (fstat(fd, &state) == 0) {
        segment_sweep_all(key_seed_of(&state));
        remove_doorbells(directory, state.st_ino);
    }
    POINT(file_not_deleted);
    return unlinkat(directory->fd, file, 0) == 0;
}

int topic_file_sweep(const struct directory *directory, const char *file, int fd) {
    int error = os_lock(fd, TOPIC_LOCK_MASTER);
    if (error)
        return error == -EAGAIN
                   ? TARN_ERROR_BUSY
                   : fail_system(status_of_errno(-error), -error, "cannot lock %s/%s", directory->path, file);
    int result = fd_is_in_place(directory, file, fd) ? delete_if_unused(directory, file, fd) : 0;
    os_unlock(fd, TOPIC_LOCK_MASTER);
    return result;
}

static int say_other_layout(const struct topic *topic, const struct topic_header *header) {
    return fail(TARN_ERROR_VERSION,
                "topic \"%s\" is in use with memory layout %u.%u, this process has %u.%u: use the same version of tarn "
                "everywhere",
                topic->name, header->layout_major, header->layout_minor, TARN_LAYOUT_MAJOR, TARN_LAYOUT_MINOR);
}

int topic_attach_roster(struct topic *topic, const struct topic_header *header) {
    int error = roster_attach(&topic->roster, &header->roster, &topic->directory.access, true);
    if (error == 0 || error == -EINVAL)
        return error ? AGAIN : 0;
    if (error == -EPROTO)
        return say_other_layout(topic, header);
    if (error == -EACCES || error == -EPERM)
        return fail(TARN_ERROR_PERMISSION,
                    "topic \"%s\": this user may not attach the topic's memory; who may is decided by the group and "
                    "mode of %s, where the user namespace of who made the topic knows that group",
                    topic->name, topic->directory.path);
    return fail_system(status_of_errno(-error), -error, "topic \"%s\": cannot attach the topic's memory", topic->name);
}

static int say_create_failed(const struct topic *topic, int error) {
    if (error == -EFBIG)
        return fail(
            TARN_ERROR_LIMIT,
            "topic \"%s\": this process may not write so much as the topic's small text file in %s (RLIMIT_FSIZE, "
            "ulimit -f)",
            topic->name, topic->directory.path);
    if (error == -ENOSPC)
        return fail(
            TARN_ERROR_LIMIT,
            "topic \"%s\": no shared memory segment is left (kernel.shmmni, 4096 by default, allows some 2,000 topics, "
            "and kernel.shmall bounds their memory), or no space in %s",
            topic->name, topic->directory.path);
    return fail_system(status_of_errno(-error), -error, "topic \"%s\": cannot make the topic's memory", topic->name);
}

/* Under the master lock, nobody being in the topic: a new roster, whatever the file said. */
static int create_roster(struct topic *topic, struct topic_header *header) {
    *header = (struct topic_header){
        .layout_major = TARN_LAYOUT_MAJOR,
        .layout_minor = TARN_LAYOUT_MINOR,
        .ipc_namespace = os_ipc_namespace(),
        .master = (int32_t)getpid(),
    };
    int error = topic_header_write(header, topic->fd);
    POINT(roster_not_made);
    /* killed here: the next one under the master lock finds an orphan by its key, and starts over */
    if (!error)
        error = roster_create(&topic->roster, &header->roster, &topic->directory.access);
    if (error)
        return say_create_failed(topic, error);
    POINT(roster_not_told);
    error = write_finished_header(topic->fd, header, true);
    POINT(roster_told);
    if (error) {
        roster_detach(&topic->roster);
        return say_create_failed(topic, error);
    }
    return 0;
}

/*
 * Under the master lock, slots of the topic being locked: names the roster again if it lives. AGAIN: join it; 0: nobody
 * alive has it; or a status.
 */
static int settle_in_use(struct topic *topic, const char *file, enum topic_header_state state,
                         struct topic_header *header) {
    if (state == HEADER_OTHER_LAYOUT)
        return say_other_layout(topic, header);
    if (state != HEADER_SOUND)
        return fail(
            TARN_ERROR_TOPIC_FILE,
            "topic \"%s\": its file %s/%s was damaged while in use: end its participants, or delete the file to start "
            "anew beside them",
            topic->name, topic->directory.path, file);
    if (header->roster.backend == BACKEND_NONE)
        return 0; /* stray children; or a joiner, who sees by F1 that what he joined is not there any more, and lets go */
    int status = topic_attach_roster(topic, header);
    if (status == AGAIN && header->ipc_namespace && header->ipc_namespace == os_ipc_namespace())
        return 0; /* Whoever is alive has it attached. So it is gone, and the locks are those of stray children. */
    if (status == AGAIN)
        return fail(TARN_ERROR_PERMISSION,
                    "topic \"%s\" is in use, but its memory cannot be found from here: its participants seem to live "
                    "in another "
                    "IPC namespace (a container); run both with the same one",
                    topic->name);
    if (status)
        return status;
    roster_detach(&topic->roster);
    if (write_finished_header(topic->fd, header, true) != 0)
        return fail(TARN_ERROR_LIMIT, "topic \"%s\": cannot write its file in %s", topic->name, topic->directory.path);
    return AGAIN;
}

int topic_settle(struct topic *topic, const char *file, enum slot_kind kind, uint32_t *ret_slot) {
    if (!topic_file_is_in_place(topic->directory.fd, file, topic->device, topic->inode))
        return AGAIN;
    struct topic_header header = {0};
    enum topic_header_state state = topic_header_read(&header, topic->fd);
    bool in_use = topic_file_in_use(topic->fd);
    int status = in_use ? settle_in_use(topic, file, state, &header) : 0;
    if (status)
        return status;
    if (state != HEADER_SOUND)
        header = (struct topic_header){.layout_major = TARN_LAYOUT_MAJOR, .layout_minor = TARN_LAYOUT_MINOR};
    /*
     * A file that was never written is as good as closed: nobody joins by it, and nobody died making a segment for it.
     */
    int error = 0;
    enum closing closing = in_use || state == HEADER_EMPTY ? CLOSED : close_header(topic->fd, &header, &error);
    if (closing == SOMEBODY_THERE)
        return AGAIN;
    if (closing == NOT_WRITTEN) {
        if (state != HEADER_SOUND) /* nobody can have joined what it says */
            unlinkat(topic->directory.fd, file, 0);
        return say_create_failed(topic, error);
    }
    if (state != HEADER_EMPTY)
        segment_sweep_all(topic->directory.access.key_seed);
    status = create_roster(topic, &header);
    if (status && delete_if_unused(&topic->directory, file, topic->fd) == 0 && state == HEADER_EMPTY)
        unlinkat(topic->directory.fd, file, 0); /* a full disk; and nobody can have joined what it never said */
    return status ? status : topic_claim_slot(topic, kind, ret_slot);
}
