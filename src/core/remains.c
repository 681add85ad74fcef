/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See remains.h. */
#include "core/remains.h"

#include <errno.h>

#include "core/reaper.h"
#include "shm/board.h"
#include "shm/queue.h"

/* Whether that error of attaching leaves open if somebody has it. */
static bool is_unknown(const struct topic *topic, int error) {
    return error && (error != -EINVAL || !roster_is_at_home(&topic->roster));
}

/* Its memory as this process can have it. NULL with *ret_unknown: whether somebody has it cannot be told from here. */
static struct remote *find_remote(struct topic *topic, struct publisher_slot *publisher, uint32_t slot,
                                  bool *ret_unknown) {
    struct remote *remote = NULL;
    int error = topic_remote_in_part(topic, &remote, publisher, slot, incarnation_of(&publisher->incarnation));
    if (!error) {
        int rest = remote_attach_all(remote); /* it may have been attached here before there were as many */
        *ret_unknown = is_unknown(topic, rest);
        return remote;
    }
    *ret_unknown = is_unknown(topic, error);
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
        return queue_is_unreachable(&topic->roster, publisher);
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

struct values {
    struct topic *topic;
    struct publisher_slot *publisher;
    uint32_t slot;
    struct remote *remote;
    bool is_gone; /* all of its memory */
};

static bool can_be_had(void *context, uint64_t place) {
    struct values *values = context;
    bool unknown = false;
    if (values->is_gone)
        return false;
    if (!values->remote) {
        values->remote = find_remote(values->topic, values->publisher, values->slot, &unknown);
        values->is_gone = !values->remote;
    }
    return unknown || (values->remote && remote_has_segment_of(values->remote, place_extent(place)));
}

/* Whether a value that is a key's latest is where it can be had. */
static bool board_has_values(struct topic *topic, struct publisher_slot *publisher, uint32_t slot) {
    struct values values = {.topic = topic, .publisher = publisher, .slot = slot};
    bool found = board_visit_places_of(&topic->roster, key_owner(slot, incarnation_of(&publisher->incarnation)),
                                       can_be_had, &values);
    if (values.remote)
        topic_remote_drop(topic, values.remote);
    return found;
}

/* Whether that keeper, if it is one, lives, and has said that it keeps this publisher's log. */
static bool keeps(struct topic *topic, struct publisher_slot *publisher, uint16_t incarnation, uint32_t keeper,
                  bool thorough) {
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, keeper);
    uint32_t state = subscriber ? load_acquire(&subscriber->state) : SLOT_FREE;
    if ((state != SLOT_JOINING && state != SLOT_LIVE) || load_relaxed(&subscriber->role) != ROLE_KEEPER)
        return false;
    struct reader_row *row = roster_row(&topic->roster, publisher, keeper);
    /* acquire, V2: it has the memory attached, before its owner or a repairer relies on that */
    return row && load_acquire(&row->attached[row_place(keeper)]) >> 16 == incarnation &&
           !slot_is_dead(topic, SUBSCRIBER, keeper, thorough);
}

/*
 * Whether somebody keeps the log of messages, and others find it. Who has read it, or reads it, does not count. Without
 * a reference to it somebody has begun to clear the slot, and a keeper came too late for him: who goes on for him
 * clears it.
 */
static bool log_has_keeper(struct topic *topic, struct publisher_slot *publisher, bool thorough) {
    uint16_t incarnation = incarnation_of(&publisher->incarnation);
    bool found = false;
    if (load_relaxed(&publisher->segment.backend) == BACKEND_NONE)
        return false;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots && !found; slot++)
        found = keeps(topic, publisher, incarnation, slot, thorough);
    return found;
}

bool remains_are_needed(struct topic *topic, uint32_t slot, bool thorough) {
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    switch (topic_pattern(topic)) {
    case PATTERN_QUEUE:
        return publisher && queue_has_messages(topic, publisher, slot);
    case PATTERN_MESSAGES:
        return publisher && log_has_keeper(topic, publisher, thorough);
    case PATTERN_NONE:
    case PATTERN_SERVICE:
    case PATTERN_EVENTS:
        break;
    case PATTERN_BLACKBOARD:
        return publisher && board_has_values(topic, publisher, slot);
    }
    return false;
}
