/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn info: all about one topic: who is in it, how far they are, what is wrong. Only looks. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/info.h"
#include "tarn.h"

enum { OPTION_JSON = OPTION_FIRST };

static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON}, COMMON_OPTIONS};

static bool set(int option, const char *argument, void *context) {
    (void)argument;
    return *(bool *)context = option == OPTION_JSON;
}

/* ---- one participant ------------------------------------------------------------------------------------------ */

static const char *life_text(const struct inspect_participant *who) {
    if (who->life == INSPECT_DEAD)
        return ", dead, awaits repair";
    if (who->life == INSPECT_LEFT)
        return who->publisher ? ", has left, what it left is needed" : ", has left, holds messages";
    return "";
}

static void print_head(const struct inspect_participant *who) {
    output_print("\n%s %" PRId32 "  ", who->role, who->pid);
    format_text(who->command, strlen(who->command));
    output_print("  of %s, here for %s%s%s\n", user_text(who->uid), age_text(who), life_text(who),
                 who->same_pid_namespace ? "" : " (pid of another container)");
}

static void print_last(const struct inspect_traffic *traffic) {
    if (!traffic->last_seen)
        return;
    output_print("    last      number %" PRIu64 ", %" PRIu64 " byte%s", traffic->sent, traffic->last_bytes,
                 traffic->last_bytes == 1 ? "" : "s");
    int64_t age_ns = clock_ns() - traffic->last_sent_ns;
    if (traffic->last_sent_ns > 0 && age_ns >= 0)
        output_print(", sent %s ago", duration_text(age_ns));
    output_print("\n");
}

static void print_sent(const struct inspect_participant *who, const char *what) {
    const struct inspect_traffic *traffic = &who->traffic;
    output_print("    sent      %" PRIu64 " %s", traffic->sent, what);
    if (traffic->seen)
        output_print(", of %s on average (the newest %" PRIu64 ")", human_bytes(traffic->seen_bytes / traffic->seen),
                     traffic->seen);
    output_print("\n");
    print_last(traffic);
}

static void print_queue(const struct inspect_participant *who) {
    output_print("    queue     %" PRIu32 " of %" PRIu32 " places taken: %" PRIu32 " waiting, %" PRIu32 " in work",
                 who->queue.waiting + who->queue.in_work, who->queue.capacity, who->queue.waiting, who->queue.in_work);
    if (who->queue.claim_limit_ns)
        output_print(", claims end after %s", duration_text((int64_t)who->queue.claim_limit_ns));
    if (who->queue.attempts_max)
        output_print(", at most %" PRIu32 " deliveries", who->queue.attempts_max);
    output_print("\n");
}

static void print_memory(const struct inspect_participant *who) {
    output_print("    memory    %s held", human_bytes(who->bytes_held));
    output_print(", in segments of %s\n", human_bytes(who->bytes_mapped));
}

/* What it was opened with. */
static void print_options(const struct inspect_topic *topic, const struct inspect_participant *who) {
    output_print("    options   ");
    if (who->depth)
        output_print("depth %" PRIu64 ", ", who->depth);
    else if (is_role(who, "publisher") && topic->pattern && strcmp(topic->pattern, "messages") == 0)
        output_print("default depth, ");
    if (who->limit_bytes)
        output_print("memory limit %s", human_bytes(who->limit_bytes));
    else
        output_print("default memory limit");
    if (who->when_full)
        output_print(", %s", who->when_full);
    if (who->when_full && strcmp(who->when_full, "waits") == 0)
        output_print(who->full_timeout_ns == TARN_FOREVER ? " for ever" : " up to %s",
                     duration_text(who->full_timeout_ns));
    output_print("%s%s%s\n", who->when_full ? " when full" : "", who->realtime ? ", realtime" : "",
                 who->refuses_reliable ? ", refuses reliable subscribers" : "");
}

static void print_publisher(const struct inspect_topic *topic, const struct inspect_participant *who) {
    char peer[WHO_BYTES];
    print_head(who);
    if (who->owner != INSPECT_NOBODY)
        output_print("    owner     %s\n", who_text(peer, &topic->participants[who->owner]));
    if (who->addressee != INSPECT_NOBODY)
        output_print("    to        %s\n", who_text(peer, &topic->participants[who->addressee]));
    if (who->has_memory && !is_role(who, "writer"))
        print_sent(who, is_role(who, "producer") ? "jobs" : "messages");
    if (who->queue.capacity)
        print_queue(who);
    if (who->has_memory)
        print_memory(who);
    if (who->has_memory)
        print_options(topic, who);
}

/* "3 messages", "up to 35 messages", "12 to 35 messages". */
static void print_range(uint64_t least, uint64_t most) {
    if (least == most)
        output_print("%" PRIu64, most);
    else if (least == 0)
        output_print("up to %" PRIu64, most);
    else
        output_print("%" PRIu64 " to %" PRIu64, least, most);
    output_print(" message%s", most == 1 ? "" : "s");
}

static void print_links(const struct inspect_topic *topic, uint32_t subscriber) {
    char peer[WHO_BYTES];
    for (uint32_t i = 0; i < topic->link_count; i++) {
        const struct inspect_link *link = &topic->links[i];
        if (link->subscriber != subscriber)
            continue;
        output_print("    behind    ");
        print_range(link->behind_least, link->behind_most);
        output_print(" of %s%s\n", who_text(peer, &topic->participants[link->publisher]),
                     link->blocks ? ", which waits for it" : "");
    }
}

static void print_kept(const struct inspect_topic *topic, uint32_t keeper) {
    char owner[WHO_BYTES];
    for (uint32_t i = 0; i < topic->kept_count; i++) {
        const struct inspect_kept *kept = &topic->kept[i];
        if (kept->keeper != keeper)
            continue;
        output_print("    keeps     ");
        if (kept->attached == kept->segments)
            output_print("all memory");
        else
            output_print("%" PRIu32 " of %" PRIu32 " segments", kept->attached, kept->segments);
        output_print(" of %s\n", who_text(owner, &topic->participants[kept->owner]));
    }
}

static void print_subscriber(const struct inspect_topic *topic, uint32_t index) {
    const struct inspect_participant *who = &topic->participants[index];
    print_head(who);
    print_kept(topic, index);
    if (is_role(who, "monitor") || is_role(who, "keeper"))
        return;
    output_print("    taken     %" PRIu64, who->messages);
    if (is_role(who, "subscriber"))
        output_print(", lost %" PRIu64 "%s", who->lost, who->reliable ? ", reliable" : "");
    if (is_role(who, "server"))
        output_print(", %" PRIu32 " not ended", who->load);
    output_print("\n");
    print_links(topic, index);
}

/* ---- the topic ------------------------------------------------------------------------------------------------ */

static void print_type(const struct inspect_topic *topic) {
    if (!topic->type_name[0])
        return;
    output_print("  type      ");
    format_text(topic->type_name, strlen(topic->type_name));
    output_print(" (");
    format_text(topic->type_encoding, strlen(topic->type_encoding));
    output_print(topic->type_bytes ? ", %" PRIu64 " bytes)\n" : ")\n", topic->type_bytes);
}

static void print_counts(const struct inspect_topic *topic) {
    output_print("  alive     ");
    if (topic->pattern && strcmp(topic->pattern, "service") == 0)
        output_print("%" PRIu32 " client%s or server%s", topic->subscribers, topic->subscribers == 1 ? "" : "s",
                     topic->subscribers == 1 ? "" : "s");
    else
        output_print("%" PRIu32 " %s%s, %" PRIu32 " %s%s", topic->publishers, sender_role(topic),
                     topic->publishers == 1 ? "" : "s", topic->subscribers, receiver_role(topic),
                     topic->subscribers == 1 ? "" : "s");
    if (topic->monitors)
        output_print(", %" PRIu32 " monitor%s", topic->monitors, topic->monitors == 1 ? "" : "s");
    output_print("\n");
}

/* Events and keys, which are no participant's. */
static void print_flows(const struct inspect_topic *topic) {
    for (uint32_t i = 0; i < topic->flow_count; i++) {
        const struct inspect_flow *flow = &topic->flows[i];
        char writer[WHO_BYTES];
        if (strcmp(flow->what, "events") == 0)
            output_print("  event     %" PRIu64 ", raised %" PRIu64 " times\n", flow->id, flow->traffic.sent);
        if (strcmp(flow->what, "values") != 0)
            continue;
        output_print("  key       ");
        format_text(flow->name, strlen(flow->name));
        output_print(", version %" PRIu64, flow->traffic.sent);
        if (flow->traffic.last_seen)
            output_print(", %" PRIu64 " byte%s", flow->traffic.last_bytes, flow->traffic.last_bytes == 1 ? "" : "s");
        if (flow->participant != INSPECT_NOBODY)
            output_print(", of %s", who_text(writer, &topic->participants[flow->participant]));
        output_print("\n");
    }
}

static void print_advice(void *context, const char *sentence) {
    (void)context;
    output_print("  - ");
    format_sentence(sentence, 4);
    output_print("\n");
}

static void print_text(const struct inspect_topic *topic, const char *path) {
    format_text(topic->name, strlen(topic->name));
    output_print("\n  directory %s\n", path);
    output_print("  pattern   %s\n", topic->pattern ? topic->pattern : "none yet");
    print_type(topic);
    print_counts(topic);
    print_flows(topic);
    for (uint32_t i = 0; i < topic->participant_count; i++)
        if (topic->participants[i].publisher)
            print_publisher(topic, &topic->participants[i]);
        else
            print_subscriber(topic, i);
    if (advice_for(topic, NULL, NULL) == 0) {
        output_print("\nnothing is wrong with it\n");
        return;
    }
    output_print("\nwhat is wrong, and what to do\n");
    advice_for(topic, print_advice, NULL);
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

static int show(struct inspect_watch *watch, const char *name, bool json) {
    struct inspect_topic *topic;
    int status = inspect_watch_look(watch, &topic);
    if (status < 0)
        return say_error();
    if (status == 0) {
        say("there is no topic \"%s\" in %s: it is there while somebody uses it; 'tarn ls' lists those that are, and "
            "--directory and --domain say where to look",
            name, inspect_watch_path(watch));
        return EXIT_FAILED;
    }
    (json ? info_print_json : print_text)(topic, inspect_watch_path(watch));
    inspect_topic_free(topic);
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    struct place place;
    struct inspect_watch *watch;
    bool json = false;
    int code = arguments_parse(&verb_info, argc, argv, &place, set, &json);
    if (code >= 0)
        return code;
    if (optind + 1 != argc)
        return usage_error(&verb_info, argc == optind ? "a topic is missing" : "only one topic at a time");
    if (inspect_watch_open(&watch, argv[optind], place.directory, place.domain) < 0)
        return say_error();
    code = show(watch, argv[optind], json);
    inspect_watch_close(watch);
    return code;
}

const struct verb verb_info = {
    "info",
    "tells all about a topic, and what is wrong with it",
    "usage: tarn info TOPIC [OPTION...]\n"
    "\n"
    "Tells who is in a topic, how far each is, how much memory they hold, what is wrong, and what to do about it.\n"
    "Disturbs nobody: it takes no place in the topic, and is seen by nobody.\n"
    "\n"
    "examples\n"
    "  tarn info camera/front\n"
    "  tarn info camera/front --json | jq -r '.problems[]'                 what is wrong, one per line\n"
    "  tarn info t --json | jq '.participants[] | select(.lost > 0) | .pid'  who is too slow\n"
    "\n"
    "what it says\n"
    "  sent                by a publisher; the average size is that of the newest messages, which lie in memory yet\n"
    "  last                the last message: its number, its size, and how old it is if it carries its time of "
    "sending\n"
    "  memory              of messages, and kept ready for the next; and the addresses reserved for more\n"
    "  behind              messages that a subscriber has not read, or holds. It is exact for reliable ones; of "
    "others\n"
    "                      only the piece of memory is known that they are in, so there is a least and a most\n"
    "  keeps               memory that a keeper has attached: what it lacks is lost when its owner ends\n"
    "  queue               jobs that wait for a worker, or that one has\n"
    "  options             what it was opened with: retained depth (default: 8 messages, or fewer where they are "
    "large),\n"
    "                      memory limit (default: a quarter of the machine's), what it does when that is full\n"
    "\n"
    "options\n"
    "  --json              as JSON, whose fields stay as they are:\n"
    "                        directory, name, in_use, problem (null, or why it cannot be looked into), pattern (null,\n"
    "                        messages, service, events, blackboard, queue), type (null, or name, encoding, bytes),\n"
    "                        publishers, subscribers, monitors: as in 'tarn ls --json',\n"
    "                        participants: [\n"
    "                          role, life (alive, dead, left), slot, pid, same_pid_namespace, uid, user, command,\n"
    "                          opened_ns (CLOCK_MONOTONIC), messages,\n"
    "                          of who sends: identity, bytes_held, bytes_mapped, refuses_reliable, waits_for_space,\n"
    "                            depth, memory_limit_bytes (null: the default), when_full (waits, fails, drops, or "
    "null),\n"
    "                            full_timeout_ns (null: for ever), realtime,\n"
    "                            owner, addressee (null, or the client's or server's place in this list),\n"
    "                            newest (null, or messages, bytes: those whose size was looked at),\n"
    "                            last (null, or number, bytes, sent_ns: null if it carries no time),\n"
    "                            queue (null, or capacity, waiting, in_work, claim_limit_ns, attempts_max),\n"
    "                          of the others: reliable, lost, load, behind_least, behind_most (null: not known)],\n"
    "                        links: [publisher, subscriber (places in that list), behind_least, behind_most, blocks],\n"
    "                        kept: [owner, keeper (places in that list), segments (of the owner's memory), attached\n"
    "                          (of these, by the keeper)],\n"
    "                        counters: [what (messages, requests, responses, events, values, jobs),\n"
    "                          id (the sender's identity, or a number), name (null, or the key),\n"
    "                          participant (null, or a place in that list), count],\n"
    "                        problems: [sentences]\n" COMMON_HELP "\n"
    "The exit code is 0 also when something is wrong with the topic, and 1 when there is no such topic. More in 'tarn "
    "help'.\n",
    options,
    run,
};
