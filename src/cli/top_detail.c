/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The page of tarn top about one topic, as lines of text: what is wrong, who is in it, events and keys. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top.h"

__attribute__((format(printf, 3, 4))) static void add(struct top_lines *lines, enum top_style style, const char *format,
                                                      ...) {
    if (lines->count == lines->capacity) {
        uint32_t capacity = lines->capacity ? 2 * lines->capacity : 32;
        struct top_line *list = realloc(lines->list, capacity * sizeof(*list));
        if (!list)
            return; /* the page ends here */
        lines->list = list;
        lines->capacity = capacity;
    }
    struct top_line *line = &lines->list[lines->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line->text, sizeof(line->text), format, arguments);
    va_end(arguments);
    line->style = style;
}

/* ---- what is wrong -------------------------------------------------------------------------------------------- */

struct wrapping {
    struct top_lines *lines;
    int columns;
};

/* A sentence in as many lines as it needs. */
static void add_sentence(void *context, const char *sentence) {
    const struct wrapping *wrapping = context;
    int width = wrapping->columns > 24 ? wrapping->columns - 4 : 20;
    for (const char *before = "! "; *sentence; before = "  ") {
        int length = (int)strlen(sentence), cut = length;
        if (length > width)
            for (cut = width; cut > 0 && sentence[cut] != ' ';)
                cut--;
        if (cut == 0)
            cut = width;
        add(wrapping->lines, TOP_WRONG, "%s%.*s", before, cut, sentence);
        for (sentence += cut; *sentence == ' ';)
            sentence++;
    }
}

/* ---- who is there --------------------------------------------------------------------------------------------- */

/* "3 min 20 s" as "3 min". */
static void short_age(char ret[static 16], const struct inspect_participant *who) {
    snprintf(ret, 16, "%s", age_text(who));
    char *space = strchr(ret, ' ');
    space = space ? strchr(space + 1, ' ') : NULL;
    if (space)
        *space = 0;
}

/* Of the participant's own flow; NULL: it has none. */
static const struct amount *amount_of(const struct top_row *row, uint32_t participant) {
    for (uint32_t i = 0; i < row->topic->flow_count; i++)
        if (row->topic->flows[i].participant == participant && !row->topic->flows[i].name[0])
            return &row->amounts[i];
    return NULL;
}

static const char *state_of(const struct inspect_participant *who) {
    return who->life == INSPECT_DEAD   ? "  dead"
           : who->life == INSPECT_LEFT ? "  left"
           : who->reliable             ? "  reliable"
                                       : "";
}

static int command_columns(bool is_wide) {
    return is_wide ? 15 : 13;
}

static void add_participant(struct top_lines *lines, const struct top_model *model, const struct top_row *row,
                            uint32_t index, bool is_wide) {
    const struct inspect_participant *who = &row->topic->participants[index];
    char command[16], age[16], count[16] = "-", rate[16] = "-", memory[32] = "-", behind[16] = "-", lost[16] = "-";
    const struct amount *amount = amount_of(row, index);
    plain_text(command, sizeof(command), who->command);
    short_age(age, who);
    if ((!who->publisher || who->has_memory) && !is_role(who, "monitor") && !is_role(who, "writer"))
        snprintf(count, sizeof(count), "%s", human_count((double)who->messages));
    if (amount && model->interval_ns > 0)
        snprintf(rate, sizeof(rate), "%s", human_count((double)amount->messages * 1e9 / (double)model->interval_ns));
    if (who->has_memory)
        snprintf(memory, sizeof(memory), "%s", human_bytes(who->bytes_held));
    if (who->has_lag)
        snprintf(behind, sizeof(behind), "%s%s",
                 who->behind_least == 0 || who->behind_least == who->behind_most ? "" : ">=",
                 human_count((double)who->behind_least));
    if (who->queue.capacity)
        snprintf(behind, sizeof(behind), "%s", human_count((double)who->queue.waiting));
    if (is_role(who, "subscriber"))
        snprintf(lost, sizeof(lost), "%s", human_count((double)who->lost));
    char user[32] = "";
    if (is_wide)
        snprintf(user, sizeof(user), "%-12.12s ", user_text(who->uid));
    add(lines, who->life == INSPECT_DEAD ? TOP_WRONG : TOP_PLAIN,
        "%-10s %7" PRId32 " %-*.*s %s%6s %6s %6s %9s %6s %6s%s", who->role, who->pid, command_columns(is_wide),
        command_columns(is_wide), command, user, age, count, rate, memory, behind, lost, is_wide ? state_of(who) : "");
}

static void add_participants(struct top_lines *lines, const struct top_model *model, const struct top_row *row,
                             bool is_wide) {
    add(lines, TOP_HEAD, "%-10s %7s %-*s %s%6s %6s %6s %9s %6s %6s", "ROLE", "PID", command_columns(is_wide), "COMMAND",
        is_wide ? "USER         " : "", "AGE", "COUNT", "RATE", "MEMORY", "BEHIND", "LOST");
    for (uint32_t i = 0; i < row->topic->participant_count; i++)
        add_participant(lines, model, row, i, is_wide);
}

/* ---- events and keys ------------------------------------------------------------------------------------------ */

static void add_counters(struct top_lines *lines, const struct top_model *model, const struct top_row *row) {
    bool has_head = false;
    for (uint32_t i = 0; i < row->topic->flow_count; i++) {
        const struct inspect_flow *flow = &row->topic->flows[i];
        bool is_key = flow->name[0];
        char name[64], size[32] = "-", count[16], rate[16] = "-";
        if (!is_key && flow->participant != INSPECT_NOBODY)
            continue;
        if (!has_head) {
            add(lines, TOP_PLAIN, "%s", "");
            add(lines, TOP_HEAD, "%-40s %9s %9s %10s", is_key ? "KEY" : "EVENT", is_key ? "VERSION" : "RAISED", "RATE",
                "SIZE");
        }
        has_head = true;
        if (is_key)
            plain_text(name, sizeof(name), flow->name);
        else
            snprintf(name, sizeof(name), "%" PRIu64, flow->id);
        if (flow->traffic.last_seen)
            snprintf(size, sizeof(size), "%s", human_bytes(flow->traffic.last_bytes));
        snprintf(count, sizeof(count), "%s", human_count((double)flow->traffic.sent));
        if (model->interval_ns > 0)
            snprintf(rate, sizeof(rate), "%s",
                     human_count((double)row->amounts[i].messages * 1e9 / (double)model->interval_ns));
        add(lines, TOP_PLAIN, "%-40.40s %9s %9s %10s", name, count, rate, size);
    }
}

void top_detail_fill(struct top_lines *lines, const struct top_model *model, const struct top_row *row, int columns) {
    struct wrapping wrapping = {lines, columns};
    lines->count = 0;
    if (!row || !row->topic) {
        add(lines, TOP_WRONG, "there is no such topic now");
        return;
    }
    if (advice_for(row->topic, add_sentence, &wrapping) > 0)
        add(lines, TOP_PLAIN, "%s", "");
    add_participants(lines, model, row, columns >= 100);
    add_counters(lines, model, row);
}
