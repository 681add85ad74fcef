/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Read-only views of topics for tools, and the sweep. An observer takes no slot, no lock on a slot and no hold: nobody
 * waits for it, and it shows up nowhere. What it reads may change under it; every value is bounded before it is used.
 *
 * How large messages are is not counted anywhere: that would cost each sender. So sizes are looked at, of the newest
 * messages that lie in memory yet.
 */
#ifndef TARN_CORE_INSPECT_H
#define TARN_CORE_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inspect_life {
    INSPECT_ALIVE = 1,
    INSPECT_DEAD = 2, /* died without leaving; not yet repaired */
    INSPECT_LEFT = 3, /* left, but its place is kept, as others need what it left, or it still holds messages */
};

#define INSPECT_NOBODY UINT32_MAX /* instead of a participant's index */

struct inspect_traffic {
    uint64_t sent;       /* number of the last message; dropped ones count */
    uint64_t seen;       /* of the newest: how many were looked at */
    uint64_t seen_bytes; /* and their payload in all */
    bool last_seen;      /* whether the last one is among them: */
    uint64_t last_bytes;
    int64_t last_sent_ns; /* CLOCK_MONOTONIC; 0: it carries no time */
};

struct inspect_participant {
    bool publisher;   /* whether it has a publisher's place; else a subscriber's */
    const char *role; /* "publisher", "listener", ...; "log": memory of a client or server that is in another place */
    enum inspect_life life;
    uint32_t slot;
    uint16_t incarnation; /* of the slot */
    uint64_t identity;    /* publisher's; 0 for subscribers */
    int32_t pid;          /* in the pid namespace it lives in */
    bool same_pid_namespace;
    uint32_t uid;
    char command[16];    /* zero-terminated */
    int64_t opened_ns;   /* CLOCK_MONOTONIC */
    bool reliable;       /* subscribers */
    uint64_t messages;   /* publishers: sent; subscribers: taken (may lag by what was taken since it last ran dry) */
    uint64_t bytes_held; /* publishers: memory of extents that hold messages or are kept warm; subscribers: 0 */
    uint64_t lost;       /* subscribers: lost so far */

    /* of publishers */
    bool has_memory;       /* its memory could be looked at; else the next are 0 */
    uint64_t bytes_mapped; /* addresses of its segments: what it may grow to without a new one */
    struct inspect_traffic traffic;
    bool refuses_reliable, realtime;
    uint64_t depth;        /* messages; 0: the default, or it keeps none by number */
    uint64_t limit_bytes;  /* of memory; 0: the machine's */
    const char *when_full; /* "waits", "fails", "drops"; NULL: it has no such option, or says nonsense */
    int64_t full_timeout_ns;
    bool waits;         /* it sleeps for space, or did and gave up */
    uint64_t wanted;    /* the message before which reliable subscribers that it waits for have to be done */
    uint32_t owner;     /* of a log: index of the client or server, or INSPECT_NOBODY */
    uint32_t addressee; /* of a log: who reads it, likewise */
    struct {
        uint32_t capacity; /* messages that may be unacknowledged; 0: no queue */
        uint32_t waiting, in_work;
        uint64_t claim_limit_ns; /* 0: none */
        uint32_t attempts_max;   /* 0: any number */
    } queue;

    /* of subscribers */
    uint32_t load; /* servers: requests taken and not ended */
    bool has_lag;  /* the next two are known: messages of all publishers that it has not read, from least to most */
    uint64_t behind_least, behind_most;
};

/* A publisher that a subscriber has attached. */
struct inspect_link {
    uint32_t publisher, subscriber; /* indices of participants */
    uint64_t behind_least, behind_most;
    bool blocks; /* reliable, and the publisher waits for it */
};

/*
 * A keeper, and somebody whose memory it has, or lacks. What it lacks goes with its owner; those who left it may let
 * go.
 */
struct inspect_kept {
    uint32_t owner, keeper;      /* indices of participants */
    uint32_t segments, attached; /* of the owner; of these, from the first on, by the keeper */
};

/* What is sent, by whom; or an event; or the key of a blackboard. */
struct inspect_flow {
    const char *what;     /* "messages", "requests", "responses", "events", "values" or "jobs" */
    uint64_t id;          /* the publisher's identity; else the number of the event or key */
    char name[64];        /* of the key; else "" */
    uint32_t participant; /* index of who sends, or INSPECT_NOBODY */
    struct inspect_traffic traffic;
};

struct inspect_topic {
    char name[256];
    bool in_use;            /* somebody alive has joined it */
    const char *problem;    /* NULL, or why it cannot be looked into (damaged, other layout, permission) */
    uint64_t life;          /* another value: nobody was left, and the topic was made anew. 0: cannot be told */
    char type_name[256];    /* "" if untyped */
    char type_encoding[64]; /* "" if untyped */
    uint64_t type_bytes;
    const char *pattern;  /* "messages", "service", "events", "blackboard", "queue", or NULL: not settled yet */
    uint32_t publishers;  /* alive, or what the pattern has in their place; no logs */
    uint32_t subscribers; /* likewise; no monitors, no keepers */
    uint32_t monitors;    /* alive */
    uint32_t participant_count;
    struct inspect_participant *participants; /* publishers first, by slot; dead ones that await repair included */
    uint32_t flow_count;
    struct inspect_flow *flows;
    uint32_t link_count;
    struct inspect_link *links; /* by publisher; of messages and of requests */
    bool links_left_out;        /* there are too many */
    uint32_t kept_count;
    struct inspect_kept *kept; /* by owner; only of keepers that are alive */
};

struct inspect_domain {
    char path[4096]; /* the directory looked at, domain included */
    uint32_t topic_count;
    struct inspect_topic *topics; /* by name */
};

/*
 * Looks at all topics of a domain. directory and domain as in the options of tarn.h: NULL for the defaults. A directory
 * that does not exist is a domain without topics. Returns 0 or a negative tarn_status, with tarn_error() set.
 */
int inspect_domain_open(struct inspect_domain **ret, const char *directory, const char *domain);
void inspect_domain_close(struct inspect_domain *domain); /* frees everything; NULL is allowed */

struct inspect_type {
    char name[256];
    char encoding[64];
    uint64_t bytes;
    char *schema; /* free() it; a zero is behind it */
    size_t schema_bytes;
};

/*
 * The payload type of one topic. 1: ret is filled in; 0: it has none, or is not in use; or a status, with tarn_error()
 * set.
 */
int inspect_type(struct inspect_type *ret, const char *topic, const char *directory, const char *domain);

/* One topic that is looked at again and again: its file and the list of participants stay attached in between. */
struct inspect_watch;

/* Says what to look at; nothing needs to be there. The names are copied. 0 or a negative tarn_status. */
int inspect_watch_open(struct inspect_watch **ret, const char *topic, const char *directory, const char *domain);

/*
 * Looks, and finds out whether it is the same topic yet. Returns 1, with a view for inspect_topic_free; 0: there is no
 * such topic now; or a negative tarn_status.
 */
int inspect_watch_look(struct inspect_watch *watch, struct inspect_topic **ret);
const char *
inspect_watch_path(const struct inspect_watch *watch); /* the directory, domain included, once it was looked at */
void inspect_watch_close(struct inspect_watch *watch); /* NULL is allowed */
void inspect_topic_free(struct inspect_topic *topic);  /* NULL is allowed */

struct tarn_subscriber;

/*
 * Publishers that left a subscriber's topic since it joined, or died and were repaired; those that it never saw
 * included.
 */
uint64_t inspect_publishers_ended(const struct tarn_subscriber *subscriber);

struct inspect_sweep {
    uint32_t topics_removed;    /* files of topics that nobody is in */
    uint32_t doorbells_removed; /* whose subscriber is gone */
    uint32_t slots_repaired;    /* of dead participants in topics that are alive */
    uint32_t topics_busy;       /* left alone because another process was creating or deleting them */
    uint32_t topics_failed;     /* left alone because of an error, e.g. permissions; tarn_error() has the last */
};

/* Sweeps what the dead left behind in a domain. Returns 0 or a negative tarn_status, with tarn_error() set. */
int inspect_sweep(struct inspect_sweep *ret, const char *directory, const char *domain);

/* What a sweep would find to do, besides the dead in topics that are alive, which a look at these shows. */
struct inspect_left {
    uint32_t topics;   /* files of topics that nobody is in */
    uint32_t segments; /* that somebody made, and died within a few instructions */
};

/* Looks, and changes nothing. Returns 0 or a negative tarn_status, with tarn_error() set. */
int inspect_left(struct inspect_left *ret, const char *directory, const char *domain);

/* What the library needs of the kernel, tried: 0, or the errno of the refusal. */
struct inspect_probe {
    int wipe_on_fork, locks, segments;       /* nothing works without */
    int barrier, futex, pidfd, fine_timeout; /* does without, and worse */
    uint64_t ipc_namespace;                  /* 0: cannot be told */
    uint64_t memory_limit_bytes;             /* the default of memory_limit_bytes */
};

/* Tries it all, by what handles use. Registers the process for membarrier. */
void inspect_probe(struct inspect_probe *ret);

#endif
