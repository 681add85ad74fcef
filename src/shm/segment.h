/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Segments: memory that belongs to the kernel and goes with its last user. Four functions are the whole backend; a
 * reference to a segment (struct segment_ref in layout.h) names its backend, so another one is one more file.
 *
 * Backend SYSV: shmget, attach, IPC_SET, IPC_RMID. Linux lets others attach a segment by id after its removal was marked,
 * while anyone is attached, and frees it with the last detach, also by kill -9. There is no name to leak.
 */
#ifndef TARN_SHM_SEGMENT_H
#define TARN_SHM_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct segment_name { /* a local, checked copy of a struct segment_ref */
    uint32_t backend;
    int32_t id;
    uint64_t bytes;
    uint64_t nonce;
};

/* Who may attach: the topic directory's group and permission bits. */
struct segment_access {
    gid_t group;
    mode_t directory_mode;
};

/*
 * Creates a segment of at least bytes, attached writable, zeroed, marked for removal; others may attach it as access
 * says, for writing only if others_write. key: noted by the caller, where a repairer finds it, before the call.
 * Every attach is kept out of core dumps and forks. Returns 0 or a negative errno; ret_base and ret_id on success.
 */
int segment_create(void **ret_base, int32_t *ret_id, uint64_t bytes, uint32_t key, const struct segment_access *access,
                   bool others_write);

/*
 * Attaches segment id if it exists and is at least bytes large. What it contains is not looked at: the caller compares
 * magic and nonce. Returns 0 or a negative errno (-EINVAL: gone, too small, or of another IPC namespace).
 */
int segment_attach(void **ret_base, int32_t id, uint64_t bytes, bool writable);

void segment_detach(void *base);

/*
 * Removes the orphan that a death between shmget and IPC_RMID leaves: the segment of that key, if nobody is attached.
 * Returns whether there was one.
 */
bool segment_sweep(uint32_t key);

#endif
