/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What became of a topic's counters since the last look. See look.h. */
#include <stdlib.h>
#include <string.h>

#include "cli/look.h"

struct meter_mark {
    const char *what;
    uint64_t id, sent;
};

static bool is_of(const struct meter_mark *mark, const struct inspect_flow *flow) {
    return mark->id == flow->id && strcmp(mark->what, flow->what) == 0;
}

/* The order seldom changes, so it is mostly the first that is looked at. */
static const struct meter_mark *find(const struct meter *meter, const struct inspect_flow *flow, uint32_t likely) {
    for (uint32_t i = 0; i < meter->count; i++) {
        const struct meter_mark *mark = &meter->marks[(likely + i) % meter->count];
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

bool meter_update(struct meter *meter, const struct inspect_topic *topic, struct amount *ret) {
    uint32_t count = topic ? topic->flow_count : 0;
    struct meter_mark *marks = malloc((count + 1) * sizeof(*marks));
    if (!marks)
        return false;
    if (topic && topic->life != meter->life) /* made anew: its numbers start again */
        meter->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct inspect_flow *flow = &topic->flows[i];
        const struct meter_mark *mark = find(meter, flow, i);
        uint64_t before = mark ? mark->sent : meter->started ? 0 : flow->traffic.sent;
        ret[i] = amount_of(flow, flow->traffic.sent > before ? flow->traffic.sent - before : 0);
        marks[i] = (struct meter_mark){flow->what, flow->id, flow->traffic.sent};
    }
    free(meter->marks);
    meter->marks = marks;
    meter->count = count;
    meter->life = topic ? topic->life : 0;
    meter->started = true;
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
