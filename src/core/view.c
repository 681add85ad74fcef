/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * See view.h. First all places are gone through, for who is there; then the publishers' memory, one after the other,
 * for what they sent and how far each subscriber is; then what the pattern has in the roster.
 */
#include "core/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "core/peek.h"
#include "core/reaper.h"
#include "core/roles.h"
#include "core/type.h"
#include "shm/board.h"
#include "shm/counters.h"
#include "shm/queue.h"
#include "tarn.h"

#define LINKS_MAX (1u << 20) /* subscribers times publishers */
#define JOBS_SEEN 256u       /* of the newest, whose size is looked at */

/* Makes place for one more in a list. False: no memory. */
static bool grow(void **list, uint32_t count, size_t item_bytes) {
    if (count & (count + 1))
        return true;
    void *larger = realloc(*list, (2 * (size_t)count + 1) * item_bytes);
    if (larger)
        *list = larger;
    return larger;
}

/* ---- who is there --------------------------------------------------------------------------------------------- */

static bool add_participant(struct inspect_topic *view, const struct inspect_participant *participant) {
    if (!grow((void **)&view->participants, view->participant_count, sizeof(*participant)))
        return false;
    view->participants[view->participant_count++] = *participant;
    return true;
}

static enum inspect_life life_of(struct topic *topic, enum slot_kind kind, uint32_t slot, uint32_t state) {
    if (state == SLOT_LEAVING && kind == PUBLISHER)
        return INSPECT_LEFT;
    if (slot_is_dead(topic, kind, slot, true))
        return INSPECT_DEAD;
    return state == SLOT_LEAVING ? INSPECT_LEFT : INSPECT_ALIVE;
}

/* False: it does not say yet who it is, or is another's by now. */
static bool describe(struct inspect_participant *ret, const struct identity *who, _Atomic uint32_t *incarnation,
                     uint32_t state) {
    if (state == SLOT_OPENING && ret->life == INSPECT_ALIVE)
        return false;
    ret->identity = ret->publisher ? who->number : 0;
    ret->pid = who->pid;
    ret->same_pid_namespace = os_numbers_alike(who->namespaces);
    ret->uid = who->uid;
    ret->opened_ns = who->opened_ns;
    memcpy(ret->command, who->command, sizeof(ret->command));
    ret->command[sizeof(ret->command) - 1] = 0;
    full_fence();
    return incarnation_of(incarnation) == ret->incarnation;
}

/* Of writers and notifiers NULL: they wait for nobody. */
static const char *when_full_text(const struct topic *topic, struct publisher_slot *publisher) {
    enum pattern pattern = topic_pattern(topic);
    if (pattern == PATTERN_BLACKBOARD || pattern == PATTERN_EVENTS)
        return NULL;
    switch (load_relaxed(&publisher->when_full)) {
    case TARN_FULL_WAIT:
        return "waits";
    case TARN_FULL_FAIL:
        return "fails";
    case TARN_FULL_DROP:
        return "drops";
    }
    return NULL;
}

static bool view_publishers(struct inspect_topic *view, struct topic *topic) {
    uint32_t role = role_of(topic_pattern(topic), PUBLISHER, 0);
    for (uint32_t slot = 0, slots = roster_publisher_slots(&topic->roster); slot < slots; slot++) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        if (!publisher)
            continue;
        struct inspect_participant participant = {
            .publisher = true,
            .role = role ? tarn_role_text(role) : "log",
            .slot = slot,
            .incarnation = incarnation_of(&publisher->incarnation),
            .refuses_reliable = load_relaxed(&publisher->refuses_reliable),
            .realtime = load_relaxed(&publisher->realtime),
            .depth = load_relaxed(&publisher->depth),
            .limit_bytes = load_relaxed(&publisher->limit_bytes),
            .when_full = when_full_text(topic, publisher),
            .full_timeout_ns = load_relaxed(&publisher->full_timeout_ns),
            .waits = load_relaxed(&publisher->space) & 1,
            .wanted = load_relaxed(&publisher->wanted),
            .owner = INSPECT_NOBODY,
            .addressee = INSPECT_NOBODY,
        };
        uint32_t state = load_acquire(&publisher->state);
        if (state == SLOT_FREE)
            continue;
        participant.life = life_of(topic, PUBLISHER, slot, state);
        if (!describe(&participant, &publisher->who, &publisher->incarnation, state))
            continue;
        view->publishers += role && participant.life == INSPECT_ALIVE;
        if (!add_participant(view, &participant))
            return false;
    }
    return true;
}

static bool view_subscribers(struct inspect_topic *view, struct topic *topic) {
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        if (!subscriber)
            continue;
        struct inspect_participant participant = {
            .slot = slot,
            .incarnation = incarnation_of(&subscriber->incarnation),
            .reliable = load_relaxed(&subscriber->reliable),
            .messages = load_relaxed(&subscriber->taken),
            .lost = load_relaxed(&subscriber->lost),
            .load = load_relaxed(&subscriber->load),
            .owner = INSPECT_NOBODY,
            .addressee = INSPECT_NOBODY,
        };
        uint32_t state = load_acquire(&subscriber->state);
        if (state == SLOT_FREE)
            continue;
        uint32_t role = role_of(topic_pattern(topic), SUBSCRIBER, load_relaxed(&subscriber->role));
        participant.role = tarn_role_text(role);
        participant.life = life_of(topic, SUBSCRIBER, slot, state);
        if (!describe(&participant, &subscriber->who, &subscriber->incarnation, state))
            continue;
        if (role != TARN_ROLE_KEEPER)
            *(role == TARN_ROLE_MONITOR ? &view->monitors : &view->subscribers) += participant.life == INSPECT_ALIVE;
        if (!add_participant(view, &participant))
            return false;
    }
    return true;
}

static uint32_t first_subscriber(const struct inspect_topic *view) {
    uint32_t index = 0;
    while (index < view->participant_count && view->participants[index].publisher)
        index++;
    return index;
}

/* Of that slot and life; INSPECT_NOBODY: there is none. */
static uint32_t find_participant(const struct inspect_topic *view, bool publisher, uint32_t slot,
                                 uint16_t incarnation) {
    uint32_t low = publisher ? 0 : first_subscriber(view);
    uint32_t high = publisher ? first_subscriber(view) : view->participant_count;
    while (low < high) { /* by slot */
        uint32_t middle = low + (high - low) / 2;
        if (view->participants[middle].slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < view->participant_count && view->participants[low].publisher == publisher &&
                 view->participants[low].slot == slot && view->participants[low].incarnation == incarnation;
    return found ? low : INSPECT_NOBODY;
}

/* ---- flows ---------------------------------------------------------------------------------------------------- */

static struct inspect_flow *add_flow(struct inspect_topic *view, const char *what, uint64_t id, uint32_t participant) {
    if (!grow((void **)&view->flows, view->flow_count, sizeof(*view->flows)))
        return NULL;
    struct inspect_flow *flow = &view->flows[view->flow_count++];
    *flow = (struct inspect_flow){.what = what, .id = id, .participant = participant};
    return flow;
}

static bool add_events(struct inspect_topic *view, struct topic *topic) {
    struct counters counters = {.roster = &topic->roster};
    bool unreachable;
    counters.directory = roster_block(&topic->roster, load_acquire(&topic->roster.header->pattern_block));
    for (uint32_t id = 0, ids = counters.directory ? counters_look(&counters) : 0; id < ids; id++) {
        struct event_counter *block = counters_block(&counters, id, &unreachable);
        uint64_t total = block ? counter_total(&block[id % EVENT_IDS_PER_BLOCK]) : 0;
        if (total == 0)
            continue;
        struct inspect_flow *flow = add_flow(view, "events", id, INSPECT_NOBODY);
        if (!flow)
            return false;
        flow->traffic.sent = total;
    }
    return true;
}

static bool add_keys(struct inspect_topic *view, struct topic *topic) {
    struct board_key *key;
    for (uint32_t number = 0; (key = board_key(&topic->roster, number)); number++) {
        struct key_value value;
        char name[KEY_NAME_BYTES];
        if (!board_name(key, name) || !board_look(key, &value))
            continue;
        uint32_t writer = find_participant(view, true, key_owner_slot(value.owner), key_owner_incarnation(value.owner));
        struct inspect_flow *flow = add_flow(view, "values", number, writer);
        if (!flow)
            return false;
        memcpy(flow->name, name, sizeof(flow->name));
        flow->traffic.sent = load_relaxed(&key->version);
    }
    return true;
}

/* The size of a writer's values, its memory being attached. */
static void measure_values(struct inspect_topic *view, struct topic *topic, uint32_t writer, struct peek *peek) {
    const struct inspect_participant *who = &view->participants[writer];
    for (uint32_t i = 0; i < view->flow_count; i++) {
        struct inspect_flow *flow = &view->flows[i];
        struct board_key *key = flow->participant == writer ? board_key(&topic->roster, (uint32_t)flow->id) : NULL;
        struct key_value value, again;
        uint64_t bytes, version;
        if (!key || !board_look(key, &value) || value.owner != key_owner(who->slot, who->incarnation) ||
            !peek_place(peek, value.place, &bytes, &version))
            continue;
        full_fence();
        if (!board_look(key, &again) || again.current != value.current || again.place != value.place)
            continue; /* it may have been written over */
        flow->traffic.seen = 1;
        flow->traffic.seen_bytes = flow->traffic.last_bytes = bytes;
        flow->traffic.last_seen = true;
    }
}

/* ---- queues --------------------------------------------------------------------------------------------------- */

/* Message number of a ring, counted from 0, if it is there yet. */
static void view_job(struct inspect_participant *who, struct peek *peek, const struct queue_ring *ring,
                     uint64_t number) {
    struct queue_cell *cell = queue_cell_of(ring, number);
    uint64_t state = load_acquire(&cell->state), bytes, told; /* Q1 */
    if (queue_round_of(state) != queue_round(ring, number))
        return;
    who->queue.waiting += queue_state_of(state) == QUEUE_FREE;
    who->queue.in_work += queue_state_of(state) == QUEUE_OWNED;
    if (number + JOBS_SEEN < who->traffic.sent || !peek_place(peek, load_relaxed(&cell->place), &bytes, &told) ||
        told != number + 1)
        return;
    who->traffic.seen++;
    who->traffic.seen_bytes += bytes;
    who->traffic.last_bytes = bytes;
    who->traffic.last_seen = told == who->traffic.sent;
}

static void view_queue(struct inspect_participant *who, struct topic *topic, struct publisher_slot *publisher,
                       struct peek *peek) {
    struct queue_ring ring;
    if (!queue_find(&ring, &topic->roster, publisher))
        return;
    who->queue.capacity = (uint32_t)ring.capacity;
    who->queue.claim_limit_ns = load_relaxed(&publisher->queue.claim_limit_ns);
    who->queue.attempts_max = load_relaxed(&publisher->queue.attempts_max);
    uint64_t end = who->traffic.sent;
    for (uint64_t number = end > ring.capacity ? end - ring.capacity : 0; number < end; number++)
        view_job(who, peek, &ring, number);
}

/* ---- who is how far ------------------------------------------------------------------------------------------- */

/*
 * How many of the publisher's messages the subscriber has not read. One that is reliable and has not attached the
 * publisher has read nothing, and is waited for. False: no telling.
 */
static bool look_behind(struct inspect_link *ret, const struct inspect_participant *from,
                        const struct inspect_participant *to, const struct peek *peek, struct reader_row *row) {
    uint64_t cursor = row ? load_acquire(&row->cursor[row_place(to->slot)]) : 0;
    uint64_t oldest = row ? load_acquire(&row->oldest[row_place(to->slot)]) : 0;
    uint64_t sent = from->traffic.sent;
    bool waits = from->waits && from->life == INSPECT_ALIVE && to->reliable && to->life == INSPECT_ALIVE;
    if (stamp_of(cursor) == from->incarnation) {
        cursor &= COUNT_MASK;
        ret->behind_least = ret->behind_most = sent >= cursor ? sent + 1 - cursor : 0;
        ret->blocks = waits && cursor < from->wanted;
        return true;
    }
    if (oldest != GENERATION_GONE && stamp_of(oldest) == from->incarnation)
        return peek_behind(peek, oldest, sent, &ret->behind_least, &ret->behind_most);
    ret->behind_most = sent;
    ret->blocks = waits;
    return to->reliable && to->life == INSPECT_ALIVE;
}

static bool add_link(struct inspect_topic *view, const struct inspect_link *link) {
    struct inspect_participant *to = &view->participants[link->subscriber];
    if (!grow((void **)&view->links, view->link_count, sizeof(*link)))
        return false;
    view->links[view->link_count++] = *link;
    to->has_lag = true;
    to->behind_least += link->behind_least;
    to->behind_most += link->behind_most;
    return true;
}

static bool add_links(struct inspect_topic *view, struct topic *topic, uint32_t publisher, struct publisher_slot *slot,
                      const struct peek *peek) {
    const struct inspect_participant *from = &view->participants[publisher];
    uint32_t first = first_subscriber(view), subscribers = view->participant_count - first;
    if ((uint64_t)first * subscribers > LINKS_MAX) {
        view->links_left_out = true;
        return true;
    }
    for (uint32_t i = first; i < view->participant_count; i++) {
        const struct inspect_participant *to = &view->participants[i];
        struct inspect_link link = {.publisher = publisher, .subscriber = i};
        if (from->addressee != INSPECT_NOBODY && from->addressee != i)
            continue;
        struct reader_row *row = roster_row(&topic->roster, slot, to->slot);
        if (look_behind(&link, from, to, peek, row) && !add_link(view, &link))
            return false;
    }
    return true;
}

/* ---- what is kept --------------------------------------------------------------------------------------------- */

static bool add_kept(struct inspect_topic *view, struct topic *topic, uint32_t owner, struct publisher_slot *slot,
                     uint32_t segments) {
    const struct inspect_participant *from = &view->participants[owner];
    for (uint32_t i = first_subscriber(view); i < view->participant_count; i++) {
        const struct inspect_participant *to = &view->participants[i];
        if (to->life != INSPECT_ALIVE || strcmp(to->role, tarn_role_text(TARN_ROLE_KEEPER)) != 0)
            continue;
        struct reader_row *row = roster_row(&topic->roster, slot, to->slot);
        uint32_t word = row ? load_acquire(&row->attached[row_place(to->slot)]) : 0; /* V2 */
        uint32_t attached = word >> 16 == from->incarnation ? word & 0xffff : 0;
        if (attached == 0 && from->life == INSPECT_LEFT)
            continue; /* it was let go */
        if (view->kept_count == LINKS_MAX) {
            view->links_left_out = true;
            return true;
        }
        if (!grow((void **)&view->kept, view->kept_count, sizeof(*view->kept)))
            return false;
        view->kept[view->kept_count++] =
            (struct inspect_kept){owner, i, segments, attached < segments ? attached : segments};
    }
    return true;
}

/* ---- the publishers' memory ----------------------------------------------------------------------------------- */

static uint32_t named_peer(const struct inspect_topic *view, uint64_t word) {
    return find_participant(view, false, peer_slot(word), peer_incarnation(word));
}

static bool add_log_flow(struct inspect_topic *view, uint32_t index, const char *what) {
    struct inspect_participant *who = &view->participants[index];
    struct inspect_flow *flow = add_flow(view, what, who->identity, index);
    if (flow)
        flow->traffic = who->traffic;
    return flow;
}

/* What the pattern makes of a publisher's memory. */
static bool view_memory(struct inspect_topic *view, struct topic *topic, uint32_t index, struct publisher_slot *slot,
                        struct peek *peek) {
    struct inspect_participant *who = &view->participants[index];
    const char *what = "messages";
    switch (topic_pattern(topic)) {
    case PATTERN_EVENTS: /* there is none */
        return true;
    case PATTERN_BLACKBOARD:
        measure_values(view, topic, index, peek);
        return true;
    case PATTERN_QUEUE:
        who->traffic.sent = load_relaxed(&remote_header(&peek->remote)->sent) & COUNT_MASK;
        view_queue(who, topic, slot, peek);
        return add_log_flow(view, index, "jobs");
    case PATTERN_SERVICE:
        who->owner = named_peer(view, load_acquire(&slot->pattern_words[SERVICE_SPEAKER]));
        who->addressee = named_peer(view, load_acquire(&slot->pattern_words[SERVICE_ADDRESSEE]));
        what = who->owner != INSPECT_NOBODY && strcmp(view->participants[who->owner].role, "server") == 0 ? "responses"
                                                                                                          : "requests";
        break;
    case PATTERN_NONE:
    case PATTERN_MESSAGES:
        break;
    }
    peek_log(peek, &who->traffic);
    return add_links(view, topic, index, slot, peek) && add_log_flow(view, index, what);
}

static bool view_memories(struct inspect_topic *view, struct topic *topic) {
    for (uint32_t i = 0; i < view->participant_count && view->participants[i].publisher; i++) {
        struct inspect_participant *who = &view->participants[i];
        struct publisher_slot *slot = roster_publisher(&topic->roster, who->slot);
        struct peek peek;
        if (!slot || peek_open(&peek, slot, who->slot, who->incarnation) != 0)
            continue;
        who->has_memory = true;
        uint64_t held = load_relaxed(&remote_header(&peek.remote)->bytes_held);
        who->bytes_held = held < peek.mapped_bytes ? held : peek.mapped_bytes; /* some may have gone with its owner */
        who->bytes_mapped = peek.mapped_bytes;
        uint32_t segments = load_acquire(&remote_header(&peek.remote)->segment_count);
        bool done = view_memory(view, topic, i, slot, &peek) &&
                    add_kept(view, topic, i, slot, segments < SEGMENTS_MAX ? segments : SEGMENTS_MAX);
        who->messages = who->traffic.sent;
        peek_close(&peek);
        if (!done)
            return false;
    }
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

static const char *pattern_name(enum pattern pattern) {
    static const char *const names[] = {
        [PATTERN_MESSAGES] = "messages",     [PATTERN_SERVICE] = "service", [PATTERN_EVENTS] = "events",
        [PATTERN_BLACKBOARD] = "blackboard", [PATTERN_QUEUE] = "queue",
    };
    return (uint32_t)pattern < sizeof(names) / sizeof(names[0]) ? names[pattern] : NULL;
}

bool view_fill(struct inspect_topic *view, struct topic *topic) {
    enum pattern pattern = topic_pattern(topic);
    struct type_text type;
    if (type_read(&topic->roster, &type)) {
        memcpy(view->type_name, type.name, sizeof(view->type_name));
        memcpy(view->type_encoding, type.encoding, sizeof(view->type_encoding));
        view->type_bytes = type.bytes;
    }
    view->life = topic->roster.nonce;
    view->pattern = pattern_name(pattern);
    return view_publishers(view, topic) && view_subscribers(view, topic) &&
           (pattern != PATTERN_EVENTS || add_events(view, topic)) &&
           (pattern != PATTERN_BLACKBOARD || add_keys(view, topic)) && view_memories(view, topic);
}

void view_clear(struct inspect_topic *view) {
    free(view->participants);
    free(view->flows);
    free(view->links);
    free(view->kept);
}
