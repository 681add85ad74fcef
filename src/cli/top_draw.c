/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What is where on tarn top's screen. It is drawn as a whole each time; ncurses sends what differs. A line that would
 * be too long is cut, and a screen that is too small shows as much as fits.
 *
 *   what is looked at, and the sum            what is looked at, and the topic
 *   columns                                   its rates, and their history
 *   topics ...                                who is in it ...
 *   keys, or the filter                       keys
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <ncurses.h>

#include "cli/top.h"

enum {
    HEAD_LINES = 2,
    DETAIL_HEAD_LINES = 4,
    FOOT_LINES = 1,
    NAME_LEAST = 16,
    PATTERN_FROM = 96,
    HISTORY_FROM = 116,
    HISTORY_COLUMNS = 20
};

__attribute__((format(printf, 3, 4))) static void put(int line, int column, const char *format, ...) {
    char text[512];
    va_list arguments;
    if (line >= LINES || column >= COLS)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    mvaddnstr(line, column, text, COLS - column);
}

/* The whole line, so that what is behind the text has the same looks. */
static void put_bar(int line, attr_t looks, const char *text) {
    char padded[544];
    int width = COLS < (int)sizeof(padded) ? COLS : (int)sizeof(padded) - 1;
    snprintf(padded, sizeof(padded), "%-*.*s", width, width, text);
    attron(looks);
    put(line, 0, "%s", padded);
    attroff(looks);
}

static attr_t wrong_looks(const struct top_view *view) {
    return view->has_color ? A_BOLD | (attr_t)COLOR_PAIR(1) : A_BOLD;
}

static attr_t title_looks(const struct top_view *view) {
    return view->has_color ? A_BOLD | (attr_t)COLOR_PAIR(2) : A_BOLD;
}

/* ---- history -------------------------------------------------------------------------------------------------- */

/* The newest samples, as high as they are beside the highest of them; which: messages or bytes. */
static void draw_history(const struct top_view *view, const struct top_row *row, int line, int column, int columns,
                         int which) {
    static const char *const blocks[] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const letters[] = {" ", ".", ".", "-", "-", "=", "=", "#", "#"};
    uint32_t kept = row->samples < TOP_HISTORY ? row->samples : TOP_HISTORY;
    uint32_t shown = columns < 0 ? 0 : kept < (uint32_t)columns ? kept : (uint32_t)columns;
    float most = 0;
    for (uint32_t i = 0; i < shown; i++) {
        float value = row->history[(row->samples - 1 - i) % TOP_HISTORY][which];
        most = value > most ? value : most;
    }
    for (uint32_t i = 0; i < shown; i++) {
        float value = row->history[(row->samples - shown + i) % TOP_HISTORY][which];
        int level = value <= 0 ? 0 : 1 + (int)(value / most * 7.0f + 0.5f);
        put(line, column + columns - (int)shown + (int)i, "%s",
            (view->has_utf8 ? blocks : letters)[level > 8 ? 8 : level]);
    }
}

/* ---- the list ------------------------------------------------------------------------------------------------- */

uint32_t top_draw_rows(const struct top_view *view) {
    int used = FOOT_LINES + (view->is_detail ? DETAIL_HEAD_LINES : HEAD_LINES);
    return LINES > used ? (uint32_t)(LINES - used) : 0;
}

static bool shows_pattern(void) {
    return COLS >= PATTERN_FROM;
}

static bool shows_history(void) {
    return COLS >= HISTORY_FROM;
}

/* What the columns behind the name need. */
static int fixed_columns(void) {
    return 52 + (shows_pattern() ? 12 : 0) + (shows_history() ? HISTORY_COLUMNS + 2 : 0);
}

static int name_columns(void) {
    int columns = COLS - 2 - fixed_columns();
    return columns < NAME_LEAST ? NAME_LEAST : columns;
}

/* A name too long loses its middle. */
static void fit_name(char ret[static 300], const char *name, int columns) {
    int length = (int)strlen(name), tail = columns / 2;
    if (length <= columns)
        snprintf(ret, 300, "%-*s", columns, name);
    else
        snprintf(ret, 300, "%.*s~%s", columns - tail - 1, name, name + length - tail);
}

static void draw_columns(const struct top_view *view) {
    static const char *const titles[TOP_SORTS] = {"TOPIC", "RATE", "BYTES/S", "LAG", "LOST", "MEMORY"};
    char marked[TOP_SORTS][16], line[512];
    for (int i = 0; i < TOP_SORTS; i++)
        snprintf(marked[i], sizeof(marked[i]), "%s%s", titles[i],
                 i != (int)view->model->sort ? ""
                 : view->model->reverse      ? "^"
                                             : "*");
    snprintf(line, sizeof(line), "  %-*s %7s %10s %7s %7s %10s %4s%s%s", name_columns(), marked[TOP_NAME],
             marked[TOP_RATE], marked[TOP_BYTES], marked[TOP_LAG], marked[TOP_LOST], marked[TOP_MEMORY], "WHO",
             shows_pattern() ? "  PATTERN   " : "", shows_history() ? "  RATE, AS IT WAS" : "");
    put_bar(1, A_REVERSE, line);
}

static void describe(char ret[static 544], const struct top_row *row) {
    char name[300], rate[16] = "-", bytes[32] = "-", lag[16], lost[16], memory[32];
    fit_name(name, row->name, name_columns());
    if (row->has_rate) {
        snprintf(rate, sizeof(rate), "%s", human_count(row->messages));
        snprintf(bytes, sizeof(bytes), "%s", row->is_sized ? human_bytes((uint64_t)row->bytes) : "?");
    }
    snprintf(lag, sizeof(lag), "%s", human_count((double)row->behind));
    snprintf(lost, sizeof(lost), "%s", human_count((double)row->lost));
    snprintf(memory, sizeof(memory), "%s", human_bytes(row->memory));
    snprintf(ret, 512, "%s %s %7s %10s %7s %7s %10s %4" PRIu32, row->problems ? "!" : " ", name, rate, bytes, lag, lost,
             memory, row->members);
    if (shows_pattern())
        snprintf(ret + strlen(ret), 32, "  %-10.10s", row->topic->pattern ? row->topic->pattern : "-");
}

static void draw_topic(const struct top_view *view, const struct top_row *row, int line, bool is_selected) {
    char text[544];
    describe(text, row);
    put_bar(line, (is_selected ? A_REVERSE : A_NORMAL) | (row->problems ? wrong_looks(view) : A_NORMAL), text);
    if (shows_history())
        draw_history(view, row, line, COLS - HISTORY_COLUMNS, HISTORY_COLUMNS, 0);
}

static void draw_list(struct top_view *view) {
    const struct top_model *model = view->model;
    uint32_t rows = top_draw_rows(view);
    draw_columns(view);
    if (view->index < view->first)
        view->first = view->index;
    if (rows && view->index >= view->first + rows)
        view->first = view->index - rows + 1;
    if (model->shown <= rows)
        view->first = 0;
    else if (view->first > model->shown - rows)
        view->first = model->shown - rows;
    for (uint32_t i = 0; i < rows && view->first + i < model->shown; i++)
        draw_topic(view, &model->rows[model->order[view->first + i]], HEAD_LINES + (int)i,
                   view->first + i == view->index);
    if (model->shown == 0)
        put(HEAD_LINES + 1, 2,
            model->count ? "no topic has a name like that"
                         : "there are no topics: try 'tarn pub hello' and 'tarn sub hello'");
}

/* ---- the page about one --------------------------------------------------------------------------------------- */

static void draw_rates(const struct top_view *view, const struct top_row *row) {
    char text[64];
    int column = 26, columns = COLS - column - 1 < TOP_HISTORY ? COLS - column - 1 : TOP_HISTORY;
    snprintf(text, sizeof(text), "%s", human_count(row->messages));
    put(1, 0, "  rate     %10s /s", row->has_rate ? text : "-");
    snprintf(text, sizeof(text), "%s", row->is_sized ? human_bytes((uint64_t)row->bytes) : "?");
    put(2, 0, "  bytes    %10s/s", row->has_rate ? text : "-");
    for (int which = 0; which < 2; which++)
        draw_history(view, row, 1 + which, column, columns, which);
}

static void draw_detail(struct top_view *view) {
    const struct top_row *row = top_model_find(view->model, view->selected);
    uint32_t rows = top_draw_rows(view);
    top_detail_fill(&view->lines, view->model, row, COLS);
    if (row)
        draw_rates(view, row);
    uint32_t most = view->lines.count > rows ? view->lines.count - rows : 0;
    view->line = view->line < most ? view->line : most;
    for (uint32_t i = 0; i < rows && view->line + i < view->lines.count; i++) {
        const struct top_line *line = &view->lines.list[view->line + i];
        attr_t looks = line->style == TOP_HEAD ? A_REVERSE : line->style == TOP_WRONG ? wrong_looks(view) : A_NORMAL;
        put_bar(DETAIL_HEAD_LINES + (int)i, looks, line->text);
    }
}

/* ---- head, foot, help ----------------------------------------------------------------------------------------- */

static void draw_title(const struct top_view *view) {
    const struct top_model *model = view->model;
    char text[512], rate[16], title[300];
    snprintf(rate, sizeof(rate), "%s", human_count(model->messages));
    if (view->is_detail)
        snprintf(title, sizeof(title), "%s", view->selected);
    else
        snprintf(title, sizeof(title), "%" PRIu32 " topic%s, %" PRIu32 " participant%s, %s messages/s, %s/s",
                 model->count, model->count == 1 ? "" : "s", model->members, model->members == 1 ? "" : "s", rate,
                 human_bytes((uint64_t)model->bytes));
    char seconds[32];
    snprintf(seconds, sizeof(seconds), "every %.3g s", (double)view->interval_ns / 1e9);
    snprintf(text, sizeof(text), "tarn top  %s  (%s)", title, view->is_paused ? "paused" : seconds);
    put_bar(0, title_looks(view), text);
}

static void draw_foot(const struct top_view *view) {
    char text[512];
    if (view->edits_filter)
        snprintf(text, sizeof(text), "filter: %s_   Enter: done  Esc: all topics", view->model->filter);
    else if (view->note[0])
        snprintf(text, sizeof(text), "%s", view->note);
    else if (view->is_detail)
        snprintf(text, sizeof(text), "Esc back  arrows scroll  p pause  + - speed  q quit  ? help");
    else if (view->model->filter[0])
        snprintf(text, sizeof(text), "filter '%s' (Esc: all)  Enter details  / filter  q quit  ? help",
                 view->model->filter);
    else
        snprintf(text, sizeof(text), "Enter details  up/down move  left/right sort  / filter  p pause  q quit  ? help");
    put_bar(LINES - 1, A_REVERSE, text);
}

static void draw_help(void) {
    static const char *const lines[] = {
        "up down PageUp PageDown Home End   another topic, or more of the page",
        "Enter                              all about the topic; Esc: back",
        "left right                         sorts by another column",
        "n m b l o M                        by name, messages, bytes, lag, lost, memory",
        "r                                  the other way round",
        "/                                  only topics whose name has what is typed",
        "p                                  holds the picture, or goes on",
        "+ -                                looks more often, less often",
        "q                                  the end",
        "",
        "LAG: what the slowest subscriber has not read, at least; or jobs that wait",
        "LOST: by subscribers that are there.  !: something is wrong, Enter tells what",
        "",
        "any key: back",
    };
    for (int i = 0; i < (int)(sizeof(lines) / sizeof(lines[0])); i++)
        put(2 + i, 2, "%s", lines[i]);
}

void top_draw(struct top_view *view) {
    erase();
    draw_title(view);
    if (view->is_help)
        draw_help();
    else if (view->is_detail)
        draw_detail(view);
    else
        draw_list(view);
    draw_foot(view);
    refresh();
}
