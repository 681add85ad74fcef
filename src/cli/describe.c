/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Participants, ages and numbers in words. See look.h. */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cli/look.h"

void plain_text(char *ret, size_t capacity, const char *text) {
    size_t i = 0;
    for (; i + 1 < capacity && text[i]; i++)
        ret[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
    ret[i] = 0;
}

bool is_role(const struct inspect_participant *who, const char *role) {
    return strcmp(who->role, role) == 0;
}

const char *who_text(char *ret, const struct inspect_participant *who) {
    char command[sizeof(who->command)];
    plain_text(command, sizeof(command), who->command);
    snprintf(ret, WHO_BYTES, "%s %" PRId32 "%s (%s)", who->role, who->pid,
             who->same_pid_namespace ? "" : " of another container", command);
    return ret;
}

const char *user_text(uint32_t uid) {
    static char text[64];
    static uint32_t known;
    if (text[0] && known == uid)
        return text;
    const struct passwd *entry = getpwuid(uid);
    if (entry)
        plain_text(text, sizeof(text), entry->pw_name);
    else
        snprintf(text, sizeof(text), "user %" PRIu32, uid);
    known = uid;
    return text;
}

const char *duration_text(int64_t ns) {
    static const struct {
        int64_t s;
        const char *name, *smaller;
    } units[] = {{86400, "d", "h"}, {3600, "h", "min"}, {60, "min", "s"}};
    static char text[48];
    int64_t s = ns / NS_PER_S;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        int64_t smaller = i + 1 < sizeof(units) / sizeof(units[0]) ? units[i + 1].s : 1;
        if (s < units[i].s)
            continue;
        snprintf(text, sizeof(text), "%" PRId64 " %s %" PRId64 " %s", s / units[i].s, units[i].name,
                 s % units[i].s / smaller, units[i].smaller);
        return text;
    }
    if (ns < NS_PER_S)
        snprintf(text, sizeof(text), "%" PRId64 " ms", ns / NS_PER_MS);
    else
        snprintf(text, sizeof(text), "%" PRId64 " s", s);
    return text;
}

const char *age_text(const struct inspect_participant *who) {
    int64_t age_ns = clock_ns() - who->opened_ns;
    return who->same_pid_namespace && who->opened_ns > 0 && age_ns >= 0 ? duration_text(age_ns) : "?";
}

const char *human_count(double value) {
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};
    static char text[32];
    int unit = 0;
    for (; value >= 999.5 && unit < 6; unit++)
        value /= 1000;
    int decimals = value >= 99.95 || (unit == 0 && value == (double)(int)value) ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(text, sizeof(text), "%.*f%s", decimals, value, units[unit]);
    return text;
}

static const char *const roles[][3] = {
    {"messages", "publisher", "subscriber"}, {"events", "notifier", "listener"}, {"blackboard", "writer", "reader"},
    {"queue", "producer", "worker"},         {"service", "client", "server"},
};

static const char *role_at(const struct inspect_topic *topic, int side) {
    for (size_t i = 0; topic->pattern && i < sizeof(roles) / sizeof(roles[0]); i++)
        if (strcmp(topic->pattern, roles[i][0]) == 0)
            return roles[i][side];
    return roles[0][side];
}

const char *sender_role(const struct inspect_topic *topic) {
    return role_at(topic, 1);
}

const char *receiver_role(const struct inspect_topic *topic) {
    return role_at(topic, 2);
}
