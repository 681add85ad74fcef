/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Events: what notifiers (notifier.c), listeners (listener.c) and repairers have in common. The counters themselves are
 * in shm/counters.h.
 */
#ifndef TARN_CORE_EVENTS_H
#define TARN_CORE_EVENTS_H

#include "core/topic.h"
#include "core/waiter.h"

/* 0, or the status that says why that is no event. */
int event_check_id(const struct topic *topic, uint32_t id);
int event_say_failed(const struct topic *topic, int error);

/*
 * Before a dead publisher's slot is cleared: if it was a notifier whose death is to raise an event, it is raised, once.
 * False: that cannot be done now, so the slot must not be cleared. Under process_lock().
 */
bool events_raise_death(struct topic *topic, uint32_t slot);

#endif
