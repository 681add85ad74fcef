/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What a publisher's slot stands for when its owner has left or died. Who holds messages has mapped them. But others
 * may still have to find what lies in its memory: messages of a queue that no worker has acknowledged, the values of a
 * blackboard's keys, and, where there is a keeper, the messages of a log. Such a slot is not cleared, so that its
 * memory can be found, as long as some process has attached it: the kernel frees memory that nobody has, whatever the
 * slot says.
 */
#ifndef TARN_CORE_REMAINS_H
#define TARN_CORE_REMAINS_H

#include "core/topic.h"

/*
 * Whether something in the memory of that slot, whose owner is gone, is needed yet, and can be had. thorough: as for
 * slot_is_dead(), which is asked about keepers. Under process_lock().
 */
bool remains_are_needed(struct topic *topic, uint32_t slot, bool thorough);

#endif
