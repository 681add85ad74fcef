/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A topic as this process knows it: its file, its roster, and the slots that this process has locked. All handles of
 * the process on one topic share it; it ends with the last of them.
 *
 * Joining takes no lock that another process could keep: a slot's byte is locked without waiting, and then the file is
 * looked at again. Only creating, replacing and deleting the file happen under the master lock:
 *
 *   joiner                              creator or sweeper, under the master lock
 *   attach the roster that is named     header: closed
 *   lock a slot's byte                  is any slot's byte locked?
 *   header unchanged and open?   <-F1-> yes: header as it was, open; look again
 *   file still at its path?             no: a new roster in the header, or unlink
 *
 * F1: both sides write (a lock, the header) before they read (the header, the locks), through the kernel, so at least
 * one sees the other. models/roster.pml checks it.
 *
 * Everything here is called under process_lock().
 */
#ifndef TARN_CORE_TOPIC_H
#define TARN_CORE_TOPIC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/directory.h"
#include "core/topic_file.h"
#include "shm/remote.h"
#include "shm/roster.h"

enum slot_kind { PUBLISHER, SUBSCRIBER };

struct topic {
    struct topic *next;
    unsigned users;
    struct directory directory;
    char name[TARN_TOPIC_BYTES_MAX + 1];
    int fd;
    dev_t device;
    ino_t inode;
    struct roster roster;
    uint64_t own[2][SUBSCRIBERS_MAX / 64]; /* by slot_kind: slots locked by this process, whose lock it cannot see */
    struct remote *remotes;
};

/*
 * Joins a topic: finds or makes it, and claims a slot, which is left OPENING with identity filled in. The topic's
 * pattern is settled, and must be that; PATTERN_NONE: any will do. 0 or a status.
 */
int topic_join(struct topic **ret, uint32_t *ret_slot, const char *name, const char *directory, const char *domain,
               enum slot_kind kind, enum pattern pattern);

/*
 * Claims another slot, likewise, in a topic that this process has joined, wherever its file is by now. 0 or a status.
 */
int topic_join_again(struct topic *topic, uint32_t *ret_slot, enum slot_kind kind);

enum pattern topic_pattern(const struct topic *topic);
const char *topic_pattern_text(enum pattern pattern); /* "publish and subscribe" */

/*
 * Leaves: the slot, already FREE, is unlocked; the topic goes with its last user, and its file if nobody else is in it.
 */
void topic_leave(struct topic *topic, enum slot_kind kind, uint32_t slot);

/* A peer damaged the roster so that a slot just claimed is not found. Returns TARN_ERROR_DAMAGED. */
int topic_say_damaged(const struct topic *topic);

/* Whether the file at the topic's path is still the one that this process joined. */
bool topic_is_in_place(const struct topic *topic);

/* After a change to slots: who waits looks again. Takes no lock. */
void topic_ring(struct topic *topic);
/* The same where it matters to one subscriber only, who sleeps on its own bell. */
void topic_ring_for(struct topic *topic, uint32_t subscriber);
/* After a publisher added memory, which who keeps it has to attach before the publisher may die. Takes no lock. */
void topic_ring_keepers(struct topic *topic);
/* After a commit whose order to the bell the caller has seen to (B1). */
void topic_wake(struct topic *topic);
/* The same for one subscriber that sleeps on its own bell. */
void topic_wake_subscriber(struct topic *topic, uint32_t slot);

/* File name of a subscriber's doorbell, in the topic's directory. */
#define DOORBELL_NAME_BYTES 48
void doorbell_name(char ret[static DOORBELL_NAME_BYTES], ino_t inode, uint32_t slot);

/* The mapping of a live publisher's segments, shared in the process. 0 or a negative errno. */
int topic_remote(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                 uint16_t incarnation);
/* As remote_open_in_part(): of one that may be dead. */
int topic_remote_in_part(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                         uint16_t incarnation);
void topic_remote_drop(struct topic *topic, struct remote *remote);

#endif
