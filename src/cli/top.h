/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn top, in parts:
 *
 *   top.c          the verb, and --once                 top_model.c   what is shown: topics, rates, order, filter
 *   top_screen.c   the terminal: taken, given back      top_detail.c  the page about one topic, as lines of text
 *   top_draw.c     what is where on it
 *   top_keys.c     what a key does
 *
 * Only the three on the left, and keys, need ncurses: they are left out where it is missing.
 */
#ifndef TARN_CLI_TOP_H
#define TARN_CLI_TOP_H

#include "cli/look.h"

/* ---- top_model.c ---------------------------------------------------------------------------------------------- */

enum { TOP_HISTORY = 240, TOP_FILTER_BYTES = 64 };

enum top_sort { TOP_NAME, TOP_RATE, TOP_BYTES, TOP_LAG, TOP_LOST, TOP_MEMORY, TOP_SORTS };
extern const char *const top_sort_names[TOP_SORTS + 1]; /* as --sort has them */

struct top_row {
    char name[256];
    const struct inspect_topic *topic; /* of the last look; NULL: it is gone */
    struct meter meter;
    struct amount *amounts; /* of each of the topic's flows */
    double messages, bytes; /* per second */
    bool is_sized, has_rate;
    uint64_t behind;  /* of the subscriber that is furthest behind, at least; jobs that wait */
    uint64_t lost;    /* by subscribers that are there */
    uint64_t memory;  /* held by publishers */
    uint32_t members; /* alive, all roles */
    size_t problems;
    float history[TOP_HISTORY][2]; /* rates of messages and bytes; the newest at samples - 1, round about */
    uint32_t samples;
};

struct top_model {
    struct place place;
    struct inspect_domain *domain; /* the last look */
    struct top_row *rows;          /* by name */
    uint32_t count;
    uint32_t *order; /* those to be shown, as they are to be shown */
    uint32_t shown;
    enum top_sort sort;
    bool reverse;
    char filter[TOP_FILTER_BYTES]; /* part of the name; or a pattern, with * ? [ */
    int64_t looked_ns, interval_ns;
    double messages, bytes; /* of all */
    uint32_t members;
};

/* Looks at all topics. False: it failed, and tarn_error() says why; what was there is kept. */
bool top_model_look(struct top_model *model);
/* Filters and sorts anew. */
void top_model_arrange(struct top_model *model);
void top_model_close(struct top_model *model);
/* NULL: there is none of that name any more. */
struct top_row *top_model_find(struct top_model *model, const char *name);

/* ---- top_detail.c --------------------------------------------------------------------------------------------- */

enum top_style { TOP_PLAIN, TOP_HEAD, TOP_WRONG };

struct top_line {
    enum top_style style;
    char text[256];
};

struct top_lines {
    struct top_line *list;
    uint32_t count, capacity;
};

/* What is to be said of a topic, in lines of up to that many columns. */
void top_detail_fill(struct top_lines *lines, const struct top_model *model, const struct top_row *row, int columns);

/* ---- top_screen.c, top_draw.c, top_keys.c --------------------------------------------------------------------- */

struct top_view {
    struct top_model *model;
    char selected[256];    /* a topic's name, so that it stays when the order changes; "": the first */
    uint32_t index, first; /* its place in the order, and what is at the top of the screen */
    bool is_detail, is_paused, is_help, is_over, edits_filter, is_stale;
    bool has_color, has_utf8;
    int64_t interval_ns;
    struct top_lines lines; /* of the detail page */
    uint32_t line;          /* the first that is shown */
    char note[256];         /* instead of the help line: what went wrong */
};

/* Takes the terminal until the user ends it. Returns an exit code. */
int top_screen_run(struct top_model *model, int64_t interval_ns);
void top_draw(struct top_view *view);
uint32_t top_draw_rows(const struct top_view *view); /* how many topics fit */
void top_key(struct top_view *view, int key);
/* The selected topic's place in the order, after that changed. */
void top_keys_follow(struct top_view *view);

#endif
