/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What tarn top shows: the topics of the last look, what went through them since the one before, and in which order. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top.h"

const char *const top_sort_names[TOP_SORTS + 1] = {"name", "rate", "bytes", "lag", "lost", "memory", NULL};

/* ---- one topic ------------------------------------------------------------------------------------------------ */

static void summarise(struct top_row *row) {
    const struct inspect_topic *topic = row->topic;
    row->behind = row->lost = row->memory = 0;
    row->members = 0;
    for (uint32_t i = 0; i < topic->participant_count; i++) {
        const struct inspect_participant *who = &topic->participants[i];
        bool is_alive = who->life == INSPECT_ALIVE;
        row->members += is_alive && !is_role(who, "log");
        row->memory += who->bytes_held;
        if (!who->publisher && is_alive && is_role(who, "subscriber"))
            row->lost += who->lost;
        if (is_alive && who->behind_least > row->behind)
            row->behind = who->behind_least;
    }
    for (uint32_t i = 0; i < topic->participant_count; i++)
        row->behind += topic->participants[i].queue.waiting;
    row->problems = advice_for(topic, NULL, NULL);
}

/* False: no memory. */
static bool measure(struct top_row *row, int64_t interval_ns) {
    struct amount sum = {.is_sized = true};
    struct amount *amounts = realloc(row->amounts, (row->topic->flow_count + 1) * sizeof(*amounts));
    if (!amounts)
        return false;
    row->amounts = amounts;
    if (!meter_update(&row->meter, row->topic, amounts))
        return false;
    for (uint32_t i = 0; i < row->topic->flow_count; i++)
        amount_add(&sum, &amounts[i]);
    row->has_rate = interval_ns > 0;
    row->is_sized = sum.is_sized;
    row->messages = row->has_rate ? (double)sum.messages * 1e9 / (double)interval_ns : 0;
    row->bytes = row->has_rate ? sum.bytes * 1e9 / (double)interval_ns : 0;
    if (row->has_rate) {
        float *sample = row->history[row->samples++ % TOP_HISTORY];
        sample[0] = (float)row->messages;
        sample[1] = (float)row->bytes;
    }
    return true;
}

static void free_row(struct top_row *row) {
    meter_free(&row->meter);
    free(row->amounts);
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

static int by_name(const void *name, const void *row) {
    return strcmp(name, ((const struct top_row *)row)->name);
}

struct top_row *top_model_find(struct top_model *model, const char *name) {
    return model->count ? bsearch(name, model->rows, model->count, sizeof(*model->rows), by_name) : NULL;
}

/* Rows for the topics of the new domain: those that were there go on, with what they know. False: no memory. */
static bool take_over(struct top_model *model, const struct inspect_domain *domain) {
    struct top_row *rows = calloc(domain->topic_count + 1, sizeof(*rows));
    uint32_t *order = calloc(domain->topic_count + 1, sizeof(*order));
    if (!rows || !order) {
        free(rows);
        free(order);
        return false;
    }
    for (uint32_t i = 0; i < domain->topic_count; i++) {
        struct top_row *before = top_model_find(model, domain->topics[i].name);
        if (before) {
            rows[i] = *before;
            before->meter = (struct meter){0};
            before->amounts = NULL;
        }
        strcpy(rows[i].name, domain->topics[i].name);
        rows[i].topic = &domain->topics[i];
        if (!before && model->looked_ns > 0) /* it came since */
            rows[i].meter = (struct meter){.started = true, .looked_ns = model->looked_ns};
    }
    for (uint32_t i = 0; i < model->count; i++)
        free_row(&model->rows[i]);
    free(model->rows);
    free(model->order);
    model->rows = rows;
    model->order = order;
    model->count = domain->topic_count;
    return true;
}

static bool measure_all(struct top_model *model) {
    model->messages = model->bytes = 0;
    model->members = 0;
    for (uint32_t i = 0; i < model->count; i++) {
        struct top_row *row = &model->rows[i];
        if (!measure(row, model->interval_ns))
            return false;
        summarise(row);
        model->messages += row->messages;
        model->bytes += row->bytes;
        model->members += row->members;
    }
    return true;
}

bool top_model_look(struct top_model *model) {
    struct inspect_domain *domain;
    if (inspect_domain_open(&domain, model->place.directory, model->place.domain) < 0)
        return false;
    int64_t now = clock_ns();
    if (!take_over(model, domain)) {
        inspect_domain_close(domain);
        return false;
    }
    inspect_domain_close(model->domain);
    model->domain = domain;
    model->interval_ns = model->looked_ns ? now - model->looked_ns : 0;
    model->looked_ns = now;
    bool done = measure_all(model);
    top_model_arrange(model);
    return done;
}

void top_model_close(struct top_model *model) {
    for (uint32_t i = 0; i < model->count; i++)
        free_row(&model->rows[i]);
    free(model->rows);
    free(model->order);
    inspect_domain_close(model->domain);
    *model = (struct top_model){0};
}

/* ---- filter and order ----------------------------------------------------------------------------------------- */

static bool is_wanted(const struct top_model *model, const char *name) {
    if (strpbrk(model->filter, "*?["))
        return fnmatch(model->filter, name, 0) == 0;
    return strstr(name, model->filter) != NULL;
}

static double value_of(const struct top_row *row, enum top_sort sort) {
    switch (sort) {
    case TOP_RATE:
        return row->messages;
    case TOP_BYTES:
        return row->bytes;
    case TOP_LAG:
        return (double)row->behind;
    case TOP_LOST:
        return (double)row->lost;
    case TOP_MEMORY:
        return (double)row->memory;
    default:
        return 0;
    }
}

/* Largest first; names from a to z. */
static int compare(const void *a, const void *b, void *context) {
    const struct top_model *model = context;
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    double x = value_of(&model->rows[left], model->sort), y = value_of(&model->rows[right], model->sort);
    int order = x > y ? -1 : x < y ? 1 : left < right ? -1 : left > right;
    return model->reverse ? -order : order;
}

void top_model_arrange(struct top_model *model) {
    model->shown = 0;
    for (uint32_t i = 0; i < model->count; i++)
        if (is_wanted(model, model->rows[i].name))
            model->order[model->shown++] = i;
    if (model->shown)
        qsort_r(model->order, model->shown, sizeof(*model->order), compare, model);
}
