/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a participant is for its user: follows from the topic's pattern, the kind of its slot, and the slot's role. */
#ifndef TARN_CORE_ROLES_H
#define TARN_CORE_ROLES_H

#include "core/topic.h"

/* enum tarn_role; 0: no participant of its own, but memory of one that is in another slot. */
uint32_t role_of(enum pattern pattern, enum slot_kind kind, uint32_t slot_role);

#endif
