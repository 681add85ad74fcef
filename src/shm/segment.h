/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Segments: memory that belongs to the kernel and goes with its last user. Four functions are the whole backend; a
 * reference to a segment (struct segment_ref in layout.h) names its backend, so another one is one more file.
 *
 * Backend SYSV: shmget, attach, IPC_SET, IPC_RMID. Linux lets others attach a segment by id after its removal was
 * marked, while anyone is attached, and frees it with the last detach, also by kill -9. There is no name to leak.
 */
#ifndef TARN_SHM_SEGMENT_H
#define TARN_SHM_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SEGMENT_KEYS                                                                                                   \
    16u /* segments of a topic that can be in the making at one time; few, so that all can be looked for */

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
    uint32_t key_seed; /* of the topic: its keys for segments in the making follow from it */
};

/*
 * Creates a segment of at least bytes, attached writable, zeroed, marked for removal; others may attach it as access
 * says, for writing only if others_write. Until it is marked, it has one of the topic's SEGMENT_KEYS keys, which is
 * noted in key_note (NULL: nowhere) for whoever repairs us: there he finds the orphan that a death in between leaves.
 * Every attach is kept out of core dumps and forks. Returns 0 or a negative errno; ret_base and ret_id on success.
 */
int segment_create(void **ret_base, int32_t *ret_id, uint64_t bytes, _Atomic uint32_t *key_note,
                   const struct segment_access *access, bool others_write);

/*
 * Attaches segment id if it exists and is at least bytes large. What it contains is not looked at: the caller compares
 * magic and nonce. Returns 0 or a negative errno (-EINVAL: gone, too small, or of another IPC namespace).
 */
int segment_attach(void **ret_base, int32_t id, uint64_t bytes, bool writable);

void segment_detach(void *base);

/*
 * Removes the orphan that a death between shmget and IPC_RMID leaves: the segment of the key that the dead one noted,
 * if it is one of the topic's, nobody is attached, and its maker is gone. Returns whether there was one.
 */
bool segment_sweep(uint32_t key_seed, uint32_t key_noted);

/* Nobody being alive in the topic: removes whatever orphans it has, under all of its keys. Returns their number. */
uint32_t segment_sweep_all(uint32_t key_seed);

/* How many orphans the topic has. Changes nothing. */
uint32_t segment_count_orphans(uint32_t key_seed);

#endif
