/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What writers and readers of a blackboard share with each other, and with the rest of the library. */
#ifndef TARN_CORE_BOARD_H
#define TARN_CORE_BOARD_H

#include "core/topic.h"
#include "core/waiter.h"
#include "shm/board.h"

/* The number of the key of that name, which is made if there is none; or a status. */
int board_find_key(struct topic *topic, const char *name, const struct roster_taker *taker);

/* tarn_reader, in a waitset. */

#endif
