/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See segment.h. Backend SYSV. */
#include "shm/segment.h"

#include <errno.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "base/atomics.h"
#include "base/os.h"
#include "base/points.h"

/*
 * logind's RemoveIPC, when a user's last session ends, removes what he owns and nobody has attached: also what is about
 * to be. It does so once, and ends. So does who sweeps for a dead one from another pid namespace.
 */
#define REMOVALS_MAX 16

static void keep_private(void *base, uint64_t bytes) {
    madvise(base, bytes, MADV_DONTDUMP);
    madvise(base, bytes, MADV_DONTFORK);
}

/* errno of shmat: removed means gone, and what may not be locked into memory (mlockall) is memory that is lacking. */
static int attach_errno(void) {
    return errno == EIDRM ? EINVAL : errno == EAGAIN ? ENOMEM : errno;
}

/* Key number i of a topic; never 0, which is IPC_PRIVATE. */
static uint32_t key_of(uint32_t seed, uint32_t i) {
    return ((seed + i) * 0x9e3779b1u) | 1;
}

/* Makes a segment under the first key that is not taken, noted before. If others squat on all of them: without one. */
static int get_segment(uint64_t bytes, _Atomic uint32_t *key_note, uint32_t seed) {
    for (uint32_t i = 0; i < SEGMENT_KEYS; i++) {
        uint32_t key = key_of(seed, i);
        if (key_note)
            store_release(key_note, key);
        int id = shmget((key_t)key, bytes, IPC_CREAT | IPC_EXCL | 0600);
        if (id >= 0 || errno != EEXIST)
            return id;
    }
    return shmget(IPC_PRIVATE, bytes, 0600);
}

/* Makes and attaches a segment. 0, or a negative errno, with nothing left. */
static int get_attached(void **ret_base, int *ret_id, uint64_t bytes, _Atomic uint32_t *key_note, uint32_t seed) {
    for (int tries = 0;; tries++) {
        *ret_id = get_segment(bytes, key_note, seed);
        if (*ret_id < 0)
            return -errno;
        POINT(segment_made);
        /* killed here: an empty segment under a key of the topic; swept by whoever repairs the noter, or the topic. */
        *ret_base = shmat(*ret_id, NULL, 0);
        if (*ret_base != (void *)-1)
            return 0;
        int error = -attach_errno();
        bool removed = shmctl(*ret_id, IPC_RMID, NULL) != 0 && (errno == EINVAL || errno == EIDRM);
        if (!removed || tries == REMOVALS_MAX)
            return error;
    }
}

/* Who may attach. What cannot be had is left out: who tries it is told so. */
static void admit(int id, const struct segment_access *access, bool others_write) {
    struct shmid_ds settings;
    if (shmctl(id, IPC_STAT, &settings) != 0)
        return;
    mode_t mode = access->directory_mode & (others_write ? 0666 : 0444);
    gid_t own_group = settings.shm_perm.gid;
    settings.shm_perm.gid = access->group;
    settings.shm_perm.mode = mode | 0400;
    if (shmctl(id, IPC_SET, &settings) == 0)
        return;
    settings.shm_perm.gid = own_group; /* our user namespace does not know the directory's */
    settings.shm_perm.mode = (mode & 0606) | 0400;
    shmctl(id, IPC_SET, &settings);
}

int segment_create(void **ret_base, int32_t *ret_id, uint64_t bytes, _Atomic uint32_t *key_note,
                   const struct segment_access *access, bool others_write) {
    void *base;
    int id;
    int error = get_attached(&base, &id, bytes, key_note, access->key_seed);
    if (!error) {
        admit(id, access, others_write);
        if (shmctl(id, IPC_RMID, NULL) != 0) {
            error = -errno;
            shmdt(base);
        }
    }
    POINT(segment_marked);
    /* killed here: the kernel frees it with this process. */
    if (key_note)
        store_release(key_note, 0);
    if (error)
        return error;
    keep_private(base, bytes);
    *ret_base = base;
    *ret_id = id;
    return 0;
}

int segment_attach(void **ret_base, int32_t id, uint64_t bytes, bool writable) {
    void *base = shmat(id, NULL, writable ? 0 : SHM_RDONLY);
    if (base == (void *)-1)
        return -attach_errno();
    struct shmid_ds state; /* attached now, so the id cannot come to name another segment */
    int error = shmctl(id, IPC_STAT, &state) != 0 ? attach_errno() : state.shm_segsz < bytes ? EINVAL : 0;
    if (error) {
        shmdt(base);
        return -error;
    }
    keep_private(base, state.shm_segsz);
    *ret_base = base;
    return 0;
}

void segment_detach(void *base) {
    if (base)
        shmdt(base);
}

/* The segment of that key, if its maker died before he could mark it; else -1. */
static int find_orphan(uint32_t key) {
    int id = shmget((key_t)key, 0, 0);
    struct shmid_ds state;
    if (id < 0 || shmctl(id, IPC_STAT, &state) != 0 || state.shm_nattch != 0)
        return -1;
    /*
     * Keys are taken in turn, so one that a dead process noted may be a living one's, between shmget and shmat. 0: a
     * process of another pid namespace, of which nothing can be told; should it live, it makes another.
     */
    return state.shm_cpid > 0 && !os_pid_is_dead(state.shm_cpid) ? -1 : id;
}

static bool sweep(uint32_t key) {
    int id = find_orphan(key);
    return id >= 0 && shmctl(id, IPC_RMID, NULL) == 0;
}

bool segment_sweep(uint32_t key_seed, uint32_t key_noted) {
    for (uint32_t i = 0; i < SEGMENT_KEYS; i++)
        if (key_noted == key_of(key_seed, i))
            return sweep(key_noted);
    return false; /* none, or a peer's lie: whatever has that key is nobody's here */
}

uint32_t segment_sweep_all(uint32_t key_seed) {
    uint32_t swept = 0;
    for (uint32_t i = 0; i < SEGMENT_KEYS; i++)
        swept += sweep(key_of(key_seed, i));
    return swept;
}

uint32_t segment_count_orphans(uint32_t key_seed) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < SEGMENT_KEYS; i++)
        count += find_orphan(key_of(key_seed, i)) >= 0;
    return count;
}
