/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See remains.h. */
#include "core/remains.h"

#include <errno.h>

#include "core/board.h"
#include "shm/queue.h"

/* Its memory as this process can have it. NULL with *ret_unknown: whether somebody has it cannot be told from here. */
static struct remote *find_remote(struct topic *topic, struct publisher_slot *publisher, uint32_t slot,
                                  bool *ret_unknown) {
    struct remote *remote = NULL;
    int error = topic_remote_in_part(topic, &remote, publisher, slot, incarnation_of(&publisher->incarnation));
    if (!error) {
        int rest = remote_attach_all(remote); /* it may have been attached here before there were as many */
        *ret_unknown = rest && rest != -EINVAL;
        return remote;
    }
    *ret_unknown = error != -EINVAL;
    return NULL;
}

static bool is_waiting(struct queue_cell *cell) {
    enum queue_state state = queue_state_of(load_acquire(&cell->state));
    return state == QUEUE_FREE || state == QUEUE_OWNED;
}

/* Whether a message that is not over is where it can be had. */
static bool queue_has_messages(struct topic *topic, struct publisher_slot *publisher, uint32_t slot) {
    struct queue_ring ring;
    if (!queue_find(&ring, &topic->roster, publisher))
        return roster_is_unreachable(&topic->roster, load_acquire(&publisher->queue.list));
    struct remote *remote = NULL;
    bool found = false;
    for (uint64_t number = 0; number < ring.capacity && !found; number++) {
        struct queue_cell *cell = queue_cell_of(&ring, number);
        if (!is_waiting(cell))
            continue;
        if (!remote && !(remote = find_remote(topic, publisher, slot, &found)))
            break; /* gone, for all of them, or not to be told */
        found |= remote_has_segment_of(remote, place_extent(load_relaxed(&cell->place)));
    }
    if (remote)
        topic_remote_drop(topic, remote);
    return found;
}

bool remains_are_needed(struct topic *topic, uint32_t slot) {
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    switch (topic_pattern(topic)) {
    case PATTERN_QUEUE:
        return publisher && queue_has_messages(topic, publisher, slot);
    case PATTERN_NONE:
    case PATTERN_MESSAGES:
    case PATTERN_SERVICE:
    case PATTERN_EVENTS:
        break;
    case PATTERN_BLACKBOARD:
        return board_remains(topic, slot);
    }
    return false;
}
