/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Servers that prepare() starts for a run, and that end with it, even when it is killed. */
#ifndef TARN_BENCH_SERVER_H
#define TARN_BENCH_SERVER_H

#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define SERVER_STEP_MS 5
#define SERVER_STOP_MS 20000
#define SERVER_LOG_BYTES 4096

struct server {
    pid_t pid;
    int stop_signal; /* ends it; so does the death of who started it */
    char log[256];
};

static inline void server_sleep_step(void) {
    struct timespec step = {.tv_nsec = SERVER_STEP_MS * 1000000};
    nanosleep(&step, NULL);
}

/* command: ends with NULL. What it prints goes to the file log. */
static inline struct server server_start(const char *const command[], int stop_signal, const char *folder) {
    struct server server = {.stop_signal = stop_signal};
    snprintf(server.log, sizeof(server.log), "%s/server.log", folder);
    pid_t starter = getpid();
    server.pid = fork();
    if (server.pid < 0) {
        peer_fail("cannot fork: %s", strerror(errno));
    }
    if (server.pid > 0) {
        return server;
    }
    prctl(PR_SET_PDEATHSIG, stop_signal);
    setpgid(0, 0); /* ctrl-C is for the run: this one is ended by it */
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(server.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (getppid() != starter || nothing < 0 || log < 0) {
        _exit(127);
    }
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execvp(command[0], (char *const *)(uintptr_t)command);
    fprintf(stderr, "%s: %s\n", command[0], strerror(errno));
    _exit(127);
}

/* False: it has not ended within SERVER_STOP_MS. */
static inline bool server_wait_end(const struct server *server) {
    for (int ms = 0; ms < SERVER_STOP_MS; ms += SERVER_STEP_MS) {
        if (waitpid(server->pid, NULL, WNOHANG) != 0) {
            return true;
        }
        server_sleep_step();
    }
    return false;
}

static inline void server_stop(struct server *server) {
    if (server->pid <= 0) {
        return;
    }
    kill(server->pid, server->stop_signal);
    if (!server_wait_end(server)) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
    }
    server->pid = 0;
}

/* The end of it. */
static inline void server_print_log(const struct server *server) {
    char text[SERVER_LOG_BYTES];
    FILE *file = fopen(server->log, "re");
    if (file == NULL) {
        return;
    }
    if (fseek(file, -(long)sizeof(text), SEEK_END) != 0) {
        rewind(file);
    }
    size_t bytes = fread(text, 1, sizeof(text), file);
    fwrite(text, 1, bytes, stderr);
    fclose(file);
}

/* Waits until ready(argument) is true. */
static inline void server_wait_ready(struct server *server, const char *name, int seconds, bool (*ready)(uint32_t),
                                     uint32_t argument) {
    for (int ms = 0; ms < seconds * 1000; ms += SERVER_STEP_MS) {
        if (ready(argument)) {
            return;
        }
        int status;
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            server_print_log(server);
            peer_fail("%s ended at once, with status %#x", name, (unsigned)status);
        }
        server_sleep_step();
    }
    server_print_log(server);
    server_stop(server);
    peer_fail("%s is not ready after %d s", name, seconds);
}

static inline bool server_port_answers(uint32_t port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return answers;
}

static inline void server_write_file(const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
        peer_fail("%s: %s", path, strerror(errno));
    }
}

#endif
