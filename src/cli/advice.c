/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What is wrong with a topic, and what to do about it. See look.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/look.h"

struct advice {
    const struct inspect_topic *topic;
    void (*tell)(void *context, const char *sentence);
    void *context;
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void tell(struct advice *advice, const char *format, ...) {
    char text[ADVICE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (advice->tell)
        advice->tell(advice->context, text);
    advice->count++;
}

static const char *s_of(uint64_t count) {
    return count == 1 ? "" : "s";
}

static void tell_unreadable(struct advice *advice) {
    const char *problem = advice->topic->problem;
    const char *what = "";
    if (strstr(problem, "IPC namespace"))
        what = ". Look at it from where it is used, or run both with the same IPC namespace (docker: --ipc)";
    else if (strstr(problem, "is gone"))
        what = ". Who uses the topic next makes it anew; end those first who are in it yet";
    else if (strstr(problem, "user"))
        what = ". The group and mode of the directory decide who may: 'chgrp' and 'chmod' it, or ask its owner";
    else if (strstr(problem, "layout"))
        what = ". Use the same version of tarn everywhere";
    else if (strstr(problem, "plain file"))
        what = ". tarn did not make it: remove it from the directory";
    else if (strstr(problem, "damaged"))
        what = ". It is made anew when all who use it have ended, and 'tarn gc' was run or the topic is used again";
    tell(advice, "it cannot be looked into: %s%s", problem, what);
}

/* " which is stopped (...)" or "". */
static const char *stopped_text(char *ret, size_t capacity, const struct inspect_participant *who) {
    char path[32], line[256], *end;
    snprintf(path, sizeof(path), "/proc/%" PRId32 "/stat", who->pid);
    FILE *file = who->same_pid_namespace ? fopen(path, "re") : NULL;
    ret[0] = 0;
    if (file && fgets(line, sizeof(line), file) && (end = strrchr(line, ')')) && end[1] == ' ' &&
        (end[2] == 'T' || end[2] == 't'))
        snprintf(ret, capacity, ", which is stopped ('kill -CONT %" PRId32 "' continues it),", who->pid);
    if (file)
        fclose(file);
    return ret;
}

static void tell_blocking(struct advice *advice) {
    const struct inspect_topic *topic = advice->topic;
    for (uint32_t i = 0; i < topic->link_count; i++) {
        const struct inspect_link *link = &topic->links[i];
        char from[WHO_BYTES], to[WHO_BYTES], stopped[80];
        if (link->blocks)
            tell(advice,
                 "%s waits for space: reliable %s%s has not read %" PRIu64 " message%s. See what that one waits for "
                 "(continue it, end it, make it faster), or give the publisher more memory",
                 who_text(from, &topic->participants[link->publisher]),
                 who_text(to, &topic->participants[link->subscriber]),
                 stopped_text(stopped, sizeof(stopped), &topic->participants[link->subscriber]), link->behind_most,
                 s_of(link->behind_most));
    }
}

/* Nobody waits for it yet, but somebody will. */
static void tell_stopped(struct advice *advice) {
    char who[WHO_BYTES], stopped[80];
    for (uint32_t i = 0; i < advice->topic->participant_count; i++) {
        const struct inspect_participant *subscriber = &advice->topic->participants[i];
        if (subscriber->reliable && subscriber->life == INSPECT_ALIVE && subscriber->behind_least > 0 &&
            stopped_text(stopped, sizeof(stopped), subscriber)[0])
            tell(advice, "reliable %s%s has %" PRIu64 " message%s to read: publishers wait for it when they are full",
                 who_text(who, subscriber), stopped, subscriber->behind_least, s_of(subscriber->behind_least));
    }
}

/* Those who have left, or died, have no more than what is kept. */
static void tell_lacking(struct advice *advice) {
    const struct inspect_topic *topic = advice->topic;
    char keeper[WHO_BYTES], owner[WHO_BYTES], stopped[80];
    bool is_waited_for = topic->pattern && strcmp(topic->pattern, "messages") == 0;
    for (uint32_t i = 0; i < topic->kept_count; i++) {
        const struct inspect_kept *kept = &topic->kept[i];
        if (kept->attached < kept->segments && topic->participants[kept->owner].life == INSPECT_ALIVE)
            tell(advice,
                 "%s%s has attached %" PRIu32 " of %" PRIu32 " segments of %s: what is in the others ends with that "
                 "one%s. A keeper that is not stopped says on stderr why",
                 who_text(keeper, &topic->participants[kept->keeper]),
                 stopped_text(stopped, sizeof(stopped), &topic->participants[kept->keeper]), kept->attached,
                 kept->segments, who_text(owner, &topic->participants[kept->owner]),
                 is_waited_for ? ", which waits for it up to a second when it closes" : "");
    }
}

static void tell_dead(struct advice *advice) {
    char who[WHO_BYTES];
    for (uint32_t i = 0; i < advice->topic->participant_count; i++)
        if (advice->topic->participants[i].life == INSPECT_DEAD)
            tell(advice,
                 "%s has died, and its place awaits repair: who uses the topic next does that, or 'tarn gc' now",
                 who_text(who, &advice->topic->participants[i]));
}

static void tell_unreadable_memory(struct advice *advice) {
    char who[WHO_BYTES];
    for (uint32_t i = 0; i < advice->topic->participant_count; i++) {
        const struct inspect_participant *publisher = &advice->topic->participants[i];
        if (publisher->publisher && publisher->life == INSPECT_ALIVE && !publisher->has_memory &&
            !is_role(publisher, "notifier"))
            tell(advice,
                 "the memory of %s cannot be looked at: it is damaged, or of another user. Newcomers do not see its "
                 "messages: start it again",
                 who_text(who, publisher));
    }
}

static void tell_losses(struct advice *advice) {
    char who[WHO_BYTES];
    for (uint32_t i = 0; i < advice->topic->participant_count; i++) {
        const struct inspect_participant *subscriber = &advice->topic->participants[i];
        if (subscriber->life == INSPECT_ALIVE && is_role(subscriber, "subscriber") && subscriber->lost)
            tell(advice,
                 "%s has lost %" PRIu64 " message%s since it opened: it is slower than what is sent. A reliable "
                 "one would hold the publisher back instead; a larger depth of the publisher lets it lag more",
                 who_text(who, subscriber), subscriber->lost, s_of(subscriber->lost));
    }
}

static uint32_t count_alive(const struct inspect_topic *topic, const char *role) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < topic->participant_count; i++)
        count += topic->participants[i].life == INSPECT_ALIVE && is_role(&topic->participants[i], role);
    return count;
}

static void tell_idle_queue(struct advice *advice) {
    uint64_t waiting = 0;
    char who[WHO_BYTES];
    for (uint32_t i = 0; i < advice->topic->participant_count; i++) {
        const struct inspect_participant *producer = &advice->topic->participants[i];
        waiting += producer->queue.waiting;
        if (producer->queue.capacity && producer->queue.waiting + producer->queue.in_work >= producer->queue.capacity)
            tell(advice, "the queue of %s is full: start more workers, or give it a larger capacity",
                 who_text(who, producer));
    }
    if (waiting && count_alive(advice->topic, "worker") == 0)
        tell(advice, "%" PRIu64 " job%s wait%s, and there is no worker: start one with 'tarn work %s -- COMMAND'",
             waiting, s_of(waiting), waiting == 1 ? "s" : "", advice->topic->name);
}

static void tell_missing_server(struct advice *advice) {
    bool is_service = advice->topic->pattern && strcmp(advice->topic->pattern, "service") == 0;
    if (is_service && count_alive(advice->topic, "client") && count_alive(advice->topic, "server") == 0)
        tell(advice, "there are clients, and no server: start one");
}

size_t advice_for(const struct inspect_topic *topic, void (*told)(void *context, const char *sentence), void *context) {
    struct advice advice = {topic, told, context, 0};
    if (topic->problem)
        tell_unreadable(&advice);
    else if (!topic->in_use)
        tell(&advice, "nobody is left in it: 'tarn gc' removes the file, or who uses the topic next");
    tell_blocking(&advice);
    tell_stopped(&advice);
    tell_lacking(&advice);
    tell_dead(&advice);
    tell_unreadable_memory(&advice);
    tell_losses(&advice);
    tell_idle_queue(&advice);
    tell_missing_server(&advice);
    if (topic->links_left_out)
        tell(&advice, "there are too many participants to say how far each is");
    return advice.count;
}
