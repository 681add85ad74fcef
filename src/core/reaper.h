/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Who is alive, and repair of those who are not, by whoever looks. The kernel's evidence alone counts: a slot whose
 * byte of the topic file is unlocked, though its state says that somebody is there; or, since a stray child may keep
 * the lock, a process that no longer exists.
 *
 * A repairer holds the slot's repair byte, so there is one at a time; if it dies, the byte is free, and the next one
 * starts over: every step of a repair may be done twice. Called under process_lock().
 */
#ifndef TARN_CORE_REAPER_H
#define TARN_CORE_REAPER_H

#include "core/topic.h"
#include "shm/extents.h"

int64_t slot_byte(enum slot_kind kind, uint32_t slot);
bool slot_is_own(const struct topic *topic, enum slot_kind kind, uint32_t slot);

/*
 * Whether the slot's owner is dead. False for slots that are free. One system call for a living owner; with thorough,
 * some more: then an owner whose lock a stray child keeps is found, too.
 */
bool slot_is_dead(struct topic *topic, enum slot_kind kind, uint32_t slot, bool thorough);

/* Repairs the slot if its owner is dead. Returns whether it is free now because of that. */
bool slot_reap(struct topic *topic, enum slot_kind kind, uint32_t slot, bool thorough);

/*
 * For readers.h, context being the topic: whether that reader is dead, and buried. One who is dead need not be repaired
 * to be waited for no longer: whoever is at it may be stopped.
 */
bool reap_reader(void *topic, const struct reader *reader);

/*
 * The same for all who keep memory of a publisher, now and then: it takes microseconds per reader. Not under
 * process_lock().
 */
void reap_blocking(struct topic *topic, struct readers *readers, struct extents *extents, int64_t *looked_ns);

/*
 * Where space is not wanted, some of those who hold what is_held_long are asked for: what the dead held would stay
 * until it is. Four at a time, chosen at random, as each question takes the longer the more participants there are.
 */
void reap_holding(struct topic *topic, struct readers *readers, struct extents *extents);

/* What leaving and repair have in common: the slot's traces go, then it is FREE. The caller owns the slot. */
void publisher_slot_clear(struct topic *topic, uint32_t slot, bool died);
void subscriber_slot_clear(struct topic *topic, uint32_t slot, bool died);

/*
 * Instead of clearing, where a keeper has the log of messages: the slot says that its life is over, and keeps what it
 * names and its incarnation. The caller owns it.
 */
void publisher_slot_keep(struct topic *topic, uint32_t slot, bool died);

/* Raises a slot's incarnation, past the value whose low 16 bits are 0. */
uint16_t slot_next_incarnation(_Atomic uint32_t *incarnation);

#endif
