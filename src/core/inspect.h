/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Read-only views of topics for tools, and the sweep. An observer takes no slot, no lock on a slot and no hold: nobody
 * waits for it, and it shows up nowhere. What it reads may change under it; every value is bounded before it is used.
 */
#ifndef TARN_CORE_INSPECT_H
#define TARN_CORE_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

enum inspect_life {
    INSPECT_ALIVE = 1,
    INSPECT_DEAD = 2, /* died without leaving; not yet repaired */
    INSPECT_LEFT = 3, /* left, but its place is kept, as others need what it left, or it still holds messages */
};

struct inspect_participant {
    bool publisher;   /* whether it has a publisher's place; else a subscriber's */
    const char *role; /* "publisher", "listener", ...; "log": memory of a client or server that is in another place */
    enum inspect_life life;
    uint32_t slot;
    uint64_t identity; /* publisher's; 0 for subscribers */
    int32_t pid;       /* in the pid namespace it lives in */
    bool same_pid_namespace;
    uint32_t uid;
    char command[16];    /* zero-terminated */
    int64_t opened_ns;   /* CLOCK_MONOTONIC */
    bool reliable;       /* subscribers */
    uint64_t messages;   /* publishers: sent; subscribers: taken (may lag by what was taken since it last ran dry) */
    uint64_t bytes_held; /* publishers: memory of extents that hold messages or are kept warm; subscribers: 0 */
    uint64_t lost;       /* subscribers: lost so far */
};

struct inspect_topic {
    char name[256];
    bool in_use;            /* somebody alive has joined it */
    const char *problem;    /* NULL, or why it cannot be looked into (damaged, other layout, permission) */
    char type_name[256];    /* "" if untyped */
    char type_encoding[64]; /* "" if untyped */
    uint64_t type_bytes;
    const char *pattern;  /* "messages", "service", "events", "blackboard", "queue", or NULL: not settled yet */
    uint32_t publishers;  /* alive, or what the pattern has in their place; no logs */
    uint32_t subscribers; /* likewise; no monitors */
    uint32_t monitors;    /* alive */
    uint32_t participant_count;
    struct inspect_participant *participants; /* publishers first, by slot; dead ones that await repair included */
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
