/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Places in a topic's roster: a slot that is free is locked, and then ours. All calls are under process_lock(). */
#ifndef TARN_CORE_TOPIC_SLOTS_H
#define TARN_CORE_TOPIC_SLOTS_H

#include "core/topic.h"

/* Locks a free slot's byte, after a look at some whose owner may have died. 0 or a negative errno; -ENOENT: none. */
int topic_find_slot(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot);

/* What topic_find_slot() answered, as a status. */
int topic_say_no_slot(const struct topic *topic, enum slot_kind kind, int error);

/* The two in one, in a roster that was attached for it, and is detached if there is none. 0 or a status. */
int topic_claim_slot(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot);

/* A slot that was found becomes OPENING, with who we are. */
void topic_begin_slot(struct topic *topic, enum slot_kind kind, uint32_t slot);

/* Its byte is unlocked, and the slot another's to take. */
void topic_forget_slot(struct topic *topic, enum slot_kind kind, uint32_t slot);

#endif
