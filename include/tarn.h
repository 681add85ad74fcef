/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * tarn: processes on one Linux machine talk through shared memory.
 *
 *   publisher                                     subscriber
 *   ---------                                     ----------
 *   tarn_publisher *pub;                          tarn_subscriber *sub;
 *   tarn_publisher_open(&pub, "camera/front", 0); tarn_subscriber_open(&sub, "camera/front", 0);
 *   tarn_publisher_publish(pub, "hello", 5);      tarn_message m;
 *   tarn_publisher_close(pub);                    while (tarn_subscriber_receive(sub, &m, TARN_FOREVER) == 1) {
 *                                                     fwrite(m.data, 1, m.bytes, stdout);
 *                                                     tarn_message_release(&m);
 *                                                 }
 *
 * BEFORE YOU USE IT
 *  - Results: 1 (or a count) for success with something to tell, 0 for "nothing in time" or plain success, a
 *    negative enum tarn_status for an error. After an error tarn_error() says in one sentence what happened,
 *    to which topic, who is involved and what to do. Out parameters are untouched on failure, but that for a response
 *    may be cleared. A handle that is NULL
 *    is TARN_ERROR_ARGUMENT to all calls but _close.
 *  - Threads: one handle belongs to one thread at a time; different handles are independent, but for one lock of the
 *    process: opening, closing, joins, looks at the peers and fork() take it, so that who populates or frees gigabytes
 *    in one thread delays these in others. A message may be released from any thread, fastest from the one that took
 *    it. A handle that goes on in another thread while the first one has messages that it took there enters the kernel
 *    for that, 16 times at most, and waits for a release that is under way. Signal handlers release nothing. The calls
 *    named _interrupt may be made from any thread and any signal handler. A waitset and the handles in it belong to one
 *    thread together.
 *  - fork: handles, loans and messages of the parent do not work in the child (TARN_ERROR_FORKED; message and loan
 *    memory is not mapped there). The child opens its own. The parent's are untouched.
 *  - Memory: payload belongs to the kernel and is freed with the last process that uses it, however that ends.
 *  - The library starts no thread, installs no signal handler, prints nothing and never ends the process.
 *  - All times are nanoseconds of CLOCK_MONOTONIC. All sizes are bytes.
 *
 * WHAT A CALL MAY DO (tested for messages, events, jobs and values, but for column 1: see tests/unit/call_table.c)
 *
 *   call                          wait-free    allocates   page faults    enters the kernel
 *   ----------------------------  -----------  ----------  -------------  ---------------------------------
 *   tarn_publisher_publish        unless full  at growth   at growth      at growth, at joins, when full; to wake
 *                                              and joins   and joins      subscribers that sleep; once a second, while
 *                                                                         some hold messages for longer
 *   tarn_publisher_loan           unless full  the same,   the same       the same
 *                                              at highs
 *   tarn_loan_send                unless full  as publish  as publish     as publish
 *                                 (overtaken)
 *   tarn_loan_drop                yes          no          no             no
 *   tarn_subscriber_take          yes          at joins    first touch    at joins; to wake a publisher waiting for
 *                                              and highs                  space; with an fd: when it finds nothing
 *   tarn_subscriber_take_many     yes          as take     first touch    as take
 *   tarn_message_release          yes          no          no             to wake a publisher waiting for space;
 *                                                                         the last one of a closed subscriber
 *   tarn_client_send, loan        where there  as loan     as publish     as publish; to wait for a server
 *                                 is a server,
 *                                 unless full
 *   tarn_client_take              yes          as take     first touch    as take; every 10 ms, while requests are
 *                                                                         pending, to ask whether their servers live
 *   tarn_server_take              yes          at highs    first touch    as tarn_subscriber_take
 *                                              and joins
 *   tarn_request_reply, end       unless full  as publish  as publish     as publish; to wake a client that sleeps
 *   tarn_request_stream,          unless full  as publish  as publish     the same; every 10 ms, to ask whether the
 *   tarn_request_abandoned                                                client lives
 *   tarn_notifier_notify, _many   yes          no          first uses     at first uses; to wake listeners that sleep
 *   tarn_listener_take            yes          first uses  first touch    at first uses; with an fd: when it finds nothing
 *   tarn_writer_set, loan         yes          as loan     as publish     at growth, at joins; to wake readers that sleep
 *   tarn_writer_key, release_key, no           yes         yes            yes
 *   tarn_reader_key, keys
 *   tarn_reader_get, take         yes          at joins    first touch    at joins and highs
 *                                              and highs
 *   tarn_producer_push, loan      unless full  as loan     as publish     as publish; push: to wake workers
 *   tarn_worker_take              yes          at joins    first touch    at joins; 10 to 100 times a second for its
 *                                              and highs                  peers; with an fd: when it finds nothing
 *   tarn_job_acknowledge, reject  yes          no          no             to wake a producer waiting for space
 *   tarn_job_give_back            yes          no          no             to wake workers that sleep
 *   tarn_monitor_take             no           at joins    yes            for a look at the peers, every look_ns
 *   tarn_keeper_wait, left        no           at joins    at joins       to sleep; at joins; ten times a second
 *   tarn_waitset_wait             no           as take     first touch    to sleep, to ask for your own descriptors,
 *                                                                         and ten times a second
 *   wait, receive, of all         no           as take     first touch    to sleep, and for looks at the peers
 *   interrupt, of all             yes          no          no             to wake the sleeper
 *   open, close, flush, fd, add,  no           yes         yes            yes
 *   remove, and counts of peers
 *
 *   "growth": a publisher needs more memory than before, or gives back what it did not need for 5 s; "joins": a
 *   participant joined or left since the last look, or a publisher grew; "highs": messages of more extents are held, or
 *   more loans are open, than ever before; "first uses": of events. With .realtime growth happens elsewhere, and so
 *   does what a subscriber does at joins and highs, see the options; what a publisher does at joins (its list of
 *   subscribers may grow) and at highs does not. A send readies memory for the next message, after its own is on its
 *   way; one that something else has overtaken may wait, like publish and loan, when there is no space for the record
 *   that refers to it. publish is loan, copy and send. A take in another thread than before, while that one has
 *   messages, is no more wait-free than said above, under Threads.
 */
#ifndef TARN_H
#define TARN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TARN_VERSION_MAJOR 0
#define TARN_VERSION_MINOR 1
#define TARN_VERSION_PATCH 0

/* A timeout that never ends. */
#define TARN_FOREVER INT64_MAX
/* In options, where 0 means "the default": a time of zero. */
#define TARN_IMMEDIATELY (-1)

/* Longest topic name, bytes without the terminating zero. */
#define TARN_TOPIC_BYTES_MAX 255

enum tarn_status {
    TARN_OK = 0,
    TARN_ERROR_ARGUMENT = -1001,      /* NULL or a value out of range; the sentence names it */
    TARN_ERROR_TOPIC_NAME = -1002,    /* not a topic (or domain) name; the sentence says why */
    TARN_ERROR_CLOSED = -1003,        /* the handle is closed, or never was one */
    TARN_ERROR_FORKED = -1004,        /* a handle, loan or message inherited through fork */
    TARN_ERROR_DIRECTORY = -1005,     /* the topic directory is missing, damaged or not to be trusted */
    TARN_ERROR_PERMISSION = -1006,    /* the directory's or the segment's permissions refuse this process */
    TARN_ERROR_TOPIC_FILE = -1007,    /* the topic's file is not a topic file, damaged, or was replaced */
    TARN_ERROR_VERSION = -1008,       /* the topic has another memory layout; both are named */
    TARN_ERROR_TYPE = -1009,          /* the payload types differ; both are named */
    TARN_ERROR_BUSY = -1010,          /* another process kept the topic's file locked; its pid is named */
    TARN_ERROR_NO_MEMORY = -1011,     /* neither the process nor the kernel has memory left */
    TARN_ERROR_LIMIT = -1012,         /* a system limit (file descriptors, segments, slots) is reached */
    TARN_ERROR_TOO_BIG = -1013,       /* the message is larger than the memory limit, or than the payload type */
    TARN_ERROR_FULL = -1014,          /* no space: reliable subscribers, depth or open loans keep it all; nothing sent */
    TARN_ERROR_HOLDING = -1015,       /* max_held messages are held: release one; nothing lost */
    TARN_ERROR_INTERRUPTED = -1016,   /* an interrupt, e.g. tarn_subscriber_interrupt, ended the wait */
    TARN_ERROR_RELEASED = -1017,      /* the message was released, or the loan sent or dropped, before */
    TARN_ERROR_REFUSED = -1018,       /* a publisher of the topic refuses reliable subscribers */
    TARN_ERROR_DAMAGED = -1019,       /* a peer wrote nonsense to shared memory; its messages from there on are ignored */
    TARN_ERROR_TOPIC_REMOVED = -1020, /* somebody deleted the topic's file: newcomers will not meet this handle (said once) */
    TARN_ERROR_SYSTEM = -1021,        /* the operating system failed in another way; the sentence has its words */
    TARN_ERROR_PATTERN = -1022,       /* the topic is in use for another pattern, e.g. for events; both are named */
    TARN_ERROR_PEER_DIED = -1023,     /* the process that was to answer, or to be answered, died or left; it is named */
    TARN_ERROR_NO_PEER = -1024,       /* nobody is there to whom it could be given */
    TARN_ERROR_PENDING = -1025,       /* as many requests are pending as allowed: receive or abandon one first */
    TARN_ERROR_TAKEN = -1026,         /* it is another's: a key that another process writes, a job given to another since */
};

typedef struct tarn_publisher tarn_publisher;
typedef struct tarn_subscriber tarn_subscriber;
typedef struct tarn_client tarn_client;
typedef struct tarn_server tarn_server;
typedef struct tarn_notifier tarn_notifier;
typedef struct tarn_listener tarn_listener;
typedef struct tarn_writer tarn_writer;
typedef struct tarn_reader tarn_reader;
typedef struct tarn_producer tarn_producer;
typedef struct tarn_worker tarn_worker;
typedef struct tarn_keeper tarn_keeper;
typedef struct tarn_monitor tarn_monitor;
typedef struct tarn_waitset tarn_waitset;

/* ---- payload types -------------------------------------------------------------------------------------------- */

/*
 * Says what the payload of a topic is. The first typed participant settles the topic's type, though its opening may
 * fail later, for as long as the topic has participants; a later one whose type differs is refused with
 * TARN_ERROR_TYPE. Untyped participants match all; what an untyped one sends is held to neither the type's size nor its
 * alignment. The library copies it when a handle is opened.
 */
typedef struct tarn_type {
    size_t struct_bytes;     /* sizeof(tarn_type) */
    const char *name;        /* e.g. "sensor_msgs/Image"; at most 255 bytes; required */
    uint64_t bytes;          /* size of one payload; 0: varies. A publisher refuses messages larger than this */
    uint32_t alignment;      /* of the payload, a power of two up to 4096; 0: 8 */
    uint32_t reserved;       /* 0 */
    const char *encoding;    /* e.g. "raw", "cdr", "json"; at most 63 bytes; NULL: "raw" */
    const void *schema;      /* bytes that describe the type to tools; may be NULL. The first one's are kept */
    size_t schema_bytes;     /* at most 60 KiB */
} tarn_type;

/* ---- publisher ------------------------------------------------------------------------------------------------ */

enum tarn_when_full {
    TARN_FULL_WAIT = 0, /* wait for space, at most full_timeout_ns, then TARN_ERROR_FULL; which comes at once where no
                           subscriber keeps any: then depth and open loans, or what the limit has room for, do */
    TARN_FULL_FAIL = 1, /* TARN_ERROR_FULL at once */
    TARN_FULL_DROP = 2, /* the message is sent to nobody (the call returns 0), and counted: all subscribers see it as
                           lost, reliable ones, too */
};

enum tarn_wake {
    TARN_WAKE_AUTO = 0,  /* no fence per message where the process registered for membarrier, else as below */
    TARN_WAKE_FENCE = 1, /* a memory fence per message, for isolated cores that no barrier should interrupt */
    TARN_WAKE_NEVER = 2, /* wakes nobody: subscribers must spin, or see messages within their 100 ms look */
};

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_publisher_options {
    size_t struct_bytes;     /* sizeof(tarn_publisher_options) */
    const char *directory;   /* NULL: $TARN_DIR, else /run/tarn where it exists, else /tmp/tarn-<uid> */
    const char *domain;      /* topics of different domains do not see each other; NULL: $TARN_DOMAIN, else "default" */
    const tarn_type *type;   /* NULL: untyped */
    uint64_t depth;          /* messages kept for late joiners and slow readers. 0: 8, and all small ones that fit in
                                256 KiB, but fewer rather than fail where the memory limit is reached */
    uint64_t memory_limit_bytes; /* at least 512 KiB; 0: a quarter of the smaller of RAM and cgroup limit. A message may be as
                                large. What subscribers hold after it is no longer kept comes on top (but see realtime) */
    uint32_t when_full;      /* enum tarn_when_full */
    uint32_t wake;           /* enum tarn_wake */
    int64_t full_timeout_ns; /* 0: 1 s */
    int64_t linger_ns;       /* how long closing waits for those that had joined. 0: 1 s; TARN_IMMEDIATELY: not at all */
    uint32_t alignment;      /* of payloads, where that is more than the type's and than 8: a power of two up to 4096 */
    uint32_t timestamps;     /* 1: each message carries its time of sending (costs about 20 ns) */
    uint32_t refuse_reliable; /* 1: reliable subscribers are refused, so nobody's slowness holds this publisher back (with
                                 realtime what subscribers hold may). Reliable ones that are there already make opening
                                 fail with TARN_ERROR_REFUSED */
    uint32_t realtime;       /* 1: memory_limit_bytes (0: 1 MiB) is allocated and populated on opening (before Linux 5.14
                                only after mlockall); never grows, gives nothing back; what subscribers hold counts, too;
                                the dead are repaired by others, but for when it waits for space, flushes or closes */
    uint64_t rotation_bytes; /* how much memory messages of 64 KiB and more, and streams of smaller ones, rotate through
                                before it is reused: decides their bandwidth. 0: from the cache sizes; 1: as little as
                                depth allows, which is often faster where one message is under way at a time */
} tarn_publisher_options;

/*
 * Opens a publisher on a topic, creating what is missing. Does not wait for anybody (for at most 1 s for a process
 * stopped in the few instructions that create or delete a topic file).
 * ret: receives the handle, yours until tarn_publisher_close. topic: segments of ASCII letters, digits, '_', '-' and
 * '.', joined by single slashes, at most 255 bytes, none of them "." or ".."; copied. options: may be NULL; read during
 * the call only.
 * Any thread; not in a signal handler. Returns 0 or an error: any of _ARGUMENT, _TOPIC_NAME, _DIRECTORY, _PERMISSION,
 * _TOPIC_FILE, _VERSION, _TYPE, _BUSY, _NO_MEMORY, _LIMIT, _REFUSED, _DAMAGED, _SYSTEM; _PATTERN: the topic is in
 * use for something else.
 */
int tarn_publisher_open(tarn_publisher **ret, const char *topic, const tarn_publisher_options *options);

/*
 * Copies bytes from data and sends them as one message: loan, copy, send. data may be NULL if bytes is 0.
 * A process that ends without closing, be it by exit or return from main, is as one that was killed: who has not
 * attached the message's memory yet may lose it, reliable subscribers, too.
 * Returns 1: sent; 0: dropped because full (TARN_FULL_DROP); an error: _ARGUMENT, _CLOSED, _FORKED, _TOO_BIG,
 * _FULL (nothing was sent); _NO_MEMORY, _LIMIT, _PERMISSION, _SYSTEM: the kernel adds no memory.
 */
int tarn_publisher_publish(tarn_publisher *publisher, const void *data, size_t bytes);

/* Memory for one message in the making. data and bytes are for you, the rest is the library's. */
typedef struct tarn_loan {
    void *data;   /* the payload's place: write it; uninitialised. Aligned as the publisher says */
    size_t bytes; /* as asked for; may be lowered before sending */
    void *loaned_by;
    void *place;
    uint64_t ticket, identity;
} tarn_loan;

/*
 * Lends the place where a message of up to bytes will be, so that filling it is publishing without a copy.
 * Any number of loans may be open, and be sent in any order; an open one never delays other messages, but keeps its
 * memory. The loan ends with send, drop or the publisher's closing.
 * Returns 1: ret is filled in; 0: full and TARN_FULL_DROP; an error as for publish.
 */
int tarn_publisher_loan(tarn_publisher *publisher, size_t bytes, tarn_loan *ret);

/*
 * Sends the loan's first loan->bytes bytes. Its memory must not be written any more. The loan is cleared. Fastest with
 * as many bytes as were asked for.
 * Same thread rule as the publisher. Returns 1: sent; or an error: _ARGUMENT (bytes was raised), _RELEASED (sent or
 * dropped before), _CLOSED, _FORKED; what publish says of space when something else was sent, lent or tried since the
 * loan was made, and there is none for the small record that refers to it (_FULL where publish would drop, after a wait
 * where it would wait): the loan stays yours.
 */
int tarn_loan_send(tarn_loan *loan);

/* Gives the loan back unsent. The loan is cleared. Returns 0, or _ARGUMENT, _RELEASED, _CLOSED, _FORKED. */
int tarn_loan_drop(tarn_loan *loan);

/*
 * Waits until every live subscriber has attached the memory of what was sent before this call, and every reliable one
 * has taken all of it. Returns 1: done; 0: not in time, or there is no space to tell of messages that were dropped; or
 * _CLOSED, _FORKED.
 */
int tarn_publisher_flush(tarn_publisher *publisher, int64_t timeout_ns);

/*
 * How many live subscribers the topic has. Asks the kernel about each, so it costs microseconds per subscriber.
 * Returns the count, or _CLOSED, _FORKED.
 */
int tarn_publisher_subscribers(tarn_publisher *publisher);

/*
 * This publisher's identity, as its messages carry it: random, unique on the machine for all practical purposes.
 * 0 for a handle that is none.
 */
uint64_t tarn_publisher_identity(const tarn_publisher *publisher);

/*
 * Flushes for up to linger, then leaves. Open loans are dropped. Messages that subscribers hold or have not yet read
 * stay valid for them. The handle is invalid afterwards, whatever is returned; NULL is allowed.
 * Returns 0: everybody had everything; 1 or more: so many subscribers had not when linger ended, or could not be told
 * of the last dropped messages; or _CLOSED, _FORKED (the inherited handle is dropped without touching the parent's).
 */
int tarn_publisher_close(tarn_publisher *publisher);

/* ---- subscriber ----------------------------------------------------------------------------------------------- */

enum tarn_wait_strategy {
    TARN_WAIT_SPIN_THEN_SLEEP = 0, /* spins for spin_ns, then sleeps */
    TARN_WAIT_SPIN = 1,            /* never sleeps: lowest latency, one core busy */
    TARN_WAIT_SLEEP = 2,           /* sleeps at once */
};

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_subscriber_options {
    size_t struct_bytes;   /* sizeof(tarn_subscriber_options) */
    const char *directory; /* as for publishers */
    const char *domain;    /* as for publishers */
    const tarn_type *type; /* NULL: untyped, matches all */
    uint64_t history;      /* so many messages that each publisher sent before this joined, as far as kept. 0: none */
    uint32_t reliable;     /* 1: never overrun: publishers that are full because of this one wait, fail or drop, as
                              their when_full says. 0: best effort: falls behind, loses the oldest, and is told how many */
    uint32_t max_held;     /* messages taken and not yet released, at most. 0: 64; up to 65536 */
    uint32_t wait_strategy; /* enum tarn_wait_strategy */
    uint32_t realtime;     /* 1: take, and receive with a timeout of 0, never attach or repair; open, wait (a timeout of 0
                              suffices), receive with a timeout and a waitset's wait do */
    int64_t spin_ns;       /* 0: 10 us */
} tarn_subscriber_options;

/*
 * A received message. Keep the struct until release; copying it is allowed, releasing two copies is a bug.
 * data is read-only and valid until release, whatever becomes of the publisher. New fields may take the place of
 * reserved ones; a build that does not know them keeps working.
 */
typedef struct tarn_message {
    const void *data;
    size_t bytes;
    uint64_t sequence;  /* of this publisher, starting at 1 */
    uint64_t publisher; /* identity: see tarn_publisher_identity */
    uint64_t lost;      /* messages of this publisher lost just before this one */
    int64_t sent_ns;    /* CLOCK_MONOTONIC, of the sender's time namespace; 0 unless its timestamps option is set */
    void *held_by;
    uint64_t request;   /* of a response only: see clients */
    uint32_t flags;     /* of a response only: enum tarn_message_flags */
    uint32_t reserved_flags;
    uint64_t reserved[3];
} tarn_message;

/*
 * Opens a subscriber on a topic, creating what is missing. From its return on, it gets what is sent.
 * Ownership, threads and errors as for tarn_publisher_open, _PATTERN included; _REFUSED: reliable asked for, and a
 * publisher refuses.
 */
int tarn_subscriber_open(tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options);

/*
 * Takes the next message, never blocking. Per publisher, messages come in the order sent; publishers take turns.
 * Returns 1: ret is filled in, and yours until tarn_message_release; 0: nothing there; or an error: _ARGUMENT, _CLOSED,
 * _FORKED, _HOLDING (nothing lost: release one, then take again), _DAMAGED (said once per publisher), _PERMISSION,
 * _NO_MEMORY, _LIMIT (a publisher's memory cannot be attached; it is tried again later), _TOPIC_REMOVED (only if a
 * waitset has reported it before).
 */
int tarn_subscriber_take(tarn_subscriber *subscriber, tarn_message *ret);

/*
 * Takes what is there, up to count messages, into ret[0], ret[1] and so on, never blocking: of a stream of small
 * messages of one publisher, 1.4 times as many as take in the same time; else as many. They are held, and counted
 * towards max_held, until each is given to tarn_message_release. Returns how many, which may be fewer than are there;
 * 0: nothing there (only then is the descriptor sure to be quiet); or, if none was taken, an error as for take
 * (_ARGUMENT: also a count of 0). An error behind some is told by the next call, or by a take that finds nothing.
 */
int tarn_subscriber_take_many(tarn_subscriber *subscriber, tarn_message *ret, size_t count);

/*
 * Takes the next message, waiting up to timeout_ns for it (0: like take; TARN_FOREVER).
 * Returns 1, 0 (nothing in time), or an error: as for take, and _INTERRUPTED, _TOPIC_REMOVED.
 */
int tarn_subscriber_receive(tarn_subscriber *subscriber, tarn_message *ret, int64_t timeout_ns);

/*
 * Waits up to timeout_ns until there is something to take. Returns 1: there is; 0: not in time; or an error:
 * _CLOSED, _FORKED, _INTERRUPTED, _TOPIC_REMOVED, or what take would say.
 */
int tarn_subscriber_wait(tarn_subscriber *subscriber, int64_t timeout_ns);

/*
 * Ends the wait under way (or, if none is, the next one) with TARN_ERROR_INTERRUPTED. A call that finds a message at
 * once does not wait, and leaves that to the next one: where messages come without a pause, look at a flag of your own,
 * too. From any thread and from signal handlers, while the handle is open. Returns 0, or _CLOSED, _FORKED.
 */
int tarn_subscriber_interrupt(tarn_subscriber *subscriber);

/*
 * A file descriptor for poll, epoll and event loops: readable when there may be something to take. Level-triggered:
 * take until it returns 0, which makes the descriptor quiet again (it also becomes readable ten times a second, for
 * a look at the peers). It belongs to the subscriber: do not read, write or close it.
 * Returns the descriptor, or an error: _CLOSED, _FORKED, _NO_MEMORY, _LIMIT, _PERMISSION, _SYSTEM.
 */
int tarn_subscriber_fd(tarn_subscriber *subscriber);

/*
 * How many live publishers the topic has. Asks the kernel about each. Returns the count, or _CLOSED, _FORKED.
 */
int tarn_subscriber_publishers(tarn_subscriber *subscriber);

/*
 * Messages lost so far, of all publishers. Exact: counted when the next message of the same publisher is taken.
 * 0 for a handle that is none.
 */
uint64_t tarn_subscriber_lost(const tarn_subscriber *subscriber);

/*
 * Leaves the topic. Messages still held stay valid until released. The handle is invalid afterwards; NULL is allowed.
 * Returns 0, or _CLOSED, _FORKED (the inherited handle is dropped without touching the parent's).
 */
int tarn_subscriber_close(tarn_subscriber *subscriber);

/*
 * Gives a message back. Any thread, once, also after its subscriber was closed. The struct is cleared.
 * Returns 0, or _ARGUMENT, _RELEASED (this struct was released before), _FORKED.
 */
int tarn_message_release(tarn_message *message);

/* ---- requests: clients ---------------------------------------------------------------------------------------- */

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_client_options {
    size_t struct_bytes;            /* sizeof(tarn_client_options) */
    const char *directory;          /* as for publishers */
    const char *domain;             /* as for publishers */
    const tarn_type *request_type;  /* NULL: untyped. Each is settled by the first who has one, as a topic's type is */
    const tarn_type *response_type; /* NULL: untyped */
    uint64_t memory_limit_bytes;    /* of requests to one server; as for publishers */
    uint32_t max_pending;           /* requests sent and not answered to their end. 0: 64; up to 65536 */
    uint32_t max_held;              /* responses taken and not yet released. 0: 64; up to 65536 */
    uint32_t when_full;             /* TARN_FULL_WAIT or TARN_FULL_FAIL: when a server does not take requests */
    uint32_t wait_strategy;         /* enum tarn_wait_strategy */
    int64_t full_timeout_ns;        /* 0: 1 s */
    int64_t spin_ns;                /* 0: 10 us */
    int64_t server_timeout_ns;      /* how long sending waits for a server. 0: 1 s; TARN_IMMEDIATELY: not at all */
} tarn_client_options;

/* In tarn_message.flags of a response. */
enum tarn_message_flags {
    TARN_MESSAGE_LAST = 1,    /* nothing more follows for this request */
    TARN_MESSAGE_NO_DATA = 2, /* the server ended the request without (further) data: bytes is 0 */
};

/*
 * Opens a client on a topic, creating what is missing. Requests go to the servers of the topic, which may come and go;
 * each request to one of them: to the one with the least to do. Each response is read by its client only.
 * Ownership, threads and errors as for tarn_publisher_open; _PATTERN: the topic is in use for something else.
 */
int tarn_client_open(tarn_client **ret, const char *topic, const tarn_client_options *options);

/*
 * Copies bytes from data, and sends them as a request. data may be NULL if bytes is 0. Waits for a server (but not for
 * one that is there and cannot be connected with, which is said at once), and for space where the server is slow, as
 * the options say; enters the kernel for that, and when participants came or left.
 * ret_request: receives the request's number, which its responses carry; may be NULL.
 * Returns 1: sent; or an error: _ARGUMENT, _CLOSED, _FORKED, _PENDING (max_pending: receive or abandon one first),
 * _NO_PEER (no server in time), _TOO_BIG, _FULL (nothing was sent); _INTERRUPTED, _TOPIC_REMOVED (while it waited for a
 * server); _NO_MEMORY, _LIMIT, _PERMISSION, _DAMAGED, _SYSTEM: there is no memory, or none to reach the server by.
 */
int tarn_client_send(tarn_client *client, const void *data, size_t bytes, uint64_t *ret_request);

/*
 * Lends the place where a request of up to bytes will be: tarn_loan_send sends it, tarn_loan_drop gives it back, with
 * what they return for a publisher; 0 if the request was abandoned since: then it is not sent, and the loan is over. It
 * counts as pending from here on. Results as for tarn_client_send.
 */
int tarn_client_loan(tarn_client *client, size_t bytes, tarn_loan *ret, uint64_t *ret_request);

/*
 * Takes the next response, of any request, never blocking. Zero copy: data is valid until tarn_message_release, which
 * is due for each response, one without data too. The responses of a server come in the order it sent them.
 * Returns 1: ret is filled in, ret->request and ret->flags too; 0: nothing there, or so much for abandoned requests
 * that the rest is left to the next take; or an error: _ARGUMENT, _CLOSED, _FORKED, _HOLDING (max_held: release one,
 * then take again; nothing lost), _DAMAGED, _PERMISSION, _NO_MEMORY, _LIMIT; or _PEER_DIED: the server of a request
 * died, or left, and what it had answered has been taken. It is said once for each such request, which is over;
 * ret->request says which, ret->flags that it ended; all else in ret is 0. It may be sent again, to another server.
 */
int tarn_client_take(tarn_client *client, tarn_message *ret);

/*
 * Takes the next response, waiting up to timeout_ns for it. Returns 1; 0: nothing in time, or no request is pending; or
 * an error: as for take (_PEER_DIED within some 10 ms of the death), and _INTERRUPTED, _TOPIC_REMOVED.
 */
int tarn_client_receive(tarn_client *client, tarn_message *ret, int64_t timeout_ns);

/*
 * Sends a request, which waits as tarn_client_send does, and then waits up to timeout_ns for its first response; those
 * of other requests that come meanwhile are kept for take and receive. Without TARN_MESSAGE_LAST in ret->flags more
 * will follow, for take and receive.
 * Returns 1; 0: not in time, and the request is abandoned; or an error: as for send, and for receive, with which the
 * request is over, too: _PEER_DIED: its server died, or left; _HOLDING: what is held, and what was kept for other
 * requests, is as much as max_held allows: take that first.
 */
int tarn_client_call(tarn_client *client, const void *data, size_t bytes, tarn_message *ret, int64_t timeout_ns);

/*
 * Gives a request up: none of its responses will be taken any more, and its server is told, as far as there is space
 * for that. Returns 1; 0: there is no such request, or its last response was taken; or _CLOSED, _FORKED.
 */
int tarn_client_abandon(tarn_client *client, uint64_t request);

/* Requests sent, or lent, and not yet answered to their end. Returns the count, or _CLOSED, _FORKED. */
int tarn_client_pending(tarn_client *client);

/* How many live servers the topic has. Asks the kernel about each. Returns the count, or _CLOSED, _FORKED. */
int tarn_client_servers(tarn_client *client);

/*
 * Waits until there is something to take. As tarn_subscriber_wait; 0 also where no request is pending, and 1 where so
 * much was for abandoned requests that the next take has yet to see whether there is more.
 */
int tarn_client_wait(tarn_client *client, int64_t timeout_ns);

/* As tarn_subscriber_interrupt, for the waits of this client; but a wait for space ends by its time only. */
int tarn_client_interrupt(tarn_client *client);

/* As tarn_subscriber_fd. While requests are pending, a death is told within 100 ms. */
int tarn_client_fd(tarn_client *client);

/*
 * Leaves the topic; pending requests are abandoned. Responses still held stay valid until released. The handle is
 * invalid afterwards; NULL is allowed. Returns 0, or _CLOSED, _FORKED (the inherited handle is dropped without touching
 * the parent's).
 */
int tarn_client_close(tarn_client *client);

/* ---- requests: servers ---------------------------------------------------------------------------------------- */

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_server_options {
    size_t struct_bytes;            /* sizeof(tarn_server_options) */
    const char *directory;          /* as for publishers */
    const char *domain;             /* as for publishers */
    const tarn_type *request_type;  /* as for clients */
    const tarn_type *response_type; /* as for clients */
    uint64_t memory_limit_bytes;    /* of responses to one client; as for publishers */
    uint32_t max_taken;             /* requests taken and not ended, at most. 0: 64; up to 65536 */
    uint32_t when_full;             /* TARN_FULL_WAIT or TARN_FULL_FAIL: when a client does not take responses */
    uint32_t wait_strategy;         /* enum tarn_wait_strategy */
    uint32_t reserved;              /* 0 */
    int64_t full_timeout_ns;        /* 0: 1 s */
    int64_t spin_ns;                /* 0: 10 us */
    int64_t linger_ns; /* how long closing waits until clients have responses at hand. 0: 1 s; TARN_IMMEDIATELY: not at all */
} tarn_server_options;

/*
 * A request that was taken. Keep the struct until the request is over: then it is cleared. data is read-only and valid
 * until then, whatever becomes of the client. Copying the struct is allowed; a request ends once.
 */
typedef struct tarn_request {
    const void *data;
    size_t bytes;
    uint64_t number; /* given by its client, from 1 on */
    uint64_t client; /* identity of the client: random */
    void *taken_by;
    void *place;
    uint64_t ticket;
    uint64_t reserved[5];
} tarn_request;

/* Opens a server on a topic. As tarn_client_open. */
int tarn_server_open(tarn_server **ret, const char *topic, const tarn_server_options *options);

/*
 * Takes the next request, never blocking. Requests of one client come in the order sent; clients take turns. Those that
 * were abandoned or whose client is gone may be left out.
 * Returns 1: ret is filled in, and yours until the request is over; 0: nothing there, or so much that is no request
 * (any more) that the rest is left to the next take; or an error: _ARGUMENT, _CLOSED, _FORKED, _HOLDING (max_taken: end
 * one first; nothing lost), _DAMAGED, _PERMISSION, _NO_MEMORY, _LIMIT.
 */
int tarn_server_take(tarn_server *server, tarn_request *ret);

/* Takes the next request, waiting up to timeout_ns. As take, and _INTERRUPTED, _TOPIC_REMOVED. */
int tarn_server_receive(tarn_server *server, tarn_request *ret, int64_t timeout_ns);

/*
 * Copies bytes from data and sends them as the request's last, or only, response.
 * Returns 1: sent, in vain if to a client that died, or abandoned it, unnoticed; 0: not sent, as the client is known to
 * have abandoned it (taking, streaming and tarn_request_abandoned find that out); or _PEER_DIED: the client is gone, and
 * that was noticed. With these the request is over. Or an error that leaves it as it is, and counted: _ARGUMENT,
 * _RELEASED (it was over before), _CLOSED, _FORKED, _TOO_BIG, _FULL (the client does not take its responses, as the
 * options allow for), _NO_MEMORY, _LIMIT, _PERMISSION, _DAMAGED, _SYSTEM. Requests belong to the thread of their server:
 * to answer in several threads, open a server in each.
 */
int tarn_request_reply(tarn_request *request, const void *data, size_t bytes);

/* Sends one response of several; with 1 the request goes on, else as tarn_request_reply. */
int tarn_request_stream(tarn_request *request, const void *data, size_t bytes);

/*
 * Lends the place where a response of up to bytes will be; with last not 0, sending it ends the request, the struct of
 * which is not cleared then, but of no use. tarn_loan_send returns what tarn_request_reply would, tarn_loan_drop what
 * it always does. Returns 1: ret is filled in; else as tarn_request_reply.
 */
int tarn_request_loan(tarn_request *request, size_t bytes, int last, tarn_loan *ret);

/*
 * Ends the request without a (further) response. The client is told. Results as for tarn_request_reply: with _FULL it
 * is open still, until its client takes responses, abandons it or leaves.
 */
int tarn_request_end(tarn_request *request);

/*
 * Whether the client has abandoned the request, or is gone; asks the kernel for that now and then. For long work.
 * Returns 1: it has; 0: not; or _ARGUMENT, _RELEASED, _CLOSED, _FORKED. The request is not over by that.
 */
int tarn_request_abandoned(tarn_request *request);

/* How many live clients the topic has. Asks the kernel about each. Returns the count, or _CLOSED, _FORKED. */
int tarn_server_clients(tarn_server *server);

/*
 * As tarn_subscriber_wait (1 also where the next take has yet to see whether there is a request), _interrupt (a wait for
 * space ends by its time only) and _fd. They tell of requests also where take would say _HOLDING: do not wait then.
 */
int tarn_server_wait(tarn_server *server, int64_t timeout_ns);
int tarn_server_interrupt(tarn_server *server);
int tarn_server_fd(tarn_server *server);

/*
 * Leaves the topic. Requests that are not over are given up: their clients are told that this server left. Waits up to
 * linger until clients have at hand what was sent. The handle is invalid afterwards; NULL is allowed.
 * Returns 0: they have; 1 or more: so many clients had not; or _CLOSED, _FORKED (the inherited handle is dropped
 * without touching the parent's).
 */
int tarn_server_close(tarn_server *server);

/* ---- events --------------------------------------------------------------------------------------------------- */

/*
 * A topic for events has counters, one per event. A notifier raises one by an atomic add; a listener is told which
 * events were raised, and how often since it last asked. No notifier waits for anybody until it closes, and a listener
 * that is slow, stopped or dead costs the others nothing: what is raised meanwhile adds up.
 *
 * Events are numbers from 0 to TARN_EVENT_ID_MAX. Use small ones: a look goes over all up to the highest that was ever
 * used. Counters live as long as the topic has participants. (Some thousand events need more memory than the topic has
 * at first. A notifier makes it, and listeners attach it when they next look: what was raised there is lost if all who
 * have it end before. Closing waits for the listeners, and tells if some have not looked; a notifier that is killed
 * cannot.)
 */
#define TARN_EVENT_ID_MAX 65535u

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_notifier_options {
    size_t struct_bytes;   /* sizeof(tarn_notifier_options) */
    const char *directory; /* as for publishers */
    const char *domain;    /* as for publishers */
    uint32_t death_event;  /* 1 + the event that is raised, once, if this notifier dies without closing; 0: none. It is
                              raised by whoever looks after the dead first: a listener that waits does so ten times a second */
    uint32_t reserved;     /* 0 */
} tarn_notifier_options;

/*
 * Opens a notifier on a topic, creating what is missing. Ownership, threads and errors as for tarn_publisher_open, and
 * _PATTERN: the topic is in use for something else.
 */
int tarn_notifier_open(tarn_notifier **ret, const char *topic, const tarn_notifier_options *options);

/*
 * Raises an event: once, or count times at once. Never waits. What this thread did before is visible to who takes the
 * event. Returns 1: raised (0: count is 0); or an error: _ARGUMENT (no such event), _CLOSED, _FORKED; at the first use
 * of an event also _NO_MEMORY, _LIMIT, _PERMISSION, _SYSTEM: nothing was raised.
 */
int tarn_notifier_notify(tarn_notifier *notifier, uint32_t id);
int tarn_notifier_notify_many(tarn_notifier *notifier, uint32_t id, uint64_t count);

/* How many live listeners the topic has. Asks the kernel about each. Returns the count, or _CLOSED, _FORKED. */
int tarn_notifier_listeners(tarn_notifier *notifier);

/*
 * Leaves the topic. No death_event is raised. If it used events that need more memory (see above), waits up to 1 s
 * until those who listen have attached that. The handle is invalid afterwards, whatever is returned; NULL is allowed.
 * Returns 0: they have, and will be told all; 1 or more: so many listeners had not, and may never be told what was
 * raised there; or _CLOSED, _FORKED (the inherited handle is dropped without touching the parent's).
 */
int tarn_notifier_close(tarn_notifier *notifier);

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_listener_options {
    size_t struct_bytes;    /* sizeof(tarn_listener_options) */
    const char *directory;  /* as for publishers */
    const char *domain;     /* as for publishers */
    const uint32_t *ids;    /* the events it is for; NULL: all. Copied */
    uint32_t ids_count;     /* how many these are */
    uint32_t history;       /* 1: what was raised before it came, since the topic began, is told, too */
    uint32_t wait_strategy; /* enum tarn_wait_strategy */
    uint32_t reserved;      /* 0 */
    int64_t spin_ns;        /* 0: 10 us */
} tarn_listener_options;

/* That an event was raised. */
typedef struct tarn_event {
    uint32_t id;
    uint32_t reserved;
    uint64_t count; /* how often since this listener last took it, or opened; at least 1 */
    uint64_t total; /* how often since the topic began, deaths included */
} tarn_event;

/*
 * Opens a listener on a topic, creating what is missing. From its return on, it is told all that is raised.
 * Ownership, threads and errors as for tarn_notifier_open.
 */
int tarn_listener_open(tarn_listener **ret, const char *topic, const tarn_listener_options *options);

/*
 * Takes an event that was raised, never blocking. Events take turns.
 * Returns 1: ret is filled in; 0: none was raised since; or an error: _ARGUMENT, _CLOSED, _FORKED, _NO_MEMORY (some
 * events cannot be looked at; nothing of them is lost, it is tried again).
 */
int tarn_listener_take(tarn_listener *listener, tarn_event *ret);

/*
 * Takes an event, waiting up to timeout_ns for one (0: like take; TARN_FOREVER).
 * Returns 1, 0 (none in time), or an error: as for take, and _INTERRUPTED, _TOPIC_REMOVED.
 */
int tarn_listener_receive(tarn_listener *listener, tarn_event *ret, int64_t timeout_ns);

/* Waits up to timeout_ns until there is an event to take. Returns 1, 0 (not in time), or an error as receive. */
int tarn_listener_wait(tarn_listener *listener, int64_t timeout_ns);

/* Ends the wait under way or the next one, as tarn_subscriber_interrupt does. Any thread, and signal handlers. */
int tarn_listener_interrupt(tarn_listener *listener);

/* A descriptor for poll, epoll and event loops, as tarn_subscriber_fd: take until it returns 0. */
int tarn_listener_fd(tarn_listener *listener);

/* Leaves the topic. The handle is invalid afterwards; NULL is allowed. Returns 0, or _CLOSED, _FORKED. */
int tarn_listener_close(tarn_listener *listener);

/* ---- blackboard: writer --------------------------------------------------------------------------------------- */

/*
 * A blackboard is a topic that keeps the latest value of each key. A key has one writer at a time; any number read it.
 * Reading waits for nobody, whatever writers do or have died of, and never gives half a value. Each value has a
 * version, which rises by one with each set, also when another writer takes the key over. A value lives as long as its
 * writer, a keeper, or a reader for which one of that writer's is the latest value of some key that it looked up. Where
 * that writer has added memory since, the reader has the values there from its next wait or tarn_reader_changed on, or
 * when it reads one. Keys stay as long as the topic has participants that have them (at most 16384).
 *
 * Keys are called by number: names are looked up once. A key's name is 1 to 63 bytes without spaces and control
 * characters.
 */

/* Longest name of a key, bytes without the terminating zero. */
#define TARN_KEY_BYTES_MAX 63

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_writer_options {
    size_t struct_bytes;     /* sizeof(tarn_writer_options) */
    const char *directory;   /* as for publishers */
    const char *domain;      /* as for publishers */
    const tarn_type *type;   /* of all values of the topic; NULL: untyped */
    uint64_t memory_limit_bytes; /* at least 512 KiB; 0: a quarter of the smaller of RAM and cgroup limit. A value and the one
                                that it replaces count both. What readers hold comes on top */
    uint32_t alignment;      /* of values, as for publishers */
    uint32_t reserved;       /* 0 */
} tarn_writer_options;

/*
 * Opens a writer on a topic, creating what is missing. It writes no key yet. Ownership, threads and errors as for
 * tarn_publisher_open, but for _REFUSED; _PATTERN: the topic is in use for something else.
 */
int tarn_writer_open(tarn_writer **ret, const char *topic, const tarn_writer_options *options);

/*
 * Takes a key, making it if there is none of that name, so that only this writer may set it, until it gives the key up,
 * closes or dies. A value that a previous writer left there stays, if somebody has it yet, until this one sets another,
 * whose version is the next. name is copied. Not wait-free, but waits for nobody.
 * Returns the key's number, 0 or more, for the calls below (the same in all processes, and again if this writer has it
 * already); or an error: _ARGUMENT (not a name), _CLOSED, _FORKED, _TAKEN (another writer has it, and lives; it is
 * named), _LIMIT (there are 16384 keys, or a system limit), _NO_MEMORY, _PERMISSION, _DAMAGED, _SYSTEM.
 */
int tarn_writer_key(tarn_writer *writer, const char *name);

/*
 * Sets a key that this writer has taken to a copy of bytes from data. data may be NULL if bytes is 0. Whoever reads
 * from now on gets this value; those who sleep are woken. Waits for nobody.
 * Returns 1: set; or an error: _ARGUMENT (no key of this writer), _CLOSED, _FORKED, _TOO_BIG (larger than the payload
 * type or the memory limit), _FULL (the limit is used up by the values of this writer and open loans; the old value
 * stays), _NO_MEMORY, _LIMIT.
 */
int tarn_writer_set(tarn_writer *writer, int key, const void *data, size_t bytes);

/*
 * Lends the place where the key's next value will be, so that filling it is setting without a copy. Ends with
 * tarn_loan_send (with loan->bytes, which may be lowered), which sets the key, tarn_loan_drop, or closing. Any number
 * may be open, also of one key: the last sent counts. tarn_loan_send returns _TAKEN if the key was given up since; the
 * loan is then yours to drop. Returns 1: ret is filled in; or an error as for set.
 */
int tarn_writer_loan(tarn_writer *writer, int key, size_t bytes, tarn_loan *ret);

/*
 * Gives a key up: another writer may take it. Its value stays, while this writer or a reader of it lives, until the
 * next (one that another writer had left, and this one never set: while others have that). Returns 0, or _ARGUMENT (no
 * key of this writer), _CLOSED, _FORKED.
 */
int tarn_writer_release_key(tarn_writer *writer, int key);

/* This writer's identity, as its values carry it. 0 for a handle that is none. */
uint64_t tarn_writer_identity(const tarn_writer *writer);

/*
 * How many live readers have some value of this writer, and all its memory, so that all its values live on while they
 * do. One that has some value attaches what was added in its next wait or tarn_reader_changed. Asks the kernel about
 * each. ret_ever, which may be NULL, receives how many have come so far, those included that have left.
 * Returns the count, or _CLOSED, _FORKED.
 */
int tarn_writer_readers(tarn_writer *writer, uint64_t *ret_ever);

/*
 * Gives all keys up and leaves; open loans are dropped. Values live on while a reader has some value of this writer,
 * but for those in memory that was added since, and that nobody has attached yet (see tarn_writer_readers). The handle
 * is invalid afterwards, whatever is returned; NULL is allowed.
 * Returns 1: values of it live on; 0: none does; or _CLOSED, _FORKED (the inherited handle is dropped without touching
 * the parent's).
 */
int tarn_writer_close(tarn_writer *writer);

/* ---- blackboard: reader --------------------------------------------------------------------------------------- */

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_reader_options {
    size_t struct_bytes;   /* sizeof(tarn_reader_options) */
    const char *directory; /* as for publishers */
    const char *domain;    /* as for publishers */
    const tarn_type *type; /* NULL: untyped, matches all */
    uint32_t max_held;     /* values taken and not yet released, at most. 0: 64; up to 65536 */
    uint32_t wait_strategy; /* enum tarn_wait_strategy */
    int64_t spin_ns;       /* 0: 10 us */
} tarn_reader_options;

/* What is known of a value besides its bytes. */
typedef struct tarn_value {
    size_t bytes;
    uint64_t version; /* 1 for the key's first value; 0: none */
    uint64_t writer;  /* identity: see tarn_writer_identity. Of the one whose memory it lies in, which may have died */
    uint64_t reserved;
} tarn_value;

/*
 * Opens a reader on a topic, creating what is missing. Ownership, threads and errors as for tarn_subscriber_open, but
 * for _REFUSED; _PATTERN: the topic is in use for something else.
 */
int tarn_reader_open(tarn_reader **ret, const char *topic, const tarn_reader_options *options);

/*
 * Looks a key up, making it if there is none of that name, and has this reader notice its changes from now on. It need
 * not have a value. If it has one, the memory of its writer is attached, so that it outlives the writer.
 * Returns the key's number, 0 or more, or an error: _ARGUMENT (not a name), _CLOSED, _FORKED, _LIMIT (there are 16384
 * keys, or a system limit), _NO_MEMORY, _PERMISSION, _DAMAGED.
 */
int tarn_reader_key(tarn_reader *reader, const char *name);

/*
 * Copies the key's latest value to buffer, which is yours and has room for capacity bytes. ret, which may be NULL,
 * receives its size and version. Wait-free; never enters the kernel, but to attach memory of a writer that is new or
 * has grown, or in another thread than before (see Threads).
 * Returns 1; 0: it has no value, or its writer is gone and nobody kept it; or an error: _ARGUMENT (no key; buffer
 * NULL), _CLOSED, _FORKED, _TOO_BIG (larger than capacity: nothing was copied, but ret, if not NULL, is filled in, so
 * that bytes says what is needed), _DAMAGED, _PERMISSION, _NO_MEMORY, _LIMIT (its writer's memory cannot be attached).
 */
int tarn_reader_get(tarn_reader *reader, int key, void *buffer, size_t capacity, tarn_value *ret);

/*
 * The key's latest value where it lies, without a copy. ret->sequence is its version, ret->publisher its writer's
 * identity. It stays as it is, whatever is set, until tarn_message_release.
 * Returns 1: ret is filled in; 0 as for get; or an error: as for get, and _HOLDING (max_held are held).
 */
int tarn_reader_take(tarn_reader *reader, int key, tarn_message *ret);

/*
 * Waits up to timeout_ns until the key's version is above that (0: until it has a value). Returns 1: it is; 0: not in
 * time; or an error: _ARGUMENT, _CLOSED, _FORKED, _INTERRUPTED, _TOPIC_REMOVED, or what get would say.
 */
int tarn_reader_wait_key(tarn_reader *reader, int key, uint64_t version, int64_t timeout_ns);

/*
 * Which of the keys that were looked up has a value that this reader has not read (got or taken) yet: they take turns.
 * ret_key receives its number. Returns 1; 0: none has, and the descriptor is quiet; or an error: _ARGUMENT, _CLOSED,
 * _FORKED, or what get would say, once for each change; but what _NO_MEMORY or _LIMIT hides is looked at again, and that
 * is said every 100 ms.
 */
int tarn_reader_changed(tarn_reader *reader, int *ret_key);

/* Waits up to timeout_ns until tarn_reader_changed would return 1. Returns 1, 0 (not in time), or an error as for it, and
 * _INTERRUPTED, _TOPIC_REMOVED. */
int tarn_reader_wait(tarn_reader *reader, int64_t timeout_ns);

/* Ends the wait under way, or else the next: as tarn_subscriber_interrupt. Any thread, any signal handler. */
int tarn_reader_interrupt(tarn_reader *reader);

/* A file descriptor, readable when some key that was looked up may have changed: as tarn_subscriber_fd, with
 * tarn_reader_changed, whose 0 makes it quiet. */
int tarn_reader_fd(tarn_reader *reader);

/* How many keys the topic has: their numbers are those below. Returns the count, or _CLOSED, _FORKED. */
int tarn_reader_keys(tarn_reader *reader);

/* A key's name, valid until the reader is closed. NULL: no such key, or its name is being written. */
const char *tarn_reader_key_name(tarn_reader *reader, int key);

/*
 * Leaves the topic. Values still held stay valid until released. The handle is invalid afterwards; NULL is allowed.
 * Returns 0, or _CLOSED, _FORKED (the inherited handle is dropped without touching the parent's).
 */
int tarn_reader_close(tarn_reader *reader);

/* ---- work queue: producers and workers --------------------------------------------------------------------------- */

/*
 * Any number of producers and workers; each message goes to exactly one worker, who acknowledges it, gives it back, or
 * rejects it. What a worker had not acknowledged when it died or closed goes to another at once; a message may thus be
 * worked on more than once, but is acknowledged once. Messages are in the memory of their producer, and stay there as
 * long as any process has it attached: the producer, a worker, or a keeper. So a producer that closes waits until a
 * worker or a keeper has what is not acknowledged. A producer that is killed leaves its messages to those who had
 * attached them by then; where nobody had, they are gone, and nobody is told.
 */

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_producer_options {
    size_t struct_bytes;   /* sizeof(tarn_producer_options) */
    const char *directory; /* as for publishers */
    const char *domain;    /* as for publishers */
    const tarn_type *type; /* NULL: untyped */
    uint64_t memory_limit_bytes; /* as for publishers */
    uint32_t capacity;     /* messages that are not acknowledged yet, at most: a power of two up to 65536. 0: 1024 */
    uint32_t when_full;    /* TARN_FULL_WAIT or TARN_FULL_FAIL: nothing is dropped here */
    uint32_t alignment;    /* of payloads, as for publishers */
    uint32_t attempts_max; /* a message that was delivered so often, and not acknowledged, is rejected. Up to 254; 0: never */
    int64_t full_timeout_ns; /* 0: 1 s */
    int64_t linger_ns;       /* how long closing waits for a worker or keeper. 0: TARN_FOREVER; TARN_IMMEDIATELY: not at all */
    int64_t claim_limit_ns;  /* a worker that has a message for longer, as others see it, loses it to another. 0: never */
} tarn_producer_options;

/*
 * Opens a producer on a topic, creating what is missing. Everything as for tarn_publisher_open, and _PATTERN: the topic
 * is in use for something else.
 */
int tarn_producer_open(tarn_producer **ret, const char *topic, const tarn_producer_options *options);

/*
 * Copies bytes from data into the queue: loan, copy, send. data may be NULL if bytes is 0. Returns 1: it is in the
 * queue; or an error: _ARGUMENT, _CLOSED, _FORKED, _TOO_BIG, _FULL (capacity or memory limit; nothing was added),
 * _NO_MEMORY, _LIMIT.
 */
int tarn_producer_push(tarn_producer *producer, const void *data, size_t bytes);

/*
 * Lends the place where a message of up to bytes will be: see tarn_publisher_loan, tarn_loan_send and tarn_loan_drop.
 * Any number may be open. A message takes its place in the order when it is sent, which is when it may have to wait for
 * one that is acknowledged; if it cannot (_FULL), the loan stays yours. Returns 1, or an error as for push.
 */
int tarn_producer_loan(tarn_producer *producer, size_t bytes, tarn_loan *ret);

/* Waits until all messages are acknowledged or rejected. Returns 1: they are; 0: not in time; or _CLOSED, _FORKED. */
int tarn_producer_flush(tarn_producer *producer, int64_t timeout_ns);

/*
 * Waits until each message is acknowledged, or a live worker or keeper has all of them attached, so that they outlive
 * this producer. Returns 1: so it is; 0: not in time; or _CLOSED, _FORKED.
 */
int tarn_producer_kept(tarn_producer *producer, int64_t timeout_ns);

/* Messages that are neither acknowledged nor rejected; those rejected so far. 0 for a handle that is none. */
uint64_t tarn_producer_unacknowledged(tarn_producer *producer);
uint64_t tarn_producer_rejected(tarn_producer *producer);

/* How many live workers, keepers not counted, the topic has. Asks the kernel about each. Or _CLOSED, _FORKED. */
int tarn_producer_workers(tarn_producer *producer);

/* As its jobs carry it: see tarn_publisher_identity. */
uint64_t tarn_producer_identity(const tarn_producer *producer);

/*
 * Waits for up to linger as tarn_producer_kept does, then leaves. Open loans are dropped. The handle is invalid
 * afterwards, whatever is returned; NULL is allowed. Returns 0: all messages are acknowledged or kept; 1 or more: so
 * many were not acknowledged when linger ended, and nobody had all memory that they are in: what lies in memory that
 * nobody had is lost; or _CLOSED, _FORKED (the inherited handle is dropped without touching the parent's).
 */
int tarn_producer_close(tarn_producer *producer);

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_worker_options {
    size_t struct_bytes;    /* sizeof(tarn_worker_options) */
    const char *directory;  /* as for publishers */
    const char *domain;     /* as for publishers */
    const tarn_type *type;  /* NULL: untyped, matches all */
    uint32_t prefetch;      /* jobs that this worker may have at a time. 0: 1, as taking one costs no way to a server; more
                               for one that works on several side by side; up to 65536 */
    uint32_t wait_strategy; /* enum tarn_wait_strategy */
    int64_t spin_ns;        /* 0: 10 us */
} tarn_worker_options;

/*
 * A job: a message that is this worker's. Keep the struct until the job ends, by one of the three calls below or with
 * the worker; copying it is allowed, but a job ends once. data is read-only and valid until then, whatever becomes of
 * the producer, also when the job was given to another worker because of the producer's claim_limit_ns.
 */
typedef struct tarn_job {
    const void *data;
    size_t bytes;
    uint64_t number;   /* of this producer's messages, starting at 1 */
    uint64_t producer; /* identity: see tarn_producer_identity */
    uint32_t attempts; /* deliveries, this one included: 1 for a message that nobody had before; counts to 255 */
    uint32_t place;
    void *taken_by, *held_by, *source;
    uint64_t claim, ticket, worker;
    uint64_t reserved[2];
} tarn_job;

/* Opens a worker on a topic, creating what is missing. Everything as for tarn_subscriber_open, but for _REFUSED. */
int tarn_worker_open(tarn_worker **ret, const char *topic, const tarn_worker_options *options);

/*
 * Takes a job, never blocking. Of one producer they come in the order sent, but for redelivered ones; producers take
 * turns. Returns 1: ret is filled in, and the job this worker's; 0: nothing there; or an error: _ARGUMENT, _CLOSED,
 * _FORKED, _HOLDING (as many as prefetch are not ended), _DAMAGED (said once per producer), _PERMISSION, _NO_MEMORY,
 * _LIMIT (a producer's memory cannot be attached; it is tried again later).
 */
int tarn_worker_take(tarn_worker *worker, tarn_job *ret);

/*
 * The same, waiting up to timeout_ns. 1, 0 (nothing in time), or an error: as for take, and _INTERRUPTED,
 * _TOPIC_REMOVED.
 */
int tarn_worker_receive(tarn_worker *worker, tarn_job *ret, int64_t timeout_ns);

/*
 * Waits up to timeout_ns until there may be a job to take. Returns 1: there is; 0: not in time; or _CLOSED, _FORKED,
 * _INTERRUPTED, _TOPIC_REMOVED, or what take would say; but 1 also where that is _HOLDING, as with the descriptor and in
 * a waitset: do not wait then.
 */
int tarn_worker_wait(tarn_worker *worker, int64_t timeout_ns);

/* As tarn_subscriber_interrupt and tarn_subscriber_fd; a wait that returns 0 makes the descriptor quiet, too. */
int tarn_worker_interrupt(tarn_worker *worker);
int tarn_worker_fd(tarn_worker *worker);

/*
 * End a job, from any thread, once, but not while its worker is being closed: it is done; somebody else may have it;
 * nobody may (the producer counts it). The struct is cleared. Return 0, or _ARGUMENT, _RELEASED (the job was ended before, by this struct or a copy of it),
 * _CLOSED (the worker was closed), _FORKED, _TAKEN: it was given to another worker, as the producer's claim_limit_ns
 * had passed: nothing is said about it here.
 */
int tarn_job_acknowledge(tarn_job *job);
int tarn_job_give_back(tarn_job *job);
int tarn_job_reject(tarn_job *job);

/*
 * Leaves the topic, and gives back the jobs that are not ended: their data is not valid any more. The handle is invalid
 * afterwards; NULL is allowed. Returns 0, or _CLOSED, _FORKED (the inherited handle is dropped without touching the
 * parent's).
 */
int tarn_worker_close(tarn_worker *worker);

/* ---- keepers: what outlives its sender ------------------------------------------------------------------------- */

/*
 * A keeper has a topic's memory attached, so that what is in it outlives the processes that wrote it, killed ones too:
 * the messages that publishers had kept for those who come later (history), as many as each would have given them;
 * messages of a work queue that are not acknowledged; values of a blackboard. It takes no copy, reads nothing and holds
 * nobody back, but that a publisher that closes or flushes waits for it, for a second at most: so always wait with it.
 * Whoever comes finds it where it is. What nobody else has goes with the last keeper, also when that is
 * killed.
 *
 * It may join a topic before anybody has settled what that is for. It is not counted as subscriber, worker or reader.
 */

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_keeper_options {
    size_t struct_bytes;       /* sizeof(tarn_keeper_options) */
    const char *directory;     /* as for publishers */
    const char *domain;        /* as for publishers */
    uint64_t memory_max_bytes; /* of publishers that left or died, together; 0: a quarter of the smaller of RAM and cgroup limit */
    uint32_t left_max;         /* so many of them. 0: 64; up to 2048. Beyond either, those who left first are let go. Does not
                                  concern queues, where messages are kept until they are acknowledged, and blackboards */
    uint32_t wait_strategy;    /* enum tarn_wait_strategy */
    int64_t spin_ns;           /* 0: 10 us */
} tarn_keeper_options;

/*
 * Opens a keeper on a topic, creating what is missing. Ownership, threads and errors as for tarn_publisher_open;
 * _PATTERN: the topic is in use for requests or events, of which there is nothing to keep.
 */
int tarn_keeper_open(tarn_keeper **ret, const char *topic, const tarn_keeper_options *options);

/*
 * Waits up to timeout_ns, and attaches what comes meanwhile: a keeper keeps what comes only while it waits, or is asked
 * again and again. Returns 1, early: publishers were let go since it last said so; 0: the time is over; or an error:
 * _CLOSED, _FORKED, _INTERRUPTED, _TOPIC_REMOVED, _PATTERN, _PERMISSION, _NO_MEMORY, _LIMIT (memory cannot be attached:
 * said once for each publisher, and tried again later).
 */
int tarn_keeper_wait(tarn_keeper *keeper, int64_t timeout_ns);

/* As tarn_subscriber_interrupt and tarn_subscriber_fd; a wait that returns 0 makes the descriptor quiet. */
int tarn_keeper_interrupt(tarn_keeper *keeper);
int tarn_keeper_fd(tarn_keeper *keeper);

/*
 * Publishers of messages that left or died, and are kept; those that were let go so far. 0 for a handle that is none.
 */
uint64_t tarn_keeper_left(tarn_keeper *keeper);
uint64_t tarn_keeper_let_go(const tarn_keeper *keeper);

/*
 * Leaves the topic: what only this keeper had is gone. The handle is invalid afterwards; NULL is allowed. Returns 0, or
 * _CLOSED, _FORKED (the inherited handle is dropped without touching the parent's).
 */
int tarn_keeper_close(tarn_keeper *keeper);

/* ---- monitors: who comes and goes ------------------------------------------------------------------------------ */

/*
 * A monitor sees who joins a topic, of whatever pattern, who leaves it, and who dies in it. It is a participant itself,
 * so the topic is there as long as it is, but nobody counts it as subscriber, and no message wakes it.
 */
enum tarn_role {
    TARN_ROLE_PUBLISHER = 1,
    TARN_ROLE_SUBSCRIBER = 2,
    TARN_ROLE_CLIENT = 3,
    TARN_ROLE_SERVER = 4,
    TARN_ROLE_NOTIFIER = 5,
    TARN_ROLE_LISTENER = 6,
    TARN_ROLE_WRITER = 7,
    TARN_ROLE_READER = 8,
    TARN_ROLE_PRODUCER = 9,
    TARN_ROLE_WORKER = 10,
    TARN_ROLE_MONITOR = 11,
    TARN_ROLE_KEEPER = 12,
};

/* A word for it, e.g. "publisher"; never NULL; static. */
const char *tarn_role_text(uint32_t role);

enum tarn_match_kind {
    TARN_MATCH_JOINED = 1,
    TARN_MATCH_LEFT = 2,   /* closed its handle */
    TARN_MATCH_DIED = 3,   /* its process ended without that */
    TARN_MATCH_MISSED = 4, /* nothing but missed is to be told */
};

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_monitor_options {
    size_t struct_bytes;    /* sizeof(tarn_monitor_options) */
    const char *directory;  /* as for publishers */
    const char *domain;     /* as for publishers */
    uint32_t skip_present;  /* 1: of those who were there before only their end is told. 0: they are told as joined first */
    uint32_t monitors;      /* 1: other monitors are told, too */
    int64_t look_ns;        /* so often it looks who has died: a system call or two per participant. 0: 10 ms */
    uint32_t wait_strategy; /* enum tarn_wait_strategy */
    uint32_t reserved;      /* 0 */
    int64_t spin_ns;        /* 0: 10 us */
} tarn_monitor_options;

/* That somebody joined, left or died. One that left or died is described as when it joined. */
typedef struct tarn_match {
    uint32_t kind;       /* enum tarn_match_kind */
    uint32_t role;       /* enum tarn_role */
    uint64_t identity;   /* random; of publishers: as their messages carry it */
    int64_t opened_ns;   /* CLOCK_MONOTONIC */
    int32_t pid;         /* where it runs */
    uint32_t uid;
    uint32_t foreign_pid; /* 1: pid is a number of another pid namespace */
    char command[16];
    uint32_t reserved;
    uint64_t missed; /* participants, other monitors included, that came and went unseen since the last match. Exact; those
                        that failed to open may count. One seen to join is always told to leave or die, too */
} tarn_match;

/*
 * Opens a monitor on a topic, creating what is missing; settles nothing of what the topic is for. Ownership, threads
 * and errors as for tarn_publisher_open.
 */
int tarn_monitor_open(tarn_monitor **ret, const char *topic, const tarn_monitor_options *options);

/*
 * Takes the next match, never blocking. Each participant's come in order; those of different ones in any order.
 * Returns 1: ret is filled in; 0: nothing new; or an error: _ARGUMENT, _CLOSED, _FORKED, _NO_MEMORY.
 */
int tarn_monitor_take(tarn_monitor *monitor, tarn_match *ret);

/* Takes the next match, waiting up to timeout_ns for it. Returns as take, or _INTERRUPTED, _TOPIC_REMOVED. */
int tarn_monitor_receive(tarn_monitor *monitor, tarn_match *ret, int64_t timeout_ns);

/* Waits up to timeout_ns until there is something to take. Returns 1, 0 (not in time), or an error as receive. */
int tarn_monitor_wait(tarn_monitor *monitor, int64_t timeout_ns);

/* Ends the wait under way or the next one, as tarn_subscriber_interrupt does. Any thread, and signal handlers. */
int tarn_monitor_interrupt(tarn_monitor *monitor);

/* A descriptor for poll, epoll and event loops, as tarn_subscriber_fd; readable also every look_ns. */
int tarn_monitor_fd(tarn_monitor *monitor);

/* Leaves the topic. The handle is invalid afterwards; NULL is allowed. Returns 0, or _CLOSED, _FORKED. */
int tarn_monitor_close(tarn_monitor *monitor);

/* ---- waiting for many ----------------------------------------------------------------------------------------- */

/*
 * One wait for any number of subscribers and of descriptors of your own: sockets, timers, signals. (Where there is an
 * event loop already, each handle's descriptor can be given to that instead: tarn_subscriber_fd.)
 *
 *     tarn_waitset_open(&set, NULL);
 *     tarn_waitset_add(set, sub, &state_of_sub);
 *     tarn_waitset_add_fd(set, socket, POLLIN, &state_of_socket);
 *     while ((count = tarn_waitset_wait(set, ready, 8, TARN_FOREVER)) > 0)
 *         for (int i = 0; i < count; i++)
 *             ... ready[i].tag says which: take one message or more
 *
 * Level-triggered: a source is reported by each wait as long as there is something, however little is taken at a time.
 * Only what has something is reported. When more is ready than is asked for, sources take turns.
 *
 * A waitset and the handles in it belong to one thread at a time.
 */

/* Start from zeros, set struct_bytes, then what you need: 0 or NULL is always the default. */
typedef struct tarn_waitset_options {
    size_t struct_bytes;    /* sizeof(tarn_waitset_options) */
    uint32_t wait_strategy; /* enum tarn_wait_strategy; of the handles' own nothing is used */
    uint32_t reserved;      /* 0 */
    int64_t spin_ns;        /* 0: 10 us. Not with descriptors only, nor with more than 64 handles: then it sleeps at once */
} tarn_waitset_options;

/* A source that is ready. */
typedef struct tarn_ready {
    void *tag;       /* as given when it was added */
    void *handle;    /* NULL: a descriptor of yours */
    int fd;          /* -1: a handle */
    uint32_t events; /* of a descriptor: POLLIN and so on; POLLERR and POLLHUP also unasked, as with poll */
    int status;      /* of a handle: 0: there is something; or the error that its next call (take, receive) will tell */
    uint32_t reserved;
} tarn_ready;

/*
 * Opens a waitset, with nothing in it.
 * ret: receives it, yours until tarn_waitset_close. options: may be NULL; read during the call only.
 * Any thread; not in a signal handler. Returns 0, or _ARGUMENT, _NO_MEMORY, _LIMIT, _SYSTEM.
 */
int tarn_waitset_open(tarn_waitset **ret, const tarn_waitset_options *options);

/*
 * Adds a handle that can be waited for. It stays yours, may be in other waitsets, too, and is used as
 * before. Remove it before you close it; one that was closed is reported no more. tag: for you, not looked at.
 * Returns 0, or _ARGUMENT (NULL, in it already, or of a kind that cannot be waited for), _CLOSED, _FORKED, _NO_MEMORY,
 * _LIMIT, _PERMISSION, _SYSTEM.
 */
int tarn_waitset_add(tarn_waitset *waitset, void *handle, void *tag);

/*
 * Adds a descriptor of yours. poll_events: POLLIN, POLLOUT, POLLPRI, POLLRDHUP, as for poll. Remove it before you close
 * it: the kernel reports a closed one for as long as a child or a duplicate has it, too.
 * Returns 0, or _ARGUMENT (not open, in it already, a plain file), _CLOSED, _FORKED, _NO_MEMORY, _LIMIT, _SYSTEM.
 */
int tarn_waitset_add_fd(tarn_waitset *waitset, int fd, uint32_t poll_events, void *tag);

/* Takes a source out. Returns 0, or _ARGUMENT (it is not in it), _CLOSED, _FORKED. */
int tarn_waitset_remove(tarn_waitset *waitset, const void *handle);
int tarn_waitset_remove_fd(tarn_waitset *waitset, int fd);

/*
 * Waits up to timeout_ns until something is ready. ret: receives up to capacity sources, each once.
 * Signals do not end it. While it waits, the handles look after their peers as in waits of their own;
 * TARN_ERROR_TOPIC_REMOVED comes as a source's status (but not a reader's), and then from its next take that finds nothing,
 * or a keeper's wait.
 * Returns how many; 0: none in time; or an error: _ARGUMENT, _CLOSED, _FORKED, _INTERRUPTED, _SYSTEM.
 */
int tarn_waitset_wait(tarn_waitset *waitset, tarn_ready *ret, size_t capacity, int64_t timeout_ns);

/*
 * Ends the wait under way (or, if none is, the next one) with TARN_ERROR_INTERRUPTED. From any thread and from signal
 * handlers, while the waitset is open. Returns 0, or _CLOSED, _FORKED.
 */
int tarn_waitset_interrupt(tarn_waitset *waitset);

/*
 * A file descriptor for poll, epoll and event loops: readable when there may be something. Level-triggered: call
 * tarn_waitset_wait with a timeout of 0 whenever it is readable; when that returns 0, the descriptor is quiet again. It
 * belongs to the waitset: do not read, write or close it. Returns the descriptor, or _CLOSED, _FORKED.
 */
int tarn_waitset_fd(tarn_waitset *waitset);

/*
 * Closes a waitset. What was in it stays open. The handle is invalid afterwards; NULL is allowed.
 * Returns 0, or _CLOSED, _FORKED (the inherited handle is dropped without touching the parent's).
 */
int tarn_waitset_close(tarn_waitset *waitset);

/* ---- the process ---------------------------------------------------------------------------------------------- */

/*
 * Registers the process for membarrier, so that its publishers and reliable subscribers need no fence per message, and
 * messages are released without a locked instruction by who took them. Done automatically by the first open of a
 * process with one thread, where it costs 3 us; afterwards it may take some 10 ms, which is why it is left to this
 * call. Without it everything works, at some 20 ns more per small message.
 * Returns 1: registered; 0: the kernel or a seccomp filter does not allow it (they go on with fences); or
 * _NO_MEMORY, _SYSTEM.
 */
int tarn_process_register(void);

/* The sentence that explains the calling thread's last error; never NULL. Valid until its next call into tarn. */
const char *tarn_error(void);

/* A few words for a status code, e.g. "full"; never NULL; static. */
const char *tarn_status_text(int status);

/* The library's version, e.g. "0.1.0"; static. */
const char *tarn_version(void);

#ifdef __cplusplus
}
#endif
#endif
