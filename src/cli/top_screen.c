/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The terminal under tarn top: taken, and given back as it was however it ends, by a key, SIGINT or SIGTERM. Signals
 * are those of stop.c, set up before ncurses, which then leaves them alone; it looks after SIGWINCH and SIGTSTP itself.
 */
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ncurses.h>

#include "cli/top.h"
#include "tarn.h"

enum { SLICE_MS = 100 };

/* ---- taking and giving back ----------------------------------------------------------------------------------- */

static bool is_terminal(void) {
    const char *kind = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        say("top needs a terminal for its input and output; 'tarn top --once' prints a table instead");
    else if (!kind || !kind[0] || strcmp(kind, "dumb") == 0)
        say("this terminal (TERM=%s) cannot show a full screen; 'tarn top --once' prints a table instead",
            kind ? kind : "");
    else
        return true;
    return false;
}

static void choose_looks(struct top_view *view) {
    const char *no_color = getenv("NO_COLOR");
    view->has_color = has_colors() && !(no_color && no_color[0]) && start_color() == OK && use_default_colors() == OK;
    if (view->has_color) {
        init_pair(1, COLOR_RED, -1);
        init_pair(2, COLOR_CYAN, -1);
    }
    view->has_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/*
 * Also as they come from terminals behind another one's TERM: PuTTY as xterm, whatever is at the end of ssh as vt100.
 */
static void know_keys(void) {
    static const struct {
        const char *sent;
        int key;
    } keys[] = {{"\033[A", KEY_UP},     {"\033OA", KEY_UP},    {"\033[B", KEY_DOWN},  {"\033OB", KEY_DOWN},
                {"\033[C", KEY_RIGHT},  {"\033OC", KEY_RIGHT}, {"\033[D", KEY_LEFT},  {"\033OD", KEY_LEFT},
                {"\033[H", KEY_HOME},   {"\033OH", KEY_HOME},  {"\033[1~", KEY_HOME}, {"\033[7~", KEY_HOME},
                {"\033[F", KEY_END},    {"\033OF", KEY_END},   {"\033[4~", KEY_END},  {"\033[8~", KEY_END},
                {"\033[5~", KEY_PPAGE}, {"\033[6~", KEY_NPAGE}};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        define_key(keys[i].sent, keys[i].key);
}

static SCREEN *take_terminal(struct top_view *view) {
    setlocale(LC_CTYPE, ""); /* what the terminal can draw; numbers stay as they are */
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (!screen) {
        say("this terminal (TERM=%s) is not known here; 'tarn top --once' prints a table instead", getenv("TERM"));
        return NULL;
    }
    set_term(screen);
    choose_looks(view);
    raw(); /* Ctrl-C is a key, so that two of them do not leave the terminal like this */
    noecho();
    nonl();
    set_escdelay(25);
    keypad(stdscr, TRUE);
    know_keys();
    curs_set(0);
    return screen;
}

static void give_back(SCREEN *screen) {
    move(LINES - 1, 0); /* where the prompt comes, if the terminal has no other screen to go back to */
    clrtoeol();
    refresh();
    curs_set(1);
    endwin();
    delscreen(screen);
}

/* ---- the loop ------------------------------------------------------------------------------------------------- */

static void look(struct top_view *view) {
    if (!top_model_look(view->model)) /* it goes on with what it knows */
        snprintf(view->note, sizeof(view->note), "%s", tarn_error());
    else
        view->note[0] = 0;
    top_keys_follow(view);
    view->is_stale = true;
}

/* The terminal has gone: every read ends at once. */
static bool is_gone(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0 && (input.revents & (POLLHUP | POLLERR | POLLNVAL));
}

/* Keys until it is time to look again, or the end. */
static void take_keys(struct top_view *view, int64_t until_ns) {
    do {
        if (view->is_stale)
            top_draw(view);
        view->is_stale = false;
        int64_t left_ms = (until_ns - clock_ns()) / NS_PER_MS + 1;
        timeout(left_ms < 0 ? 0 : left_ms < SLICE_MS ? (int)left_ms : SLICE_MS);
        int key = getch();
        if (key == ERR) {
            view->is_over |= is_gone();
            continue;
        }
        view->is_stale = true;
        top_key(view, key);
    } while (!view->is_over && stop_status() == EXIT_OK && clock_ns() < until_ns);
}

static void follow(struct top_view *view) {
    while (!view->is_over && stop_status() == EXIT_OK) {
        int64_t now = clock_ns();
        if (!view->is_paused)
            look(view);
        take_keys(view, now + view->interval_ns);
    }
}

int top_screen_run(struct top_model *model, int64_t interval_ns) {
    struct top_view view = {.model = model, .interval_ns = interval_ns, .is_stale = true};
    if (!is_terminal())
        return EXIT_FAILED;
    if (!top_model_look(model))
        return say_error();
    stop_on_signals(NULL);
    SCREEN *screen = take_terminal(&view);
    if (!screen)
        return EXIT_FAILED;
    take_keys(&view, clock_ns() + interval_ns / 4); /* the first rates come soon */
    follow(&view);
    give_back(screen);
    free(view.lines.list);
    return stop_status();
}
