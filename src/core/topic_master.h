/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A topic's file, and what happens under its master lock: creating, replacing, deleting. See F1 in topic.h. All calls
 * are under process_lock().
 */
#ifndef TARN_CORE_TOPIC_MASTER_H
#define TARN_CORE_TOPIC_MASTER_H

#include "core/topic.h"

#define MASTER_RETRY_NS NS_PER_MS /* the longest sleep before the lock is tried again */

enum { AGAIN = 1 }; /* the file or the roster changed under our hands: from the start */

/* ---- the file, for who looks into topics without joining them, too ---- */

/*
 * Opens a topic's file, if it is a plain file. Returns 0, 1 (absent), or a status.
 */
int topic_file_open(const struct directory *directory, const char *file, const char *name, bool create, int *ret_fd);
/*
 * Deletes the file if nobody is in it. 1: deleted; 0: in use; or a status (TARN_ERROR_BUSY: somebody has the master).
 */
int topic_file_sweep(const struct directory *directory, const char *file, int fd);
/* Notes which file topic->fd is, and what follows from that. 0, or -1 and errno. */
int topic_file_identify(struct topic *topic);
bool topic_file_in_use(int fd);

/* Whether the directory has that file in its place. */
bool topic_file_is_in_place(int directory_fd, const char *file, dev_t device, ino_t inode);

/* ---- joining ---- */

/*
 * Another process is waited for: this one's other threads go on meanwhile. The topic being joined is not in any list
 * yet; should another thread join it meanwhile, the two do not share it, as two copies of the library would not.
 */
void topic_sleep_unlocked(long ns);

/*
 * Takes the lock. AGAIN: somebody has it, and was waited for for a while; or a status. tries: how often that was so.
 * patience_ns: what is left of it, counted in time slept, so that who is stopped meanwhile does not find it over.
 */
int topic_try_master(int fd, uint32_t tries, int64_t *patience_ns, const char *name);

/* The roster that the header names. 0; AGAIN: it is gone; or a status. */
int topic_attach_roster(struct topic *topic, const struct topic_header *header);

/* Under the master lock: what does the file stand for now? 0: joined, slot claimed; AGAIN; or a status. */
int topic_settle(struct topic *topic, const char *file, enum slot_kind kind, uint32_t *ret_slot);

#endif
