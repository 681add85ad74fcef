/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What 'tarn info --json' prints; the help page in info.c lists the fields. */
#include <inttypes.h>
#include <string.h>

#include "cli/info.h"
#include "tarn.h"

static const char *json_bool(bool value) {
    return value ? "true" : "false";
}

static void print_string(const char *name, const char *text) {
    output_print("\"%s\": ", name);
    if (text)
        format_json_string(text);
    else
        output_print("null");
}

static void print_index(const char *name, uint32_t index) {
    if (index == INSPECT_NOBODY)
        output_print(", \"%s\": null", name);
    else
        output_print(", \"%s\": %" PRIu32, name, index);
}

static void print_traffic(const struct inspect_traffic *traffic) {
    if (traffic->seen)
        output_print(",\n      \"newest\": {\"messages\": %" PRIu64 ", \"bytes\": %" PRIu64 "}", traffic->seen,
                     traffic->seen_bytes);
    else
        output_print(",\n      \"newest\": null");
    if (!traffic->last_seen) {
        output_print(", \"last\": null");
        return;
    }
    output_print(", \"last\": {\"number\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"sent_ns\": ", traffic->sent,
                 traffic->last_bytes);
    if (traffic->last_sent_ns)
        output_print("%" PRId64 "}", traffic->last_sent_ns);
    else
        output_print("null}");
}

/* 0: the default. */
static void print_option(const char *name, uint64_t value) {
    if (value)
        output_print(", \"%s\": %" PRIu64, name, value);
    else
        output_print(", \"%s\": null", name);
}

static void print_publisher(const struct inspect_participant *who) {
    output_print(",\n      \"identity\": \"%016" PRIx64 "\", \"bytes_held\": %" PRIu64 ", \"bytes_mapped\": %" PRIu64
                 ", \"refuses_reliable\": %s, \"waits_for_space\": %s",
                 who->identity, who->bytes_held, who->bytes_mapped, json_bool(who->refuses_reliable),
                 json_bool(who->waits));
    print_option("depth", who->depth);
    print_option("memory_limit_bytes", who->limit_bytes);
    if (who->when_full)
        output_print(", \"when_full\": \"%s\"", who->when_full);
    else
        output_print(", \"when_full\": null");
    if (who->full_timeout_ns == TARN_FOREVER)
        output_print(", \"full_timeout_ns\": null");
    else
        output_print(", \"full_timeout_ns\": %" PRId64, who->full_timeout_ns);
    output_print(", \"realtime\": %s", json_bool(who->realtime));
    print_index("owner", who->owner);
    print_index("addressee", who->addressee);
    print_traffic(&who->traffic);
    if (who->queue.capacity)
        output_print(", \"queue\": {\"capacity\": %" PRIu32 ", \"waiting\": %" PRIu32 ", \"in_work\": %" PRIu32
                     ", \"claim_limit_ns\": %" PRIu64 ", \"attempts_max\": %" PRIu32 "}",
                     who->queue.capacity, who->queue.waiting, who->queue.in_work, who->queue.claim_limit_ns,
                     who->queue.attempts_max);
    else
        output_print(", \"queue\": null");
}

static void print_subscriber(const struct inspect_participant *who) {
    output_print(",\n      \"reliable\": %s, \"lost\": %" PRIu64 ", \"load\": %" PRIu32, json_bool(who->reliable),
                 who->lost, who->load);
    if (who->has_lag)
        output_print(", \"behind_least\": %" PRIu64 ", \"behind_most\": %" PRIu64, who->behind_least, who->behind_most);
    else
        output_print(", \"behind_least\": null, \"behind_most\": null");
}

static void print_participant(const struct inspect_participant *who) {
    static const char *const lives[] = {"", "alive", "dead", "left"};
    output_print("\n    {\"role\": \"%s\", \"life\": \"%s\", \"slot\": %" PRIu32 ", \"pid\": %" PRId32
                 ", \"same_pid_namespace\": %s, \"uid\": %" PRIu32 ", ",
                 who->role, lives[who->life], who->slot, who->pid, json_bool(who->same_pid_namespace), who->uid);
    print_string("user", user_text(who->uid));
    output_print(", ");
    print_string("command", who->command);
    output_print(", \"opened_ns\": %" PRId64 ", \"messages\": %" PRIu64, who->opened_ns, who->messages);
    (who->publisher ? print_publisher : print_subscriber)(who);
    output_print("}");
}

static void print_link(const struct inspect_link *link) {
    output_print("\n    {\"publisher\": %" PRIu32 ", \"subscriber\": %" PRIu32 ", \"behind_least\": %" PRIu64
                 ", \"behind_most\": %" PRIu64 ", \"blocks\": %s}",
                 link->publisher, link->subscriber, link->behind_least, link->behind_most, json_bool(link->blocks));
}

static void print_kept(const struct inspect_kept *kept) {
    output_print("\n    {\"owner\": %" PRIu32 ", \"keeper\": %" PRIu32 ", \"segments\": %" PRIu32
                 ", \"attached\": %" PRIu32 "}",
                 kept->owner, kept->keeper, kept->segments, kept->attached);
}

static void print_counter(const struct inspect_flow *flow) {
    bool by_number = strcmp(flow->what, "events") == 0 || strcmp(flow->what, "values") == 0;
    output_print("\n    {\"what\": \"%s\", ", flow->what);
    output_print(by_number ? "\"id\": %" PRIu64 ", " : "\"id\": \"%016" PRIx64 "\", ", flow->id);
    print_string("name", flow->name[0] ? flow->name : NULL);
    print_index("participant", flow->participant);
    output_print(", \"count\": %" PRIu64 "}", flow->traffic.sent);
}

static void print_type(const struct inspect_topic *topic) {
    if (!topic->type_name[0]) {
        output_print(",\n  \"type\": null");
        return;
    }
    output_print(",\n  \"type\": {");
    print_string("name", topic->type_name);
    output_print(", ");
    print_string("encoding", topic->type_encoding);
    output_print(", \"bytes\": %" PRIu64 "}", topic->type_bytes);
}

static void print_problem(void *context, const char *sentence) {
    const char **before = context;
    output_print("%s\n    ", *before);
    format_json_string(sentence);
    *before = ",";
}

void info_print_json(const struct inspect_topic *topic, const char *path) {
    const char *before = "";
    output_print("{");
    print_string("directory", path);
    output_print(",\n  ");
    print_string("name", topic->name);
    output_print(", \"in_use\": %s, ", json_bool(topic->in_use));
    print_string("problem", topic->problem);
    output_print(", ");
    print_string("pattern", topic->pattern);
    print_type(topic);
    output_print(",\n  \"publishers\": %" PRIu32 ", \"subscribers\": %" PRIu32 ", \"monitors\": %" PRIu32
                 ",\n  \"participants\": [",
                 topic->publishers, topic->subscribers, topic->monitors);
    for (uint32_t i = 0; i < topic->participant_count; i++, before = ",") {
        output_print("%s", before);
        print_participant(&topic->participants[i]);
    }
    output_print("],\n  \"links\": [");
    for (uint32_t i = 0; i < topic->link_count; i++) {
        output_print(i ? "," : "");
        print_link(&topic->links[i]);
    }
    output_print("],\n  \"kept\": [");
    for (uint32_t i = 0; i < topic->kept_count; i++) {
        output_print(i ? "," : "");
        print_kept(&topic->kept[i]);
    }
    output_print("],\n  \"counters\": [");
    for (uint32_t i = 0; i < topic->flow_count; i++) {
        output_print(i ? "," : "");
        print_counter(&topic->flows[i]);
    }
    output_print("],\n  \"problems\": [");
    before = "";
    advice_for(topic, print_problem, &before);
    output_print("]}\n");
}
