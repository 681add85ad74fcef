/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What a key does in tarn top. */
#include <signal.h>
#include <string.h>

#include <ncurses.h>

#include "cli/top.h"

enum {
    CONTROL_C = 3,
    CONTROL_Z = 26,
    ESCAPE = 27,
    DELETE = 127,
    BACKSPACE = 8,
    INTERVAL_LEAST_MS = 100,
    INTERVAL_MOST_S = 60
};

static const char *name_at(const struct top_view *view, uint32_t index) {
    return view->model->rows[view->model->order[index]].name;
}

void top_keys_follow(struct top_view *view) {
    const struct top_model *model = view->model;
    for (uint32_t i = 0; view->selected[0] && i < model->shown; i++)
        if (strcmp(name_at(view, i), view->selected) == 0) {
            view->index = i;
            return;
        }
    if (view->is_detail)
        return; /* it may come again */
    if (view->index >= model->shown)
        view->index = model->shown ? model->shown - 1 : 0;
    if (view->selected[0] && model->shown)
        strcpy(view->selected, name_at(view, view->index));
}

static void select_at(struct top_view *view, int64_t index) {
    int64_t last = (int64_t)view->model->shown - 1;
    if (last < 0)
        return;
    view->index = (uint32_t)(index < 0 ? 0 : index > last ? last : index);
    strcpy(view->selected, name_at(view, view->index));
}

static void sort_by(struct top_view *view, enum top_sort sort) {
    view->model->reverse = view->model->sort == sort && !view->model->reverse;
    view->model->sort = sort;
    top_model_arrange(view->model);
    top_keys_follow(view);
}

static void sort_beside(struct top_view *view, int step) {
    view->model->reverse = false;
    view->model->sort = (enum top_sort)((view->model->sort + TOP_SORTS + step) % TOP_SORTS);
    top_model_arrange(view->model);
    top_keys_follow(view);
}

static void hurry(struct top_view *view, bool more) {
    int64_t interval_ns = more ? view->interval_ns / 2 : view->interval_ns * 2;
    if (interval_ns >= INTERVAL_LEAST_MS * NS_PER_MS && interval_ns <= INTERVAL_MOST_S * NS_PER_S)
        view->interval_ns = interval_ns;
}

/* ---- the filter ----------------------------------------------------------------------------------------------- */

static void edit_filter(struct top_view *view, int key) {
    char *filter = view->model->filter;
    size_t length = strlen(filter);
    if (key == '\r' || key == '\n' || key == KEY_ENTER) {
        view->edits_filter = false;
    } else if (key == ESCAPE) {
        view->edits_filter = false;
        filter[0] = 0;
    } else if ((key == KEY_BACKSPACE || key == DELETE || key == BACKSPACE) && length > 0) {
        filter[length - 1] = 0;
    } else if (key > ' ' && key < DELETE && length + 1 < TOP_FILTER_BYTES) {
        filter[length] = (char)key;
        filter[length + 1] = 0;
    }
    top_model_arrange(view->model);
    top_keys_follow(view);
}

/* ---- the pages ------------------------------------------------------------------------------------------------ */

/* Of the list as of the detail page. How many lines or topics further; 0: it is no such key. */
static int64_t step_of(int key, int64_t page) {
    switch (key) {
    case KEY_UP:
    case 'k':
        return -1;
    case KEY_DOWN:
    case 'j':
        return 1;
    case KEY_PPAGE:
        return -page;
    case KEY_NPAGE:
        return page;
    case KEY_HOME:
    case 'g':
        return -INT32_MAX;
    case KEY_END:
    case 'G':
        return INT32_MAX;
    default:
        return 0;
    }
}

static void detail_key(struct top_view *view, int key) {
    int64_t page = top_draw_rows(view), step = step_of(key, page > 1 ? page : 1);
    int64_t line = (int64_t)view->line + step, last = (int64_t)view->lines.count - 1;
    if (step)
        view->line = (uint32_t)(line > last ? (last > 0 ? last : 0) : line < 0 ? 0 : line);
    else if (key == ESCAPE || key == KEY_LEFT || key == KEY_BACKSPACE || key == DELETE || key == '\r' ||
             key == KEY_ENTER)
        view->is_detail = false;
}

static void open_detail(struct top_view *view) {
    if (view->model->shown == 0)
        return;
    select_at(view, view->index);
    view->is_detail = true;
    view->line = 0;
}

static void sort_key(struct top_view *view, int key) {
    static const char letters[] = "nmbloM"; /* as enum top_sort has them */
    const char *letter = key > 0 && key < DELETE ? strchr(letters, key) : NULL;
    if (letter)
        sort_by(view, (enum top_sort)(letter - letters));
    else if (key == KEY_LEFT || key == '<')
        sort_beside(view, -1);
    else if (key == KEY_RIGHT || key == '>')
        sort_beside(view, 1);
    else if (key == 'r')
        sort_by(view, view->model->sort);
}

static void list_key(struct top_view *view, int key) {
    int64_t page = top_draw_rows(view), step = step_of(key, page > 1 ? page : 1);
    if (step)
        select_at(view, (int64_t)view->index + step);
    else if (key == '\r' || key == '\n' || key == KEY_ENTER)
        open_detail(view);
    else if (key == '/')
        view->edits_filter = true;
    else if (key == ESCAPE && view->model->filter[0])
        edit_filter(view, key);
    else
        sort_key(view, key);
}

void top_key(struct top_view *view, int key) {
    if (key == KEY_RESIZE)
        return;                                 /* drawn anew at once */
    if (key == CONTROL_C || key == CONTROL_Z) { /* keys here: a signal might find the terminal half set */
        view->is_over = key == CONTROL_C;
        raise(key == CONTROL_C ? SIGINT : SIGTSTP);
        return;
    }
    if (view->edits_filter) {
        edit_filter(view, key);
        return;
    }
    if (view->is_help) {
        view->is_help = false;
        return;
    }
    if (key == 'q')
        view->is_over = true;
    else if (key == '?' || key == 'h')
        view->is_help = true;
    else if (key == 'p' || key == ' ')
        view->is_paused = !view->is_paused;
    else if (key == '+' || key == '-')
        hurry(view, key == '+');
    else
        (view->is_detail ? detail_key : list_key)(view, key);
}
