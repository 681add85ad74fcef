/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Runs a shell script as the runner runs a test: run_script SCRIPT [ARGUMENT...]. Topic directory of its own, and a
 * check for leaked segments, files and processes. The script may say, in lines of its own:
 *
 *     # limit: 60            seconds, instead of SCRIPT_LIMIT_S
 *     # leaves topic files   for good reason
 */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner.h"

#define SCRIPT_LIMIT_S 120

static bool leaves_files;

static int read_wishes(const char *path) {
    int limit_s = SCRIPT_LIMIT_S;
    FILE *file = fopen(path, "re");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    for (char line[256]; fgets(line, sizeof line, file);) {
        sscanf(line, "# limit: %d", &limit_s);
        if (strncmp(line, "# leaves topic files", 20) == 0)
            leaves_files = true;
    }
    fclose(file);
    return limit_s;
}

static void execute(const void *arguments) {
    char *const *argv = *(char *const *const *)arguments;
    if (leaves_files)
        runner_allow_files();
    execv(argv[0], argv);
    fprintf(stderr, "  %s: %s\n", argv[0], strerror(errno));
    _exit(EXIT_FAILURE);
}

int main(int count, char **arguments) {
    struct tally tally = {{0}};
    char **script = arguments + 1;
    if (count < 2) {
        fprintf(stderr, "usage: run_script SCRIPT [ARGUMENT...]\n");
        return 2;
    }
    int limit_s = read_wishes(script[0]);
    runner_start();
    tally.of[run_isolated(basename(script[0]), limit_s, execute, &script)]++;
    return tally_exit_code(&tally);
}
