/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A publisher's memory as somebody sees it who takes no part. Readers name what they read in a cell, so that it stays;
 * a tool names nothing, so memory may be used again under its eyes. It looks as one does under a sequence lock:
 *
 *   look                                          publisher
 *   g = generation of the extent (acquire, L2)    generation = 0; full fence (H1)
 *   records, each within what is mapped           ... writes the extent again
 *   fence; generation is g still? then they count
 *
 * Nothing is kept attached between looks: memory of the dead would stay as long as a tool that was stopped.
 * Called under process_lock().
 */
#ifndef TARN_CORE_PEEK_H
#define TARN_CORE_PEEK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/inspect.h"
#include "shm/remote.h"

/* An extent of the log, as it was when the look began. */
struct peek_extent {
    uint64_t generation, first_sequence;
    extent_ref ref;
};

struct peek {
    struct remote remote;
    uint64_t mapped_bytes;
    struct peek_extent *extents; /* by generation */
    uint32_t count;
};

/* Attaches what there is of the memory of that life. 0 or a negative errno. */
int peek_open(struct peek *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation);
void peek_close(struct peek *peek);

/* Who publishes to a log: what was sent, and the newest messages that are there. */
void peek_log(struct peek *peek, struct inspect_traffic *ret);

/*
 * How many messages somebody may have to read yet, whose word says that generation: from least to most. False: no
 * telling.
 */
bool peek_behind(const struct peek *peek, uint64_t generation, uint64_t sent, uint64_t *ret_least, uint64_t *ret_most);

/* What lies at a place of an arena. False: nothing that can be one. */
bool peek_place(struct peek *peek, uint64_t place, uint64_t *ret_bytes, uint64_t *ret_number);

#endif
