/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* tarn ls: who is in which topic. Only looks: takes no slot, and disturbs nobody. */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "core/directory.h"
#include "core/inspect.h"

enum { OPTION_JSON = OPTION_FIRST, OPTION_NAMES };

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON}, {"names", no_argument, NULL, OPTION_NAMES}, COMMON_OPTIONS};

struct wishes {
    bool json, names;
};

static bool set(int option, const char *argument, void *context) {
    struct wishes *wishes = context;
    (void)argument;
    return *(option == OPTION_JSON ? &wishes->json : &wishes->names) = true;
}

static bool is_wanted(const struct inspect_topic *topic, char **patterns) {
    bool any = *patterns == NULL;
    for (; !any && *patterns; patterns++)
        any = fnmatch(*patterns, topic->name, 0) == 0;
    return any;
}

/* ---- for people ----------------------------------------------------------------------------------------------- */

static bool is_role(const struct inspect_participant *who, const char *role) {
    return strcmp(who->role, role) == 0;
}

static void print_participant(const struct inspect_participant *who) {
    char messages[32] = "-", held[32] = "-", lost[32] = "-";
    bool is_plain = is_role(who, "subscriber");
    if (!is_role(who, "notifier") && !is_role(who, "monitor"))
        snprintf(messages, sizeof(messages), "%" PRIu64, who->messages);
    if (who->publisher && !is_role(who, "notifier"))
        snprintf(held, sizeof(held), "%s", human_bytes(who->bytes_held));
    if (is_plain)
        snprintf(lost, sizeof(lost), "%" PRIu64, who->lost);
    output_print("  %-10s %7" PRId32 "  ", who->role, who->pid);
    format_text(who->command, strlen(who->command));
    output_print("%*s %11s %10s %9s", (int)(15 - strlen(who->command)), "", messages, held, lost);
    if (who->reliable)
        output_print("  reliable");
    if (who->life == INSPECT_DEAD)
        output_print("  dead, awaits repair");
    if (who->life == INSPECT_LEFT)
        output_print(who->publisher ? "  has left, what it left is needed" : "  has left, holds messages");
    if (!who->same_pid_namespace)
        output_print("  (pid of another container)");
    output_print("\n");
}

/* What the pattern has in the places of publishers and of subscribers. */
static const char *const roles[][3] = {
    {"messages", "publisher", "subscriber"}, {"events", "notifier", "listener"}, {"blackboard", "writer", "reader"},
    {"queue", "producer", "worker"},         {"service", "client", "server"},
};

static uint32_t count_role(const struct inspect_topic *topic, const char *role) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < topic->participant_count; i++)
        count += topic->participants[i].life == INSPECT_ALIVE && is_role(&topic->participants[i], role);
    return count;
}

static const char *print_role_count(const struct inspect_topic *topic, const char *role, const char *before) {
    uint32_t count = count_role(topic, role);
    output_print("%s%" PRIu32 " %s%s", before, count, role, count == 1 ? "" : "s");
    return ", ";
}

static void print_counts(const struct inspect_topic *topic) {
    const char *before = ": ";
    const char *pattern = topic->pattern || topic->monitors ? topic->pattern : "messages"; /* what is left over */
    for (size_t i = 0; pattern && i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcmp(pattern, roles[i][0]) != 0)
            continue;
        before = print_role_count(topic, roles[i][1], before);
        before = print_role_count(topic, roles[i][2], before);
    }
    if (topic->monitors)
        print_role_count(topic, "monitor", before);
}

static void print_topic(const struct inspect_topic *topic) {
    output_print("\n");
    format_text(topic->name, strlen(topic->name));
    if (topic->problem) {
        output_print(": cannot be looked into: %s\n", topic->problem);
        return;
    }
    print_counts(topic);
    if (topic->type_name[0]) {
        output_print(", type ");
        format_text(topic->type_name, strlen(topic->type_name));
        output_print(" (");
        format_text(topic->type_encoding, strlen(topic->type_encoding));
        output_print(topic->type_bytes ? ", %" PRIu64 " bytes)" : ")", topic->type_bytes);
    }
    output_print(topic->in_use ? "\n" : ", left over: 'tarn gc' removes it\n");
    for (uint32_t i = 0; i < topic->participant_count; i++)
        print_participant(&topic->participants[i]);
}

static void print_table(const struct inspect_domain *domain, char **patterns) {
    uint32_t wanted = 0, rows = 0;
    for (uint32_t i = 0; i < domain->topic_count; i++) {
        wanted += is_wanted(&domain->topics[i], patterns);
        rows += is_wanted(&domain->topics[i], patterns) ? domain->topics[i].participant_count : 0;
    }
    output_print("%s: ", domain->path);
    if (wanted == 0)
        output_print(domain->topic_count ? "no topics of that name\n" : "no topics\n");
    else
        output_print("%" PRIu32 " topic%s\n", wanted, wanted == 1 ? "" : "s");
    if (rows)
        output_print("\n  %-10s %7s  %-15s %11s %10s %9s\n", "ROLE", "PID", "COMMAND", "MESSAGES", "HELD", "LOST");
    for (uint32_t i = 0; i < domain->topic_count; i++)
        if (is_wanted(&domain->topics[i], patterns))
            print_topic(&domain->topics[i]);
}

/* ---- for programs --------------------------------------------------------------------------------------------- */

static const char *json_bool(bool value) {
    return value ? "true" : "false";
}

static void json_participant(const struct inspect_participant *who) {
    output_print("      {\"role\": \"%s\", \"alive\": %s, \"slot\": %" PRIu32 ", \"pid\": %" PRId32, who->role,
                 json_bool(who->life == INSPECT_ALIVE), who->slot, who->pid);
    output_print(", \"same_pid_namespace\": %s, \"uid\": %" PRIu32 ", \"command\": ",
                 json_bool(who->same_pid_namespace), who->uid);
    format_json_string(who->command);
    output_print(", \"opened_ns\": %" PRId64 ", \"messages\": %" PRIu64, who->opened_ns, who->messages);
    if (who->publisher)
        output_print(", \"identity\": \"%016" PRIx64 "\", \"bytes_held\": %" PRIu64 "}", who->identity,
                     who->bytes_held);
    else
        output_print(", \"reliable\": %s, \"lost\": %" PRIu64 "}", json_bool(who->reliable), who->lost);
}

static void json_type(const struct inspect_topic *topic) {
    if (!topic->type_name[0]) {
        output_print("null");
        return;
    }
    output_print("{\"name\": ");
    format_json_string(topic->type_name);
    output_print(", \"encoding\": ");
    format_json_string(topic->type_encoding);
    output_print(", \"bytes\": %" PRIu64 "}", topic->type_bytes);
}

static void json_topic(const struct inspect_topic *topic) {
    output_print("    {\"name\": ");
    format_json_string(topic->name);
    output_print(", \"in_use\": %s, \"problem\": ", json_bool(topic->in_use));
    if (topic->problem)
        format_json_string(topic->problem);
    else
        output_print("null");
    if (topic->pattern)
        output_print(", \"pattern\": \"%s\"", topic->pattern);
    else
        output_print(", \"pattern\": null");
    output_print(", \"type\": ");
    json_type(topic);
    output_print(", \"publishers\": %" PRIu32 ", \"subscribers\": %" PRIu32 ", \"monitors\": %" PRIu32
                 ", \"participants\": [",
                 topic->publishers, topic->subscribers, topic->monitors);
    for (uint32_t i = 0; i < topic->participant_count; i++) {
        output_print(i ? ",\n" : "\n");
        json_participant(&topic->participants[i]);
    }
    output_print("]}");
}

static void print_json(const struct inspect_domain *domain, char **patterns) {
    const char *before = "\n";
    output_print("{\"directory\": ");
    format_json_string(domain->path);
    output_print(", \"topics\": [");
    for (uint32_t i = 0; i < domain->topic_count; i++) {
        if (!is_wanted(&domain->topics[i], patterns))
            continue;
        output_print("%s", before);
        json_topic(&domain->topics[i]);
        before = ",\n";
    }
    output_print("]}\n");
}

/* ---- for shells ----------------------------------------------------------------------------------------------- */

static void print_names(const struct inspect_domain *domain, char **patterns) {
    for (uint32_t i = 0; i < domain->topic_count; i++)
        if (is_wanted(&domain->topics[i], patterns))
            output_print("%s\n", domain->topics[i].name);
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */

/* A name that no topic can have was mistyped: it would list nothing, for ever. */
static int check(char **patterns) {
    for (; *patterns; patterns++)
        if (!strpbrk(*patterns, "*?[\\") && topic_name_check(*patterns) < 0)
            return say_error();
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    struct place place;
    struct inspect_domain *domain;
    struct wishes wishes = {.json = false};
    int code = arguments_parse(&verb_ls, argc, argv, &place, set, &wishes);
    if (code >= 0)
        return code;
    if (wishes.json && wishes.names)
        return usage_error(&verb_ls, "--json and --names exclude each other");
    if ((code = check(argv + optind)) != EXIT_OK)
        return code;
    if (inspect_domain_open(&domain, place.directory, place.domain) < 0)
        return say_error();
    (wishes.json ? print_json : wishes.names ? print_names : print_table)(domain, argv + optind);
    inspect_domain_close(domain);
    return EXIT_OK;
}

const struct verb verb_ls = {
    "ls",
    "lists topics, and who is in them",
    "usage: tarn ls [TOPIC...] [OPTION...]\n"
    "\n"
    "Lists topics and who is in them, in the directory that the first line names. Disturbs nobody.\n"
    "\n"
    "examples\n"
    "  tarn ls\n"
    "  tarn ls 'camera/*'\n"
    "  tarn ls --json | jq '.topics[] | .name'\n"
    "\n"
    "columns\n"
    "  ROLE                what the participant does, which tells the topic's pattern, too: publisher, subscriber;\n"
    "                      notifier, listener; client, server, and log, memory of these; writer, reader; producer,\n"
    "                      worker; monitor; keeper\n"
    "  MESSAGES            publishers: sent; subscribers and listeners: taken\n"
    "  HELD                memory of the publisher's messages, and what it keeps ready for the next\n"
    "  LOST                messages that the subscriber was too slow for\n"
    "  The dead are listed until somebody repairs their place: whoever uses the topic next, or 'tarn gc'.\n"
    "\n"
    "options\n"
    "  --names             the topics' names only, one a line\n"
    "  --json              as JSON, whose fields stay as they are:\n"
    "                        directory, topics: [\n"
    "                          name, in_use, problem (null, or why it cannot be looked into),\n"
    "                          pattern (null, messages, service, events, blackboard, queue),\n"
    "                          type (null, or name, encoding, bytes),\n"
    "                          publishers, subscribers (alive, or what the pattern has for them), monitors,\n"
    "                          participants: [\n"
    "                            role (as above), alive, slot, pid, same_pid_namespace, uid, command,\n"
    "                            opened_ns (CLOCK_MONOTONIC), messages,\n"
    "                            of who sends: identity, bytes_held; of the others: reliable, lost]]\n" COMMON_HELP "\n"
    "No topics is no failure: the exit code is 0. See also 'tarn info', 'tarn top'. More in 'tarn help'.\n",
    options,
    run,
};
