/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* The command line's start: the table of verbs, and which of them is meant. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

const struct verb *const verbs[] = {
    &verb_pub,    &verb_sub,    &verb_echo,       &verb_latency, &verb_call, &verb_serve, &verb_notify,
    &verb_listen, &verb_set,    &verb_get,        &verb_watch,   &verb_push, &verb_work,  &verb_keep,
    &verb_ls,     &verb_info,   &verb_hz,         &verb_bw,      &verb_top,  &verb_match, &verb_gc,
    &verb_bench,  &verb_doctor, &verb_completion, &verb_version, &verb_help, NULL};

const struct verb *verb_find(const char *name) {
    for (int i = 0; verbs[i]; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

/* Letters to change, add, remove or swap with the next to make a from b; both are short. */
static size_t edit_distance(const char *a, const char *b) {
    size_t rest;
    if (!*a || !*b)
        return strlen(a) + strlen(b);
    if (*a == *b)
        return edit_distance(a + 1, b + 1);
    if (a[1] && a[0] == b[1] && a[1] == b[0])
        return 1 + edit_distance(a + 2, b + 2);
    size_t least = edit_distance(a + 1, b + 1);
    if ((rest = edit_distance(a + 1, b)) < least)
        least = rest;
    if ((rest = edit_distance(a, b + 1)) < least)
        least = rest;
    return 1 + least;
}

/* "publish" and "list" mean pub and ls; "sbu" is two letters away at most. */
static const struct verb *nearest_verb(const char *name) {
    static const char *const others[][2] = {{"list", "ls"}, {"cat", "sub"}, {"sweep", "gc"}};
    const struct verb *nearest = NULL;
    size_t least = 3;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(name, others[i][0]) == 0)
            return verb_find(others[i][1]);
    for (int i = 0; verbs[i]; i++) {
        if (strncmp(name, verbs[i]->name, strlen(verbs[i]->name)) == 0)
            return verbs[i];
        size_t distance = strlen(name) < 10 ? edit_distance(name, verbs[i]->name) : least;
        if (distance < least && distance < strlen(name)) {
            least = distance;
            nearest = verbs[i];
        }
    }
    return nearest;
}

int verb_unknown(const char *name) {
    const struct verb *nearest = nearest_verb(name);
    if (nearest)
        say("there is no '%s'; did you mean 'tarn %s'? See 'tarn help'", name, nearest->name);
    else
        say("there is no '%s'; see 'tarn help'", name);
    return EXIT_USAGE;
}

/*
 * A standard descriptor that the parent closed would be given to the next file opened, and payload be written into a
 * topic's file. Their places are filled with one that refuses what it is not for.
 */
static void fill_standard_descriptors(void) {
    static const int refusing[] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", refusing[fd]) < 0)
            _exit(EXIT_FAILED);
}

static int run_verb(int argc, char **argv) {
    static char name[] = "tarn", *only_name[] = {name, NULL};
    if (argc < 2)
        return verb_help.run(1, only_name), EXIT_USAGE;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return verb_help.run(1, only_name);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return verb_version.run(1, only_name);
    const struct verb *verb = verb_find(argv[1]);
    if (!verb)
        return verb_unknown(argv[1]);
    argv[1] = name; /* getopt's messages start with it */
    return verb->run(argc - 1, argv + 1);
}

int main(int argc, char **argv) {
    fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a closed stdout is an error of write, which output.c understands */
    int code = run_verb(argc, argv);
    output_flush();
    return code == EXIT_OK ? output_status() : code;
}
