/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn work: runs a command for each job of a work queue. The message is the command's standard input, in a file in
 * memory, so that no command can be slow in reading it; the job ends as the command does.
 *
 * A command that fails gets its message again at once, if no other worker is faster. So there is a pause after a
 * failure, which grows with the attempts.
 *
 * While commands run, and in a pause, it lets the library attach what comes: else a producer that comes meanwhile would
 * have to stay until one has ended.
 */
#define _GNU_SOURCE /* memfd_create */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tarn.h"

enum {
    OPTION_JOBS = OPTION_FIRST,
    OPTION_ATTEMPTS,
    OPTION_COUNT,
    OPTION_FOR,
    OPTION_EMPTY,
    OPTION_QUIET,
};

static const struct option options[] = {
    {"jobs", required_argument, NULL, OPTION_JOBS},
    {"attempts", required_argument, NULL, OPTION_ATTEMPTS},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"for", required_argument, NULL, OPTION_FOR},
    {"empty", no_argument, NULL, OPTION_EMPTY},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    COMMON_OPTIONS,
};

enum { JOBS_MAX = 1024, SLICE_MS = 100, BUSY_SLICE_MS = 10, LOOK_MS = 50, PAUSE_MS = 100, PAUSES_MAX = 10 };
enum { EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 }; /* as shells have it */

struct running {
    pid_t pid; /* 0: none */
    tarn_job job;
};

struct work {
    struct place place;
    const char *topic;
    char **command;
    uint64_t jobs, attempts, count, started; /* attempts, count 0: no limit */
    uint64_t running_count;
    int64_t for_ns, deadline_ns, pause_ns; /* no new job before */
    bool until_empty, quiet;
    int code;
    tarn_worker *worker;
    struct running *running;
};

static bool set(int option, const char *argument, void *context) {
    struct work *work = context;
    switch (option) {
    case OPTION_JOBS:
        return argument_count("jobs", argument, 1, JOBS_MAX, &work->jobs);
    case OPTION_ATTEMPTS:
        return argument_count("attempts", argument, 1, 255, &work->attempts);
    case OPTION_COUNT:
        return argument_count("count", argument, 1, INT64_MAX, &work->count);
    case OPTION_FOR:
        return argument_seconds("for", argument, &work->for_ns);
    case OPTION_EMPTY:
        return work->until_empty = true;
    case OPTION_QUIET:
        return work->quiet = true;
    default:
        return false;
    }
}

/* ---- one job -------------------------------------------------------------------------------------------------- */

/* A descriptor from which the message is read; -1 and errno. */
static int message_file(const tarn_job *job) {
    int fd = memfd_create("tarn-job", MFD_CLOEXEC);
    const char *data = job->data;
    for (size_t written = 0; fd >= 0 && written < job->bytes;) {
        ssize_t some = write(fd, data + written, job->bytes - written);
        if (some < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        written += some > 0 ? (size_t)some : 0;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

static sigset_t child_signal(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return set;
}

static void mask_child_signal(int how) {
    sigset_t set = child_signal();
    sigprocmask(how, &set, NULL);
}

static void set_variable(const char *name, const char *format, uint64_t value) {
    char text[32];
    snprintf(text, sizeof(text), format, value);
    setenv(name, text, 1);
}

_Noreturn static void run_command(const struct work *work, const tarn_job *job, int input) {
    signal(SIGPIPE, SIG_DFL);
    mask_child_signal(SIG_UNBLOCK);
    dup2(input, STDIN_FILENO);
    set_variable("TARN_JOB_NUMBER", "%" PRIu64, job->number);
    set_variable("TARN_JOB_PRODUCER", "%016" PRIx64, job->producer);
    set_variable("TARN_JOB_ATTEMPTS", "%" PRIu64, job->attempts);
    execvp(work->command[0], work->command);
    say("cannot run '%s': %s", work->command[0], strerror(errno));
    _exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

static struct running *find_running(struct work *work, pid_t pid) {
    for (uint64_t i = 0; i < work->jobs; i++)
        if (work->running[i].pid == pid)
            return &work->running[i];
    return NULL;
}

static int start_job(struct work *work, tarn_job *job) {
    struct running *place = find_running(work, 0);
    int input = message_file(job);
    fflush(stderr);
    pid_t pid = input < 0 ? -1 : fork();
    if (pid == 0)
        run_command(work, job, input);
    if (pid < 0)
        say("cannot start '%s': %s", work->command[0], strerror(errno));
    if (input >= 0)
        close(input);
    if (pid < 0) {
        tarn_job_give_back(job);
        return EXIT_FAILED;
    }
    *place = (struct running){pid, *job};
    work->running_count++;
    work->started++;
    return EXIT_OK;
}

static bool was_not_run(int how) {
    return WIFEXITED(how) && (WEXITSTATUS(how) == EXIT_NOT_RUN || WEXITSTATUS(how) == EXIT_NOT_FOUND);
}

static void say_failed(const struct work *work, const tarn_job *job, int how, bool rejected) {
    char what[64];
    if (WIFSIGNALED(how))
        snprintf(what, sizeof(what), "was killed by signal %d", WTERMSIG(how));
    else
        snprintf(what, sizeof(what), "ended with %d", WEXITSTATUS(how));
    if (!work->quiet || was_not_run(how))
        say("message %" PRIu64 " of %016" PRIx64 ", attempt %" PRIu32 ": '%s' %s; %s", job->number, job->producer,
            job->attempts, work->command[0], what,
            was_not_run(how) ? "given back, and this worker ends: so ends what cannot be run"
            : rejected       ? "rejected"
                             : "given back");
}

static void end_failed(struct work *work, tarn_job *job, int how) {
    bool reject = work->attempts && job->attempts >= work->attempts && !was_not_run(how);
    uint32_t pauses = job->attempts < PAUSES_MAX ? job->attempts : PAUSES_MAX;
    say_failed(work, job, how, reject);
    if (was_not_run(how)) /* that is not the message's fault */
        work->code = EXIT_FAILED;
    if (!reject)
        work->pause_ns = clock_ns() + pauses * PAUSE_MS * NS_PER_MS;
    if ((reject ? tarn_job_reject : tarn_job_give_back)(job) == TARN_ERROR_TAKEN)
        say_error();
}

static void end_job(struct work *work, pid_t pid, int how) {
    struct running *running = find_running(work, pid);
    if (!running)
        return;
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
        end_failed(work, &running->job, how);
    else if (tarn_job_acknowledge(&running->job) == TARN_ERROR_TAKEN)
        say_error();
    running->pid = 0;
    work->running_count--;
}

/* Ends the jobs of commands that have ended. */
static void end_jobs(struct work *work) {
    int how;
    pid_t pid;
    while (work->running_count && (pid = waitpid(-1, &how, WNOHANG)) > 0)
        end_job(work, pid, how);
}

/* Until a command ends, or a signal comes, or so long. SIGCHLD is blocked: one that came before counts. */
static void wait_for_command(int64_t most_ns) {
    struct timespec most = {most_ns / NS_PER_S, most_ns % NS_PER_S};
    sigset_t set = child_signal();
    sigtimedwait(&set, NULL, &most);
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

static bool may_start(const struct work *work) {
    return work->code == EXIT_OK && stop_status() == EXIT_OK && (!work->count || work->started < work->count) &&
           clock_ns() < work->deadline_ns;
}

static int64_t slice_ns(const struct work *work, int64_t now) {
    int64_t slice = (work->running_count ? BUSY_SLICE_MS : SLICE_MS) * NS_PER_MS;
    return work->deadline_ns - now < slice ? work->deadline_ns - now : slice;
}

/* What one producer did, or a deleted file, ends nothing for the others. */
static int say_status(int status) {
    say_error();
    return status == TARN_ERROR_DAMAGED || status == TARN_ERROR_TOPIC_REMOVED ? EXIT_OK : EXIT_FAILED;
}

/* Waits while no message is to be taken: until a command ends, or for a slice. */
static void stand_by(struct work *work, int64_t most_ns) {
    int64_t look_ns = LOOK_MS * NS_PER_MS;
    wait_for_command(most_ns < look_ns ? most_ns : look_ns);
    int status = stop_status() == EXIT_OK ? tarn_worker_wait(work->worker, 0) : 0;
    if (status < 0)
        work->code = say_status(status);
}

/* Waits a slice for a job, and starts it. Returns whether it may go on. */
static bool take_one(struct work *work) {
    tarn_job job;
    int64_t now = clock_ns();
    if (now < work->pause_ns) {
        stand_by(work, work->pause_ns - now);
        return work->code == EXIT_OK;
    }
    int status = tarn_worker_receive(work->worker, &job, work->until_empty ? 0 : slice_ns(work, now));
    if (status == 1) {
        work->code = start_job(work, &job);
    } else if (status < 0) {
        work->code = say_status(status);
    } else if (work->until_empty) {
        if (work->running_count == 0)
            return false;
        stand_by(work, INT64_MAX); /* a command may fail, and give its message back */
    }
    return work->code == EXIT_OK;
}

static int work_on(struct work *work) {
    while (may_start(work)) {
        end_jobs(work);
        if (work->running_count == work->jobs)
            stand_by(work, INT64_MAX);
        else if (may_start(work) && !take_one(work))
            break;
    }
    for (end_jobs(work); work->running_count; end_jobs(work)) /* those that run may end; what comes now is for others */
        wait_for_command(LOOK_MS * NS_PER_MS);
    if (work->code != EXIT_OK || stop_status() != EXIT_OK)
        return work->code != EXIT_OK ? work->code : stop_status();
    return work->count && work->started < work->count && !work->until_empty ? EXIT_TIMEOUT : EXIT_OK;
}

static int open_worker(struct work *work) {
    tarn_worker_options how = {
        .struct_bytes = sizeof(how),
        .directory = work->place.directory,
        .domain = work->place.domain,
        .prefetch = (uint32_t)work->jobs,
        .wait_strategy = TARN_WAIT_SLEEP, /* starting a command takes longer than waking up */
    };
    return tarn_worker_open(&work->worker, work->topic, &how) < 0 ? say_error() : EXIT_OK;
}

static int run(int argc, char **argv) {
    struct work work = {.jobs = 1, .for_ns = TARN_FOREVER};
    int code = arguments_parse(&verb_work, argc, argv, &work.place, set, &work);
    if (code >= 0)
        return code;
    if (argc == optind)
        return usage_error(&verb_work, "a topic is missing");
    if (argc == optind + 1)
        return usage_error(&verb_work, "a command is missing, behind '--'");
    work.topic = argv[optind];
    work.command = argv + optind + 1;
    if (!command_is_there(work.command[0]))
        return EXIT_FAILED;
    if (!(work.running = calloc(work.jobs, sizeof(*work.running)))) {
        say("no memory for %" PRIu64 " jobs", work.jobs);
        return EXIT_FAILED;
    }
    work.deadline_ns = clock_deadline_ns(work.for_ns);
    stop_on_signals(NULL);
    signal(SIGCHLD, SIG_DFL); /* a parent may have had it ignored: then nobody could be waited for */
    mask_child_signal(SIG_BLOCK);
    if ((code = open_worker(&work)) == EXIT_OK)
        code = work_on(&work);
    tarn_worker_close(work.worker);
    free(work.running);
    return code;
}

const struct verb verb_work = {
    "work",
    "runs a command for each message of a work queue",
    "usage: tarn work TOPIC [OPTION...] -- COMMAND [ARGUMENT...]\n"
    "\n"
    "Takes messages from the topic's work queue and runs the command for each, with the message as standard input. "
    "When\n"
    "the command exits with 0 the message is acknowledged; else it is given back, for this or another worker. If this\n"
    "worker is killed, another gets what it had, while the command may go on.\n"
    "\n"
    "examples\n"
    "  tarn work thumbnails -- sh -c 'convert \"$(cat)\" -resize 200 small/$TARN_JOB_NUMBER.jpg'\n"
    "  tarn work thumbnails --jobs 4 --attempts 3 -- ./make-thumbnail\n"
    "  tarn work parts --empty -- wc -c\n"
    "\n"
    "how\n"
    "  --jobs N            runs up to N commands at a time (default: 1)\n"
    "  --attempts N        rejects a message that has failed N times, up to 255 (default: gives it back each time)\n"
    "  --quiet             does not say which messages were given back or rejected, unless that ends it\n"
    "\n"
    "when it ends\n"
    "  --empty             when there is no message to take\n"
    "  --count N           after N commands\n"
    "  --for SECONDS       takes no more after so long; with --count it is a time-out, exit code 3\n"
    "  Commands that run may end first, also on SIGINT and SIGTERM (exit codes 130, 143). A command that cannot be "
    "run\n"
    "  ends it, with exit code 1, and its message is given back. So does one that exits with 126 or 127, by which "
    "shells\n"
    "  say just that.\n"
    "\n"
    "what the command finds in its environment\n"
    "  TARN_JOB_NUMBER     the message's, of its producer, from 1 on\n"
    "  TARN_JOB_PRODUCER   the producer's identity\n"
    "  TARN_JOB_ATTEMPTS   how often it was delivered, this time included\n"
    "\n"
    "also\n" COMMON_HELP "\n"
    "More in 'tarn help'.\n",
    options,
    run,
};
