/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A topic directory of the run's own, so that nothing is measured together with somebody else's topics, and nothing is
 * left behind. A run may be ended by ctrl-C or kill -9, so it cannot clean up by itself: a small process that ignores
 * both waits for the end of a pipe that only the run's processes keep open, then removes the directory.
 */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int end_of_run = -1;
static pid_t cleaner, run;
void (*bench_place_sweep)(const char *directory);

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    remove(path);
    return 0;
}

static _Noreturn void clean(int run_is_over, const char *directory) {
    setsid();
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int nothing = open("/dev/null", O_RDWR); /* a reader of the run's output must not wait for this process */
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    char byte;
    while (read(run_is_over, &byte, 1) < 0 && errno == EINTR) {
    }
    if (bench_place_sweep != NULL) {
        bench_place_sweep(directory);
    }
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    _exit(0);
}

static void wait_for_cleaner(void) {
    if (getpid() == run) {
        close(end_of_run);
        waitpid(cleaner, NULL, 0);
    }
}

void bench_place_open(void) {
    static char directory[64];
    /* A memory file system where there is one: making a file on a disk's takes some 60 us, which is not ours. */
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : access("/tmp", W_OK) == 0 ? "/tmp" : ".";
    snprintf(directory, sizeof(directory), "%s/tarn-bench-XXXXXX", parent);
    int ends[2];
    if (mkdtemp(directory) == NULL || pipe2(ends, O_CLOEXEC) != 0) {
        bench_fail("cannot make a directory in %s: %s", parent, strerror(errno));
    }
    cleaner = fork();
    if (cleaner < 0) {
        bench_fail("cannot fork: %s", strerror(errno));
    }
    if (cleaner == 0) {
        close(ends[1]);
        clean(ends[0], directory);
    }
    close(ends[0]);
    end_of_run = ends[1];
    run = getpid();
    setenv("TARN_DIR", directory, 1);
    unsetenv("TARN_DOMAIN");
    atexit(wait_for_cleaner);
}
