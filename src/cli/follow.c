/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * See follow.h. It waits in slices, between which it looks whether there is still somebody to read the output (a pipe's
 * reader may leave while no message comes) and, with --eof, somebody to send. The order of the looks matters for --eof:
 * first that no publisher is left, then that there is nothing more to take.
 */
#include "cli/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/inspect.h"

enum { SLICE_MS = 100, EOF_SLICE_MS = 50 };
enum { CLOCK_EVERY = 16 }; /* messages: what asking for the time costs is much, beside taking a small one */

bool follow_set(struct follow *follow, int option, const char *argument) {
    switch (option) {
    case OPTION_COUNT:
        return argument_count("count", argument, 1, INT64_MAX, &follow->count);
    case OPTION_FOR:
        return argument_seconds("for", argument, &follow->for_ns);
    case OPTION_HISTORY:
        return argument_count("history", argument, 0, INT64_MAX, &follow->history);
    case OPTION_EOF:
        return follow->end_at_eof = true;
    default:
        return false;
    }
}

/* ---- what is said --------------------------------------------------------------------------------------------- */

static void clear(const struct follow *follow) {
    if (follow->clear)
        follow->clear(follow->context);
}

static int say_trouble(const struct follow *follow) {
    clear(follow);
    return say_error();
}

static void losses_say(struct follow *follow) {
    struct losses *losses = &follow->losses;
    if (losses->count == 0)
        return;
    clear(follow);
    if (losses->publisher)
        say("lost %" PRIu64 " message%s of publisher %016" PRIx64, losses->count, losses->count == 1 ? "" : "s",
            losses->publisher);
    else
        say("lost %" PRIu64 " messages of several publishers", losses->count);
    losses->count = 0;
}

static void losses_note(struct follow *follow, const tarn_message *message) {
    struct losses *losses = &follow->losses;
    if (message->lost == 0)
        return;
    losses->publisher = losses->count == 0 || losses->publisher == message->publisher ? message->publisher : 0;
    losses->count += message->lost;
    int64_t now = clock_ns();
    if (now - losses->said_ns < NS_PER_S)
        return;
    losses_say(follow);
    losses->said_ns = now;
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

/* A damaged publisher or a deleted file ends nothing for the other publishers: that is said, and it goes on. */
static bool is_warning(int status) {
    return status == TARN_ERROR_DAMAGED || status == TARN_ERROR_TOPIC_REMOVED;
}

static bool is_failure(int status) {
    return status < 0 && !is_warning(status) && status != TARN_ERROR_INTERRUPTED;
}

static bool is_over(const struct follow *follow) {
    return follow->ended || stop_status() != EXIT_OK || output_status() != EXIT_OK ||
           (follow->count && follow->counted == follow->count) ||
           (follow->deadline_ns != INT64_MAX && clock_ns() >= follow->deadline_ns);
}

/* Gives out what waits, and looks whether somebody reads it. Returns when idle() wants to be called again. */
static int64_t look(struct follow *follow) {
    int64_t until = follow->idle ? follow->idle(follow->context) : INT64_MAX;
    output_flush();
    output_look();
    follow->looked_ns = clock_ns();
    return until;
}

/* A stream may never pause, and of what it has little may pass a filter: that is not to wait for a full buffer. */
static void look_if_due(struct follow *follow) {
    if (follow->taken % CLOCK_EVERY == 0 && clock_ns() - follow->looked_ns >= SLICE_MS * NS_PER_MS)
        look(follow);
}

/* Takes until there is nothing more, or it is over. Returns the last status. */
static int drain(struct follow *follow) {
    tarn_message message;
    int status = 0;
    while (!is_over(follow) && (status = tarn_subscriber_take(follow->subscriber, &message)) == 1) {
        losses_note(follow, &message);
        follow->taken++;
        follow->seen_publisher = true;
        follow->counted += follow->take(follow->context, &message);
        look_if_due(follow);
    }
    return status;
}

/* Whether --eof is asked for, and there were publishers, if only such as left what is kept, but are no longer. */
static bool publishers_left(struct follow *follow) {
    if (!follow->end_at_eof)
        return false;
    follow->seen_publisher |= inspect_publishers_ended(follow->subscriber) > 0; /* it may have come and gone since */
    bool some = tarn_subscriber_publishers(follow->subscriber) > 0;
    follow->seen_publisher |= some;
    return follow->seen_publisher && !some;
}

static int wait_slice(struct follow *follow) {
    int64_t until = look(follow);
    int64_t slice = (follow->end_at_eof ? EOF_SLICE_MS : SLICE_MS) * NS_PER_MS;
    if (is_over(follow))
        return 0;
    if (until > follow->deadline_ns)
        until = follow->deadline_ns;
    int64_t left = until == INT64_MAX ? INT64_MAX : until - clock_ns();
    return tarn_subscriber_wait(follow->subscriber, left < slice ? (left > 0 ? left : 0) : slice);
}

/* Until it is over. Returns the exit code that the end of the stream, a time-out or an error has. */
static int follow_all(struct follow *follow) {
    int status = 0;
    while (!is_over(follow) && !is_failure(status)) {
        bool left = status == 0 && publishers_left(follow);
        status = drain(follow);
        if (status == 0 && !is_over(follow)) {
            if (left)
                return EXIT_OK;
            status = wait_slice(follow);
        }
        if (is_warning(status))
            say_trouble(follow);
    }
    if (is_failure(status))
        return say_trouble(follow);
    if (follow->ended)
        return follow->end_code;
    bool is_complete = follow->count ? follow->counted == follow->count : !follow->end_at_eof;
    return is_complete ? EXIT_OK : EXIT_TIMEOUT;
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

/* The topic is in use for another pattern: which verb is for that. */
static int say_pattern(const struct follow *follow) {
    static const char *const hints[][2] = {
        {"events", "events: 'tarn listen %s' prints them"},
        {"blackboard", "a blackboard: 'tarn watch %s' prints its keys"},
        {"service", "requests and responses: 'tarn call %s' sends a request and prints the answer"},
        {"queue", "a work queue, where who looks at a job has taken it: 'tarn work %s' does"},
    };
    struct inspect_domain *domain;
    const char *pattern = NULL;
    char error[512], hint[512];
    snprintf(error, sizeof(error), "%s", tarn_error());
    if (inspect_domain_open(&domain, follow->place.directory, follow->place.domain) < 0)
        domain = NULL;
    for (uint32_t i = 0; domain && i < domain->topic_count; i++)
        if (strcmp(domain->topics[i].name, follow->topic) == 0)
            pattern = domain->topics[i].pattern;
    inspect_domain_close(domain);
    for (size_t i = 0; pattern && i < sizeof(hints) / sizeof(hints[0]); i++) {
        if (strcmp(hints[i][0], pattern) != 0)
            continue;
        snprintf(hint, sizeof(hint), hints[i][1], follow->topic);
        say("topic \"%s\" is in use for %s", follow->topic, hint);
        return EXIT_FAILED;
    }
    say("%s", error);
    return EXIT_FAILED;
}

int follow_open(struct follow *follow) {
    tarn_subscriber_options how = {
        .struct_bytes = sizeof(how),
        .directory = follow->place.directory,
        .domain = follow->place.domain,
        .history = follow->history,
        .reliable = follow->reliable,
        .max_held = follow->max_held,
        .wait_strategy = follow->spin ? TARN_WAIT_SPIN : TARN_WAIT_SPIN_THEN_SLEEP,
    };
    int status = tarn_subscriber_open(&follow->subscriber, follow->topic, &how);
    if (status < 0)
        return status == TARN_ERROR_PATTERN ? say_pattern(follow) : say_error();
    return EXIT_OK;
}

static void close_subscriber(struct follow *follow) {
    uint64_t lost = follow->lost = tarn_subscriber_lost(follow->subscriber);
    stop_forget_subscriber();
    tarn_subscriber_close(follow->subscriber);
    losses_say(follow);
    if (lost == 0)
        return;
    clear(follow);
    say("lost %" PRIu64 " message%s in all, took %" PRIu64, lost, lost == 1 ? "" : "s", follow->taken);
}

int follow_run(struct follow *follow) {
    stop_on_signals(follow->subscriber);
    follow->deadline_ns = clock_deadline_ns(follow->for_ns);
    int code = follow_all(follow);
    output_flush();
    close_subscriber(follow);
    if (stop_status() != EXIT_OK)
        return stop_status();
    return output_status() != EXIT_OK ? output_status() : code;
}

void follow_end(struct follow *follow, int code) {
    follow->ended = true;
    follow->end_code = code;
}
