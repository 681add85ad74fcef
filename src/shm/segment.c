/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See segment.h. Backend SYSV. */
#include "shm/segment.h"

#include <errno.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

static void keep_private(void *base, uint64_t bytes)
{
    madvise(base, bytes, MADV_DONTDUMP);
    madvise(base, bytes, MADV_DONTFORK);
}

/* errno of shmat: removed means gone, and what may not be locked into memory (mlockall) is memory that is lacking. */
static int attach_errno(void)
{
    return errno == EIDRM ? EINVAL : errno == EAGAIN ? ENOMEM : errno;
}

int segment_create(void **ret_base, int32_t *ret_id, uint64_t bytes, uint32_t key, const struct segment_access *access,
                   bool others_write)
{
    int id = shmget((key_t)key, bytes, IPC_CREAT | IPC_EXCL | 0600);
    if (id < 0)
        return -errno;
    /* killed here: an empty segment under the noted key; segment_sweep() by whoever repairs the noter. */
    void *base = shmat(id, NULL, 0);
    int error = base == (void *)-1 ? -attach_errno() : 0;
    if (!error) {
        mode_t readers = access->directory_mode & 0444;
        struct shmid_ds settings;
        if (shmctl(id, IPC_STAT, &settings) == 0) {
            settings.shm_perm.gid = access->group;
            settings.shm_perm.mode = (others_write ? readers | (access->directory_mode & 0222) : readers) | 0400;
            shmctl(id, IPC_SET, &settings); /* refused: only this user can attach, who else tries is told so */
        }
    }
    if (shmctl(id, IPC_RMID, NULL) != 0 && !error)
        error = -errno;
    /* killed here: the kernel frees it with this process. */
    if (error) {
        if (base != (void *)-1)
            shmdt(base);
        return error;
    }
    keep_private(base, bytes);
    *ret_base = base;
    *ret_id = id;
    return 0;
}

int segment_attach(void **ret_base, int32_t id, uint64_t bytes, bool writable)
{
    void *base = shmat(id, NULL, writable ? 0 : SHM_RDONLY);
    if (base == (void *)-1)
        return -attach_errno();
    struct shmid_ds state; /* attached now, so the id cannot come to name another segment */
    if (shmctl(id, IPC_STAT, &state) != 0 || state.shm_segsz < bytes) {
        shmdt(base);
        return -EINVAL;
    }
    keep_private(base, state.shm_segsz);
    *ret_base = base;
    return 0;
}

void segment_detach(void *base)
{
    if (base)
        shmdt(base);
}

bool segment_sweep(uint32_t key)
{
    int id = key ? shmget((key_t)key, 0, 0) : -1;
    struct shmid_ds state;
    if (id < 0 || shmctl(id, IPC_STAT, &state) != 0 || state.shm_nattch != 0)
        return false;
    return shmctl(id, IPC_RMID, NULL) == 0;
}
