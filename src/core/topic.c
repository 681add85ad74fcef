/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See topic.h. */
#include "core/topic.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/os.h"
#include "base/points.h"
#include "base/process.h"
#include "base/status.h"
#include "core/reaper.h"
#include "shm/bell.h"
#include "shm/segment.h"

#define MASTER_TIMEOUT_NS NS_PER_SECOND
#define MASTER_YIELDS 100u /* before the first sleep */
#define MASTER_RETRY_LEAST_NS 10000
#define MASTER_RETRY_NS NS_PER_MS
#define TRY_NS                                                                                                         \
    (3 * MASTER_RETRY_NS / 10) /* what opening, and a short sleep, take each time that the file has changed */
#define CLAIM_TRIES 16u        /* free slots whose byte somebody has locked */
#define PROBES 4u              /* slots in use whose owner a newcomer looks after, before it takes a new one */

enum { AGAIN = 1 }; /* the file or the roster changed under our hands: from the start */

static struct topic *topics;  /* of this process */
static struct topic *joining; /* being joined by some thread, which may wait without the lock */

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

static bool is_in_place(int directory_fd, const char *file, dev_t device, ino_t inode) {
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
    return is_in_place(topic->directory.fd, file, topic->device, topic->inode);
}

static bool fd_is_in_place(const struct directory *directory, const char *file, int fd) {
    struct stat state;
    return fstat(fd, &state) == 0 && is_in_place(directory->fd, file, state.st_dev, state.st_ino);
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

/*
 * Another process is waited for: this one's other threads go on meanwhile. The topic being joined is not in any list
 * yet; should another thread join it meanwhile, the two do not share it, as two copies of the library would not.
 */
static void sleep_unlocked(long ns) {
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

/*
 * Takes the lock. AGAIN: somebody has it, and was waited for for a while; or a status. tries: how often that was so.
 * patience_ns: what is left of it, counted in time slept, so that who is stopped meanwhile does not find it over.
 */
static int try_master(int fd, uint32_t tries, int64_t *patience_ns, const char *name) {
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
    sleep_unlocked(wait_ns);
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
        return error == -EAGAIN ? TARN_ERROR_BUSY : status_of_errno(-error);
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

static int attach_roster(struct topic *topic, const struct topic_header *header) {
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

static int claim(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot);

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
        return AGAIN; /* a joiner that will see that there is nothing to join, and let go */
    int status = attach_roster(topic, header);
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

/* Under the master lock: what does the file stand for now? 0: joined, slot claimed. */
static int settle(struct topic *topic, const char *file, enum slot_kind kind, uint32_t *ret_slot) {
    if (!is_in_place(topic->directory.fd, file, topic->device, topic->inode))
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
    return status ? status : claim(topic, kind, ret_slot);
}

/* ---- slots ---------------------------------------------------------------------------------------------------- */

static uint32_t slots_of(struct topic *topic, enum slot_kind kind) {
    return kind == PUBLISHER ? roster_publisher_slots(&topic->roster) : roster_subscriber_slots(&topic->roster);
}

/* When the slot became free; UINT64_MAX: it is not. Slots never used are the freest. */
static uint64_t free_since(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    if (slot_is_own(topic, kind, slot))
        return UINT64_MAX;
    if (kind == PUBLISHER) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        return publisher && load_acquire(&publisher->state) == SLOT_FREE ? load_relaxed(&publisher->freed_ns)
                                                                         : UINT64_MAX;
    }
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    return subscriber && load_acquire(&subscriber->state) == SLOT_FREE ? load_relaxed(&subscriber->freed_ns)
                                                                       : UINT64_MAX;
}

/* Locks the slot's byte if the slot is free. 0; -EAGAIN: somebody else was first; or another negative errno. */
static int lock_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    if (slot_is_own(topic, kind, slot))
        return -EAGAIN; /* our descriptor could lock, and then unlock, it again */
    int error = os_lock(topic->fd, slot_byte(kind, slot));
    if (error)
        return error;
    POINT(slot_locked);
    if (free_since(topic, kind, slot) == UINT64_MAX) {
        os_unlock(topic->fd, slot_byte(kind, slot));
        return -EAGAIN;
    }
    topic->own[kind][slot / 64] |= UINT64_C(1) << slot % 64;
    return 0;
}

static void forget_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    topic->own[kind][slot / 64] &= ~(UINT64_C(1) << slot % 64);
    os_unlock(topic->fd, slot_byte(kind, slot));
}

/* The slot free for longest among those used before. -ENOENT: none. */
static int claim_used(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    uint64_t after = 0; /* tried slots are those freed up to here; equal times are rare and cost only a new slot */
    for (uint32_t tries = 0; tries < CLAIM_TRIES; tries++) {
        uint64_t best = UINT64_MAX;
        for (uint32_t slot = 0, slots = slots_of(topic, kind); slot < slots; slot++) {
            uint64_t since = free_since(topic, kind, slot);
            if (since < best && (tries == 0 || since > after)) {
                best = since;
                *ret_slot = slot;
            }
        }
        if (best == UINT64_MAX)
            return -ENOENT;
        int error = lock_slot(topic, kind, *ret_slot);
        if (error != -EAGAIN)
            return error;
        after = best;
    }
    return -ENOENT;
}

static bool make_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    return kind == PUBLISHER ? (void *)roster_make_publisher(&topic->roster, slot) != NULL
                             : (void *)roster_make_subscriber(&topic->roster, slot) != NULL;
}

static int claim_new(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    _Atomic uint32_t *used =
        kind == PUBLISHER ? &topic->roster.header->publisher_slots : &topic->roster.header->subscriber_slots;
    uint32_t limit = kind == PUBLISHER ? PUBLISHERS_MAX : SUBSCRIBERS_MAX;
    for (uint32_t slot = slots_of(topic, kind); slot < limit; slot++) {
        if (!make_slot(topic, kind, slot))
            return -ENOMEM;
        int error = lock_slot(topic, kind, slot);
        if (error == -EAGAIN)
            continue;
        if (error)
            return error;
        POINT(slot_not_counted);
        /* killed here: the slot is free, and not counted yet */
        for (uint32_t seen = load_relaxed(used); seen <= slot && !compare_and_swap(used, &seen, slot + 1);)
            ;
        *ret_slot = slot;
        return 0;
    }
    return -ENOENT;
}

/* A look at some slots in use, so that what the dead left is found by those who come. */
static bool reap_some(struct topic *topic, enum slot_kind kind, uint32_t most) {
    uint32_t slots = slots_of(topic, kind);
    uint32_t start = slots ? (uint32_t)(os_random() % slots) : 0;
    bool any = false;
    for (uint32_t i = 0; i < slots && i < most; i++)
        any |= slot_reap(topic, kind, (start + i) % slots, true);
    return any;
}

static int find_slot(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    int error = claim_used(topic, kind, ret_slot);
    if (error == -ENOENT && reap_some(topic, kind, PROBES))
        error = claim_used(topic, kind, ret_slot);
    if (error == -ENOENT)
        error = claim_new(topic, kind, ret_slot);
    if (error == -ENOENT && reap_some(topic, kind, UINT32_MAX))
        error = claim_used(topic, kind, ret_slot);
    return error;
}

static void begin_slot(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    if (kind == PUBLISHER) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        if (!publisher)
            return; /* a peer damaged the link to it: opening says so */
        slot_next_incarnation(&publisher->incarnation);
        POINT(incarnation_raised);
        store_release(&publisher->state, SLOT_OPENING);
        POINT(slot_opening);
        process_identify(&publisher->who);
        for (uint32_t i = 0; i < sizeof(publisher->pattern_words) / sizeof(publisher->pattern_words[0]); i++)
            store_relaxed(&publisher->pattern_words[i], 0);
        return;
    }
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    if (!subscriber)
        return; /* a peer damaged the link to it: opening says so */
    slot_next_incarnation(&subscriber->incarnation);
    store_release(&subscriber->state, SLOT_OPENING);
    process_identify(&subscriber->who);
    store_relaxed(&subscriber->taken, 0);
    store_relaxed(&subscriber->lost, 0);
    store_relaxed(&subscriber->role, ROLE_PLAIN);
    store_relaxed(&subscriber->load, 0);
    store_relaxed(&subscriber->attached, 0);
    POINT(slot_identified);
    /* killed here, in either: locked by nobody and not FREE, so it is reaped */
}

static int say_no_slot(const struct topic *topic, enum slot_kind kind, int error) {
    if (error == -ENOENT)
        return fail(TARN_ERROR_LIMIT, "topic \"%s\" has as many %s as there can be (%u)", topic->name,
                    kind == PUBLISHER ? "publishers" : "subscribers",
                    kind == PUBLISHER ? PUBLISHERS_MAX : SUBSCRIBERS_MAX);
    return fail_system(status_of_errno(-error), -error, "topic \"%s\": cannot claim a place in it", topic->name);
}

static int claim(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    int error = find_slot(topic, kind, ret_slot);
    if (error == 0)
        return 0;
    roster_detach(&topic->roster);
    return say_no_slot(topic, kind, error);
}

/* ---- joining and leaving -------------------------------------------------------------------------------------- */

static bool same_roster(const struct topic_header *a, const struct topic_header *b) {
    return a->open && b->open && a->roster.id == b->roster.id && a->roster.nonce == b->roster.nonce;
}

/* Without any lock but that of the slot. AGAIN: something is being created or deleted, or is to be. */
static int join_living(struct topic *topic, const char *file, enum slot_kind kind, uint32_t *ret_slot) {
    struct topic_header header, now;
    if (topic_header_read(&header, topic->fd) != HEADER_SOUND || !header.open || !topic_file_in_use(topic->fd))
        return AGAIN;
    int status = attach_roster(topic, &header);
    if (status)
        return status;
    status = claim(topic, kind, ret_slot);
    if (status)
        return status;
    POINT(joiner_locked);
    /* F1: the byte is locked; now look again */
    if (topic_header_read(&now, topic->fd) == HEADER_SOUND && same_roster(&header, &now) &&
        is_in_place(topic->directory.fd, file, topic->device, topic->inode))
        return 0;
    forget_slot(topic, kind, *ret_slot);
    roster_detach(&topic->roster);
    return AGAIN;
}

static int join_file(struct topic *topic, const char *file, enum slot_kind kind, uint32_t *ret_slot,
                     int64_t *patience_ns) {
    if (topic_file_identify(topic) != 0)
        return fail_system(TARN_ERROR_SYSTEM, errno, "topic \"%s\": cannot look at its file", topic->name);
    int status = AGAIN;
    for (uint32_t tries = 0; status == AGAIN; tries++) { /* whoever has the lock may be making what we can join then */
        status = join_living(topic, file, kind, ret_slot);
        if (status != AGAIN)
            return status;
        status = try_master(topic->fd, tries, patience_ns, topic->name);
    }
    if (status)
        return status;
    status = settle(topic, file, kind, ret_slot);
    os_unlock(topic->fd, TOPIC_LOCK_MASTER);
    return status;
}

static int join_new(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    char file[TARN_TOPIC_BYTES_MAX + 1];
    topic_file_name(file, topic->name);
    int64_t patience_ns = MASTER_TIMEOUT_NS;
    for (uint32_t tries = 0;; tries++) {
        int status = topic_file_open(&topic->directory, file, topic->name, true, &topic->fd);
        if (status == 0) {
            status = join_file(topic, file, kind, ret_slot, &patience_ns);
            if (status == 0)
                return 0;
            close(topic->fd);
            topic->fd = -1;
        }
        if (status != AGAIN)
            return status;
        if (patience_ns <= 0)
            return fail(TARN_ERROR_BUSY,
                        "topic \"%s\": its file in %s keeps changing; somebody creates and deletes it all the time",
                        topic->name, topic->directory.path);
        if (tries > 2)
            sleep_unlocked(MASTER_RETRY_NS / 10);
        patience_ns -= TRY_NS;
    }
}

static struct topic *find(const struct directory *directory, const char *name) {
    struct stat wanted, state;
    if (fstat(directory->fd, &wanted) != 0)
        return NULL;
    for (struct topic *topic = topics; topic; topic = topic->next)
        if (strcmp(topic->name, name) == 0 && fstat(topic->directory.fd, &state) == 0 &&
            state.st_dev == wanted.st_dev && state.st_ino == wanted.st_ino && topic_is_in_place(topic))
            return topic;
    return NULL;
}

static void unlist(struct topic **list, struct topic *topic) {
    while (*list && *list != topic)
        list = &(*list)->next;
    if (*list)
        *list = topic->next;
}

static void close_all(struct topic *list) {
    for (struct topic *topic = list; topic; topic = topic->next) {
        if (topic->fd >= 0)
            close(topic->fd); /* never unlocked: the locks are the parent's too */
        close(topic->directory.fd);
    }
}

static void forget_parent(void) {
    close_all(topics);
    close_all(joining);
    topics = joining = NULL; /* their memory stays with the inherited handles */
}

static int join_first(struct topic **ret, uint32_t *ret_slot, const struct directory *directory, const char *name,
                      enum slot_kind kind) {
    struct topic *topic = calloc(1, sizeof(*topic));
    if (!topic) {
        directory_close((struct directory *)directory);
        return fail(TARN_ERROR_NO_MEMORY, "no memory for topic \"%s\"", name);
    }
    process_forget_parent = forget_parent;
    topic->directory = *directory;
    topic->fd = -1;
    strcpy(topic->name, name);
    topic->next = joining;
    joining = topic;
    int status = join_new(topic, kind, ret_slot);
    unlist(&joining, topic);
    if (status) {
        directory_close(&topic->directory);
        free(topic);
        return status;
    }
    topic->next = topics;
    topics = topic;
    *ret = topic;
    return 0;
}

enum pattern topic_pattern(const struct topic *topic) {
    return load_acquire(&topic->roster.header->pattern);
}

const char *topic_pattern_text(enum pattern pattern) {
    switch (pattern) {
    case PATTERN_MESSAGES:
        return "publish and subscribe";
    case PATTERN_SERVICE:
        return "requests and responses";
    case PATTERN_EVENTS:
        return "events";
    case PATTERN_BLACKBOARD:
        return "a blackboard";
    case PATTERN_QUEUE:
        return "a work queue";
    case PATTERN_NONE:
        break;
    }
    return "nothing known";
}

/* The first one settles it. */
static int settle_pattern(struct topic *topic, enum pattern pattern) {
    uint32_t settled = PATTERN_NONE;
    if (pattern == PATTERN_NONE || compare_and_swap(&topic->roster.header->pattern, &settled, (uint32_t)pattern) ||
        settled == pattern)
        return 0;
    if (settled > PATTERN_QUEUE)
        return topic_say_damaged(topic);
    return fail(TARN_ERROR_PATTERN, "topic \"%s\" is in use for %s, and cannot be used for %s: take another name",
                topic->name, topic_pattern_text(settled), topic_pattern_text(pattern));
}

int topic_join_again(struct topic *topic, uint32_t *ret_slot, enum slot_kind kind) {
    int error = find_slot(topic, kind, ret_slot);
    if (error)
        return say_no_slot(topic, kind, error);
    begin_slot(topic, kind, *ret_slot);
    topic->users++;
    return 0;
}

int topic_join(struct topic **ret, uint32_t *ret_slot, const char *name, const char *directory_path, const char *domain,
               enum slot_kind kind, enum pattern pattern) {
    int status = topic_name_check(name);
    if (status)
        return status;
    struct directory directory;
    status = directory_open(&directory, directory_path, domain, true);
    if (status)
        return status;
    struct topic *topic = find(&directory, name);
    if (topic) {
        directory_close(&directory);
        status = topic_join_again(topic, ret_slot, kind);
        if (status)
            return status;
    } else {
        status = join_first(&topic, ret_slot, &directory, name, kind);
        if (status)
            return status;
        begin_slot(topic, kind, *ret_slot);
        topic->users++;
    }
    status = settle_pattern(topic, pattern);
    if (status) {
        if (kind == PUBLISHER)
            publisher_slot_clear(topic, *ret_slot, false);
        else
            subscriber_slot_clear(topic, *ret_slot, false);
        topic_leave(topic, kind, *ret_slot);
        return status;
    }
    *ret = topic;
    return 0;
}

void topic_leave(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    forget_slot(topic, kind, slot);
    topic_ring(topic);
    if (--topic->users > 0)
        return;
    unlist(&topics, topic);
    roster_detach(&topic->roster);
    char file[TARN_TOPIC_BYTES_MAX + 1];
    topic_file_name(file, topic->name);
    if (!topic_file_in_use(topic->fd))
        topic_file_sweep(&topic->directory, file, topic->fd);
    close(topic->fd);
    directory_close(&topic->directory);
    free(topic);
}

/* ---- bells ---------------------------------------------------------------------------------------------------- */

void doorbell_name(char ret[static DOORBELL_NAME_BYTES], ino_t inode, uint32_t slot) {
    snprintf(ret, DOORBELL_NAME_BYTES, "@%" PRIx64 "-%" PRIu32, (uint64_t)inode, slot);
}

static void ring_doorbell(struct topic *topic, struct subscriber_slot *subscriber, uint32_t slot) {
    if (load_acquire(&subscriber->doorbell) != DOORBELL_ARMED)
        return;
    char name[DOORBELL_NAME_BYTES];
    doorbell_name(name, topic->inode, slot);
    int fd = openat(topic->directory.fd, name, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC); /* no SIGPIPE */
    if (fd < 0)
        return;
    POINT(doorbell_not_rung);
    (void)!write(fd, "", 1); /* full: it has been rung often enough */
    close(fd);
}

/* But for monitors' and keepers', which have bells of their own. */
static void ring_doorbells(struct topic *topic) {
    if (!load_relaxed(&topic->roster.header->doorbells))
        return;
    uint32_t slots = roster_subscriber_slots(&topic->roster);
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        uint32_t role = subscriber ? load_relaxed(&subscriber->role) : ROLE_PLAIN;
        if (subscriber && role != ROLE_MONITOR && role != ROLE_KEEPER)
            ring_doorbell(topic, subscriber, slot);
    }
}

void topic_wake(struct topic *topic) {
    if (!bell_win(&topic->roster.header->bell))
        return;
    POINT(bell_won);
    os_futex_wake_all(&topic->roster.header->bell);
    ring_doorbells(topic);
}

void topic_wake_subscriber(struct topic *topic, uint32_t slot) {
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    if (!subscriber || !bell_win(&subscriber->bell))
        return;
    POINT(own_bell_won);
    /* killed here: it finds what there is in its slice, as with the topic's bell */
    os_futex_wake_all(&subscriber->bell);
    ring_doorbell(topic, subscriber, slot);
}

static void count_change(struct topic *topic) {
    atomic_fetch_add_explicit(&topic->roster.header->changes, 1, memory_order_seq_cst); /* R1 */
    POINT(change_counted);
    full_fence(); /* B1 */
}

void topic_ring_for(struct topic *topic, uint32_t subscriber) {
    count_change(topic);
    topic_wake_subscriber(topic, subscriber);
}

void topic_ring(struct topic *topic) {
    count_change(topic);
    topic_wake(topic);
    if (topic_pattern(topic) != PATTERN_SERVICE && !load_relaxed(&topic->roster.header->monitors))
        return;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++)
        topic_wake_subscriber(topic, slot);
}

void topic_ring_keepers(struct topic *topic) {
    full_fence(); /* B1 */
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        if (subscriber && load_relaxed(&subscriber->role) == ROLE_KEEPER)
            topic_wake_subscriber(topic, slot);
    }
}

/* ---- remotes -------------------------------------------------------------------------------------------------- */

typedef int open_remote(struct remote *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation);

static int find_remote(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                       uint16_t incarnation, open_remote *open) {
    for (struct remote *remote = topic->remotes; remote; remote = remote->next)
        if (remote->slot == slot && remote->incarnation == incarnation) {
            remote->users++;
            *ret = remote;
            return 0;
        }
    struct remote *remote = malloc(sizeof(*remote));
    if (!remote)
        return -ENOMEM;
    int error = open(remote, publisher, slot, incarnation);
    if (error) {
        free(remote);
        return error;
    }
    remote->users = 1;
    remote->next = topic->remotes;
    topic->remotes = remote;
    *ret = remote;
    return 0;
}

int topic_remote(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                 uint16_t incarnation) {
    return find_remote(topic, ret, publisher, slot, incarnation, remote_open);
}

int topic_remote_in_part(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                         uint16_t incarnation) {
    return find_remote(topic, ret, publisher, slot, incarnation, remote_open_in_part);
}

void topic_remote_drop(struct topic *topic, struct remote *remote) {
    if (--remote->users > 0)
        return;
    for (struct remote **link = &topic->remotes; *link; link = &(*link)->next)
        if (*link == remote) {
            *link = remote->next;
            break;
        }
    remote_close(remote);
    free(remote);
}
