/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn serve: a command answers requests: what it is asked comes on its stdin, what it writes to stdout is the answer.
 *
 * A request is written to the command from where it lies in shared memory, while its output is read, so neither waits
 * for the other. A command whose client has gone, or gives up, is stopped: SIGTERM, and SIGKILL a second later.
 */
#define _GNU_SOURCE /* pipe2 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

enum {
    OPTION_COUNT = OPTION_FIRST,
    OPTION_MEMORY,
    OPTION_QUIET,
};

static const struct option options[] = {
    {"count", required_argument, NULL, OPTION_COUNT},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    COMMON_OPTIONS,
};

#define LOOK_MS 50 /* between looks whether the command's client still waits */

extern char **environ;

struct serve {
    struct place place;
    const char *topic;
    char **command;
    uint64_t count, memory; /* count 0: forever */
    bool quiet;
    tarn_server *server;
    char *answer;
    size_t bytes, capacity;
};

/* A command at work. */
struct job {
    pid_t pid;
    int in, out; /* -1: closed */
    const char *data;
    size_t left;
    int64_t kill_ns; /* 0: it was not asked to stop */
    bool failed;     /* what it writes cannot be kept */
};

static bool set(int option, const char *argument, void *context) {
    struct serve *serve = context;
    switch (option) {
    case OPTION_COUNT:
        return argument_count("count", argument, 1, INT64_MAX, &serve->count);
    case OPTION_MEMORY:
        return argument_bytes("memory", argument, &serve->memory);
    case OPTION_QUIET:
        return serve->quiet = true;
    default:
        return false;
    }
}

/* ---- the command ---------------------------------------------------------------------------------------------- */

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int spawn(char **command, int in, int out, pid_t *ret) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    int error = posix_spawnp(ret, command[0], &actions, &attributes, command, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* False: it cannot be started; that was said. */
static bool start(const struct serve *serve, const tarn_request *request, struct job *job) {
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    *job = (struct job){.in = -1, .out = -1, .data = request->data, .left = request->bytes};
    int error = pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 ? errno : 0;
    if (!error)
        error = spawn(serve->command, in[0], out[1], &job->pid);
    close_fd(&in[0]);
    close_fd(&out[1]);
    job->in = in[1];
    job->out = out[0];
    if (!error) {
        fcntl(job->in, F_SETFL, O_NONBLOCK);
        return true;
    }
    close_fd(&job->in);
    close_fd(&job->out);
    say("cannot start '%s': %s", serve->command[0], strerror(error));
    return false;
}

static void write_some(struct job *job) {
    ssize_t written = job->left ? write(job->in, job->data, job->left) : 0;
    if (written > 0) {
        job->data += written;
        job->left -= (size_t)written;
    } else if (written < 0 && errno != EAGAIN && errno != EINTR) {
        job->left = 0; /* it does not want to know more */
    }
    if (!job->left)
        close_fd(&job->in);
}

static void read_some(struct serve *serve, struct job *job) {
    if (serve->bytes == serve->capacity) {
        size_t capacity = serve->capacity ? 2 * serve->capacity : 64 * 1024;
        char *larger = realloc(serve->answer, capacity);
        if (!larger) {
            say("no memory for an answer of more than %zu bytes", serve->bytes);
            job->failed = true;
            close_fd(&job->out); /* it gets SIGPIPE */
            return;
        }
        serve->answer = larger;
        serve->capacity = capacity;
    }
    ssize_t got = read(job->out, serve->answer + serve->bytes, serve->capacity - serve->bytes);
    if (got > 0)
        serve->bytes += (size_t)got;
    else if (got == 0 || errno != EINTR)
        close_fd(&job->out);
}

/* Stops it if nobody waits for it any more. One that has ended may have left its output to a child of its own. */
static void look_after(tarn_request *request, struct job *job, bool ended) {
    if (!job->kill_ns && (stop_status() != EXIT_OK || tarn_request_abandoned(request) != 0)) {
        job->kill_ns = clock_ns() + (ended ? 0 : NS_PER_S);
        if (!ended)
            kill(job->pid, SIGTERM);
    }
    if (job->kill_ns && clock_ns() >= job->kill_ns) {
        if (!ended)
            kill(job->pid, SIGKILL);
        close_fd(&job->out);
    }
}

/* Until it has closed its output and ended. Returns what waitpid() tells of it. */
static int work(struct serve *serve, tarn_request *request, struct job *job) {
    int state = -1;
    serve->bytes = 0;
    for (bool ended = false; job->out >= 0 || !ended;) {
        struct pollfd fds[2] = {{.fd = job->out, .events = POLLIN}, {.fd = job->in, .events = POLLOUT}};
        int64_t looked_ns = clock_ns();
        poll(fds, 2, job->out >= 0 ? LOOK_MS : 1);
        if (fds[0].revents)
            read_some(serve, job);
        if (fds[1].revents && job->in >= 0)
            write_some(job);
        if (job->out < 0)
            close_fd(&job->in);
        ended = ended || waitpid(job->pid, &state, WNOHANG) == job->pid;
        bool over = ended && job->out < 0;
        if (!over && (!fds[0].revents || clock_ns() - looked_ns > LOOK_MS * NS_PER_MS))
            look_after(request, job, ended);
    }
    close_fd(&job->in);
    return state;
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static void say_failed(const struct serve *serve, int state) {
    if (WIFEXITED(state))
        say("'%s' failed with exit code %d; the request gets no answer", serve->command[0], WEXITSTATUS(state));
    else
        say("'%s' was ended by signal %d; the request gets no answer", serve->command[0], WTERMSIG(state));
}

static int finish(tarn_request *request, int status) {
    if (status == TARN_ERROR_PEER_DIED)
        return EXIT_OK; /* nobody waits */
    if (status >= 0)
        return EXIT_OK;
    say_error();
    tarn_request_end(request);
    return status == TARN_ERROR_TOO_BIG || status == TARN_ERROR_FULL ? EXIT_OK : EXIT_FAILED;
}

static int answer(struct serve *serve, tarn_request *request) {
    struct job job;
    if (!start(serve, request, &job)) {
        tarn_request_end(request);
        return EXIT_FAILED;
    }
    int state = work(serve, request, &job);
    if (stop_status() != EXIT_OK)
        return stop_status();
    bool good = WIFEXITED(state) && WEXITSTATUS(state) == 0 && !job.failed && !job.kill_ns;
    if (good)
        return finish(request, tarn_request_reply(request, serve->answer, serve->bytes));
    if (!job.kill_ns && !job.failed && !serve->quiet)
        say_failed(serve, state);
    return finish(request, tarn_request_end(request));
}

/* What one client did, or a deleted file, ends nothing for the others: that is said, and it goes on. */
static bool is_warning(int status) {
    return status == TARN_ERROR_DAMAGED || status == TARN_ERROR_TOPIC_REMOVED;
}

static int serve_all(struct serve *serve) {
    for (uint64_t served = 0; !serve->count || served < serve->count;) {
        tarn_request request;
        int status = tarn_server_receive(serve->server, &request, TARN_FOREVER);
        if (stop_status() != EXIT_OK)
            return stop_status();
        if (status == TARN_ERROR_INTERRUPTED)
            continue;
        if (is_warning(status)) {
            say_error();
            continue;
        }
        if (status != 1)
            return say_error();
        int code = answer(serve, &request);
        if (code != EXIT_OK)
            return code;
        served++;
    }
    return EXIT_OK;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int interrupt(void *server) {
    return tarn_server_interrupt(server);
}

static int open_server(struct serve *serve) {
    tarn_server_options how = {
        .struct_bytes = sizeof(how),
        .directory = serve->place.directory,
        .domain = serve->place.domain,
        .memory_limit_bytes = serve->memory,
        .max_taken = 1,
    };
    return tarn_server_open(&serve->server, serve->topic, &how) < 0 ? say_error() : EXIT_OK;
}

static int run(int argc, char **argv) {
    struct serve serve = {0};
    int code = arguments_parse(&verb_serve, argc, argv, &serve.place, set, &serve);
    if (code >= 0)
        return code;
    if (argc - optind < 1)
        return usage_error(&verb_serve, "a topic is missing");
    if (argc - optind < 2)
        return usage_error(&verb_serve, "a command is missing, as in 'tarn serve upper -- tr a-z A-Z'");
    serve.topic = argv[optind];
    serve.command = argv + optind + 1;
    if (!command_is_there(serve.command[0]))
        return EXIT_FAILED;
    if ((code = open_server(&serve)) != EXIT_OK)
        return code;
    stop_on_signals(NULL);
    signal(SIGCHLD, SIG_DFL); /* a parent may have had it ignored: then nobody could be waited for */
    stop_interrupts(interrupt, serve.server);
    code = serve_all(&serve);
    stop_interrupts(NULL, NULL);
    tarn_server_close(serve.server);
    free(serve.answer);
    return code;
}

const struct verb verb_serve = {
    "serve",
    "answers requests by a command",
    "usage: tarn serve TOPIC [OPTION...] -- COMMAND [ARGUMENT...]\n"
    "\n"
    "Answers requests: runs the command for each, with the request on its standard input; what it writes to standard\n"
    "output is the answer. Where it fails, the request ends without an answer. One runs at a time: start more servers "
    "of a\n"
    "topic for more; each request goes to one that has little to do.\n"
    "\n"
    "examples\n"
    "  tarn serve upper -- tr a-z A-Z\n"
    "  tarn serve thumbnail -- convert - -resize 100x100 jpg:-\n"
    "  tarn serve ask -- sh -c 'read -r name; grep \"$name\" /etc/passwd'\n"
    "\n"
    "options\n"
    "  --count N           ends after N requests (default: goes on until it is stopped)\n"
    "  --memory BYTES      uses no more than that for answers to one client (default: a quarter of the machine's)\n"
    "  --quiet             no notes on commands that fail\n" COMMON_HELP "\n"
    "A command whose client has died, or has given up, is stopped. More in 'tarn help'.\n",
    options,
    run,
};
