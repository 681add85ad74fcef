/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What became of a topic's counters since the last look. See look.h. */
#include <stdlib.h>
#include <string.h>

#include "cli/look.h"

enum { UNSEEN_MAX = 256 };        /* marks of such as the last look did not find, the newest */
#define OPENING_MAX_NS (NS_PER_S) /* who takes longer from its opening to being seen is no newcomer */

struct meter_mark {
    const char *what;
    uint64_t id, sent;
    bool seen; /* in the look that goes on */
};

static bool is_of(const struct meter_mark *mark, const struct inspect_flow *flow) {
    return mark->id == flow->id && strcmp(mark->what, flow->what) == 0;
}

/* The order seldom changes, so it is mostly the first that is looked at. */
static struct meter_mark *find(const struct meter *meter, const struct inspect_flow *flow, uint32_t likely) {
    for (uint32_t i = 0; i < meter->count; i++) {
        struct meter_mark *mark = &meter->marks[(likely + i) % meter->count];
        if (is_of(mark, flow))
            return mark;
    }
    return NULL;
}

static struct amount amount_of(const struct inspect_flow *flow, uint64_t messages) {
    const struct inspect_traffic *traffic = &flow->traffic;
    struct amount amount = {messages, 0, traffic->seen || !messages};
    if (traffic->seen)
        amount.bytes = (double)traffic->seen_bytes / (double)traffic->seen * (double)messages;
    return amount;
}

/* What it had sent at the look before, which has no mark of it. Events and keys are new: they are no sender's. */
static uint64_t sent_before(const struct meter *meter, const struct inspect_topic *topic,
                            const struct inspect_flow *flow) {
    if (!meter->started)
        return flow->traffic.sent;
    if (flow->participant >= topic->participant_count)
        return 0;
    const struct inspect_participant *who = &topic->participants[flow->participant];
    bool is_old = who->identity == flow->id && who->opened_ns < meter->looked_ns - OPENING_MAX_NS;
    return is_old ? flow->traffic.sent : 0;
}

/* Puts what was not seen behind the count that were. Returns how many there are then. */
static uint32_t keep_unseen(const struct meter *meter, struct meter_mark *marks, uint32_t count) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < meter->count && kept < UNSEEN_MAX; i++)
        if (!meter->marks[i].seen)
            marks[count + kept++] = meter->marks[i];
    return count + kept;
}

bool meter_update(struct meter *meter, const struct inspect_topic *topic, struct amount *ret) {
    uint32_t count = topic ? topic->flow_count : 0;
    struct meter_mark *marks = malloc((count + UNSEEN_MAX) * sizeof(*marks));
    if (!marks)
        return false;
    if (topic && topic->life && topic->life != meter->life) /* made anew: its numbers start again */
        meter->count = 0;
    for (uint32_t i = 0; i < meter->count; i++)
        meter->marks[i].seen = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct inspect_flow *flow = &topic->flows[i];
        struct meter_mark *mark = find(meter, flow, i);
        uint64_t before = mark ? mark->sent : sent_before(meter, topic, flow);
        if (mark)
            mark->seen = true;
        ret[i] = amount_of(flow, flow->traffic.sent > before ? flow->traffic.sent - before : 0);
        marks[i] = (struct meter_mark){flow->what, flow->id, flow->traffic.sent, true};
    }
    count = keep_unseen(meter, marks, count);
    free(meter->marks);
    meter->marks = marks;
    meter->count = count;
    if (topic && topic->life)
        meter->life = topic->life;
    meter->started = true;
    meter->looked_ns = clock_ns();
    return true;
}

void meter_free(struct meter *meter) {
    free(meter->marks);
    *meter = (struct meter){0};
}

void amount_add(struct amount *sum, const struct amount *amount) {
    sum->messages += amount->messages;
    sum->bytes += amount->bytes;
    sum->is_sized &= amount->is_sized;
}
