/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn doctor: the trial. In a domain of its own a child publishes, and this process gets the message; the child is
 * killed, and this process notices. That needs the directory, locks that other processes see, memory that they attach,
 * and being woken. Afterwards all of it is gone.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "tarn.h"

#define TOPIC "doctor/trial"
#define TRIAL_NS (5 * NS_PER_S)
#define SLICE_NS (20 * NS_PER_MS)

static const char greeting[] = "are you well?";

struct trial {
    const char *directory;
    char domain[64];
    char path[4096 + 64]; /* of the domain */
    bool base_was_there;
    tarn_subscriber *subscriber;
    pid_t child;
    int errors; /* what the child's end says, if it cannot */
    int64_t took_ns;
};

static void fails(struct finding *finding, const char *what, const char *why) {
    found(finding, STATE_PROBLEM, "%s: %s", what, why);
    advise(finding, "see what is no 'ok' above, the directory's owner and mode, and what this sentence names");
}

/* ---- the child ------------------------------------------------------------------------------------------------ */

static _Noreturn void publish_and_stay(const struct trial *trial, int errors) {
    tarn_publisher *publisher;
    tarn_publisher_options how = {.struct_bytes = sizeof(how), .directory = trial->directory, .domain = trial->domain};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (tarn_publisher_open(&publisher, TOPIC, &how) == 0 &&
        tarn_publisher_publish(publisher, greeting, sizeof(greeting)) == 1)
        for (;;)
            pause();
    (void)!write(errors, tarn_error(), strlen(tarn_error()));
    _exit(EXIT_FAILED);
}

static bool start_child(struct trial *trial) {
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    trial->child = fork();
    if (trial->child == 0)
        publish_and_stay(trial, ends[1]);
    close(ends[1]);
    trial->errors = ends[0];
    return trial->child > 0;
}

static bool child_has_ended(const struct trial *trial) {
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)trial->child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == trial->child;
}

static void end_child(struct trial *trial) {
    if (trial->child > 0 && kill(trial->child, SIGKILL) == 0)
        waitpid(trial->child, NULL, 0);
    trial->child = -1;
}

/* ---- this end ------------------------------------------------------------------------------------------------- */

/* Waits for the message. Returns 1, 0 (not in time), or an error. */
static int wait_for_message(struct trial *trial, tarn_message *message) {
    int64_t started = clock_ns();
    int status;
    do {
        status = tarn_subscriber_receive(trial->subscriber, message, SLICE_NS);
        trial->took_ns = clock_ns() - started;
    } while (status == 0 && trial->took_ns < TRIAL_NS && !child_has_ended(trial));
    return status;
}

/* The child's own sentence, if it has left one. */
static void tell_silence(struct finding *finding, const struct trial *trial) {
    char why[800];
    ssize_t length = read(trial->errors, why, sizeof(why) - 1);
    why[length > 0 ? length : 0] = '\0';
    fails(finding, "a second process could not publish", length > 0 ? why : "no message came from it within 5 s");
}

static void talk(struct finding *finding, struct trial *trial) {
    tarn_message message;
    int status = wait_for_message(trial, &message);
    if (status < 0) {
        fails(finding, "a message could not be received", tarn_error());
        return;
    }
    if (status == 0) {
        end_child(trial);
        tell_silence(finding, trial);
        return;
    }
    bool is_whole = message.bytes == sizeof(greeting) && memcmp(message.data, greeting, sizeof(greeting)) == 0;
    tarn_message_release(&message);
    int there = tarn_subscriber_publishers(trial->subscriber);
    end_child(trial);
    int left = tarn_subscriber_publishers(trial->subscriber);
    if (!is_whole)
        fails(finding, "a message arrived", "but not as it was sent");
    else if (there != 1 || left != 0)
        fails(finding, "locks in the topic directory do not tell who lives",
              there != 1 ? "a process that lives was not seen" : "a process that was killed seems to live");
    else
        found(finding, STATE_OK, "a message went from one process to another in %.1f ms, both being started for it",
              (double)trial->took_ns / 1e6);
}

/* ---- what is left --------------------------------------------------------------------------------------------- */

/* Whether topics are left in the trial's domain, once swept; its directories go. */
static bool clean_up(struct trial *trial) {
    struct inspect_sweep sweep;
    struct inspect_domain *domain = NULL;
    inspect_sweep(&sweep, trial->directory, trial->domain);
    bool left = inspect_domain_open(&domain, trial->directory, trial->domain) == 0 && domain->topic_count;
    if (rmdir(trial->path) != 0 && errno != ENOENT)
        left = true;
    inspect_domain_close(domain);
    *strrchr(trial->path, '/') = '\0';
    if (!trial->base_was_there)
        rmdir(trial->path);
    return left;
}

/* Finds out where it will be. */
static bool find_place(struct trial *trial) {
    struct inspect_domain *domain;
    snprintf(trial->domain, sizeof(trial->domain), "doctor-%d-%" PRIx64, (int)getpid(), (uint64_t)clock_ns());
    if (inspect_domain_open(&domain, trial->directory, trial->domain) < 0)
        return false;
    snprintf(trial->path, sizeof(trial->path), "%s", domain->path);
    inspect_domain_close(domain);
    char *slash = strrchr(trial->path, '/');
    *slash = '\0';
    trial->base_was_there = access(trial->path, F_OK) == 0;
    *slash = '/';
    return true;
}

void look_at_trial(struct finding *finding, const struct patient *patient) {
    struct trial trial = {.directory = patient->place.directory, .child = -1, .errors = -1};
    tarn_subscriber_options how = {.struct_bytes = sizeof(how), .directory = trial.directory, .domain = trial.domain};
    if (!find_place(&trial)) {
        fails(finding, "not tried", tarn_error());
        return;
    }
    if (tarn_subscriber_open(&trial.subscriber, TOPIC, &how) < 0)
        fails(finding, "a topic could not be opened", tarn_error());
    else if (!start_child(&trial))
        fails(finding, "a second process could not be started", strerror(errno));
    else
        talk(finding, &trial);
    end_child(&trial);
    if (trial.errors >= 0)
        close(trial.errors);
    tarn_subscriber_close(trial.subscriber);
    if (clean_up(&trial) && finding->state == STATE_OK)
        fails(finding, "a message arrived, but not all of the trial could be removed", trial.path);
}
