/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a topic's shared memory says, as a view for tools: see inspect.h. */
#ifndef TARN_CORE_VIEW_H
#define TARN_CORE_VIEW_H

#include "core/inspect.h"
#include "core/topic.h"

/*
 * Fills in what the roster, which is attached, and the publishers' memory say. False: no memory. Under process_lock().
 */
bool view_fill(struct inspect_topic *view, struct topic *topic);

/* Frees what the view has, not itself. */
void view_clear(struct inspect_topic *view);

#endif
