/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What the verbs share that look at topics and take no part: info, hz, bw, top.
 *
 *   describe.c   participants, ages and numbers in words      advice.c   what is wrong with a topic, and what to do
 *   meter.c      what became of a topic's counters since the last look
 *
 * All texts made here are plain: what a process wrote into shared memory cannot move a cursor.
 */
#ifndef TARN_CLI_LOOK_H
#define TARN_CLI_LOOK_H

#include "cli/cli.h"
#include "core/inspect.h"

/* ---- describe.c ----------------------------------------------------------------------------------------------- */

#define WHO_BYTES 96

/* A copy on which terminals can be let loose: what is not printable ASCII or good UTF-8 becomes '?'. */
void plain_text(char *ret, size_t capacity, const char *text);
bool is_role(const struct inspect_participant *who, const char *role);
/* "publisher 4711 (cam)"; ret has WHO_BYTES. Returns ret. */
const char *who_text(char *ret, const struct inspect_participant *who);
/* The user's name, else the number; lives until the next call. */
const char *user_text(uint32_t uid);
/* For how long it has been there: "3 min 20 s"; "?": its clock is another; lives until the next call. */
const char *age_text(const struct inspect_participant *who);
const char *duration_text(int64_t ns);
/* "1234567" as "1.23 M": at most 6 characters; lives until the next call. */
const char *human_count(double value);
/* What a pattern's senders, and those on the other side, are called: "publisher", "subscriber". */
const char *sender_role(const struct inspect_topic *topic);
const char *receiver_role(const struct inspect_topic *topic);

/* ---- advice.c ------------------------------------------------------------------------------------------------- */

#define ADVICE_BYTES 512

/* Calls tell for each thing that is wrong, the worst first: a sentence with what to do. Returns how many there are. */
size_t advice_for(const struct inspect_topic *topic, void (*tell)(void *context, const char *sentence), void *context);

/* ---- meter.c -------------------------------------------------------------------------------------------------- */

struct amount {
    uint64_t messages; /* since the look before */
    double bytes;      /* of their payload: as large as the newest ones that could be looked at */
    bool is_sized;     /* whether there were any, or nothing was sent */
};

/* Of one topic, from look to look. Start from zeros. */
struct meter {
    struct meter_mark *marks;
    uint32_t count;
    bool started;
    uint64_t life;
    int64_t looked_ns; /* 0: never yet */
};

/*
 * What was sent since the look before, by each of the topic's flows: ret has room for flow_count. topic NULL: it is not
 * there. The first look finds nothing; who opens later has sent all that it has since. Who is missing from a look goes
 * on from where it was; who was there all the time, and is seen for the first time, starts from what it has. False: no
 * memory.
 */
bool meter_update(struct meter *meter, const struct inspect_topic *topic, struct amount *ret);
void meter_free(struct meter *meter);
void amount_add(struct amount *sum, const struct amount *amount);

#endif
