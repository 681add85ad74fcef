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
 *    to which topic, who is involved and what to do. Out parameters are untouched on failure.
 *  - Threads: one handle belongs to one thread at a time; different handles are independent. A message may be
 *    released from any thread. tarn_subscriber_interrupt may be called from any thread and any signal handler.
 *  - fork: handles, loans and messages of the parent do not work in the child (TARN_ERROR_FORKED; message and loan
 *    memory is not mapped there). The child opens its own. The parent's are untouched.
 *  - Memory: payload belongs to the kernel and is freed with the last process that uses it, however that ends.
 *  - The library starts no thread, installs no signal handler, prints nothing and never ends the process.
 *  - All times are nanoseconds of CLOCK_MONOTONIC. All sizes are bytes.
 *
 * WHAT A CALL MAY DO (tested: see tests/unit/call_table.c)
 *
 *   call                          wait-free    allocates   page faults    enters the kernel
 *   ----------------------------  -----------  ----------  -------------  ---------------------------------
 *   tarn_publisher_publish, loan  unless full  at growth   at growth      at growth, when full
 *   tarn_loan_send                unless full  at growth   at growth      at growth, when full; to wake subscribers
 *                                 (overtaken)                             that sleep
 *   tarn_loan_drop                yes          no          no             no
 *   tarn_subscriber_take          yes          at joins    first touch    at joins; to wake a publisher waiting for
 *                                              and highs                  space; with an fd: when it finds nothing
 *   tarn_message_release          yes          no          no             to wake a publisher waiting for space;
 *                                                                         the last one of a closed subscriber
 *   tarn_subscriber_wait/receive  no           as take     first touch    to sleep
 *   tarn_subscriber_interrupt     yes          no          no             to wake the sleeper
 *   open, close, flush, fd,       no           yes         yes            yes
 *   subscribers, publishers
 *   tarn_reader_get, take         yes          at joins    first touch    at joins
 *   tarn_writer_set, loan         yes          at growth   at growth      at growth; to wake readers that sleep
 *   tarn_writer_key, release_key, no           yes         yes            yes
 *   tarn_reader_key, keys
 *
 *   "growth": a publisher needs more memory than before, or gives back what it did not need for 5 s;
 *   "joins": a participant joined or left since the last look, or a publisher grew; "highs": messages of more extents are
 *   held than ever before. With .realtime all of these happen elsewhere, see the options. A send readies memory for the
 *   next message, after its own is on its way; one that something else has overtaken may wait, like publish and loan,
 *   when there is no space for the record that refers to it. publish is loan, copy and send.
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
    TARN_ERROR_INTERRUPTED = -1016,   /* tarn_subscriber_interrupt ended the wait */
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

/* ---- payload types -------------------------------------------------------------------------------------------- */

/*
 * Says what the payload of a topic is. The first typed participant settles the topic's type for as long as the topic
 * has participants; a later one whose type differs is refused with TARN_ERROR_TYPE. Untyped participants match all.
 * The library copies it when a handle is opened.
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
    TARN_FULL_WAIT = 0, /* wait for space, at most full_timeout_ns, then TARN_ERROR_FULL */
    TARN_FULL_FAIL = 1, /* TARN_ERROR_FULL at once */
    TARN_FULL_DROP = 2, /* the message is not sent (the call returns 0) and counted: subscribers see it as lost */
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
    uint32_t alignment;      /* of payloads: a power of two up to 4096; 0: the type's, else 8 */
    uint32_t timestamps;     /* 1: each message carries its time of sending (costs about 20 ns) */
    uint32_t refuse_reliable; /* 1: reliable subscribers are refused, so nobody can hold this publisher back. Reliable
                                 ones that are there already make opening fail with TARN_ERROR_REFUSED */
    uint32_t realtime;       /* 1: memory_limit_bytes (0: 1 MiB) is allocated and populated on opening; never grows, gives
                                nothing back; what subscribers hold counts, too; the dead are repaired by others, but for
                                when it waits for space, flushes or closes */
    uint64_t rotation_bytes; /* how much memory messages of 64 KiB and more, and streams of smaller ones, rotate through
                                before it is reused: decides their bandwidth. 0: from the cache sizes */
} tarn_publisher_options;

/*
 * Opens a publisher on a topic, creating what is missing. Does not wait for anybody (for at most 1 s for a process
 * stopped in the few instructions that create or delete a topic file).
 * ret: receives the handle, yours until tarn_publisher_close. topic: segments of letters, digits, '_', '-' and '.',
 * joined by single slashes, at most 255 bytes; copied. options: may be NULL; read during the call only.
 * Any thread; not in a signal handler. Returns 0 or an error: any of _ARGUMENT, _TOPIC_NAME, _DIRECTORY, _PERMISSION,
 * _TOPIC_FILE, _VERSION, _TYPE, _BUSY, _NO_MEMORY, _LIMIT, _REFUSED, _DAMAGED, _SYSTEM.
 */
int tarn_publisher_open(tarn_publisher **ret, const char *topic, const tarn_publisher_options *options);

/*
 * Copies bytes from data and sends them as one message: loan, copy, send. data may be NULL if bytes is 0.
 * Returns 1: sent; 0: dropped because full (TARN_FULL_DROP); an error: _ARGUMENT, _CLOSED, _FORKED, _TOO_BIG,
 * _FULL (nothing was sent), _NO_MEMORY, _LIMIT.
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
 * Sends the loan's first loan->bytes bytes. Its memory must not be written any more. The loan is cleared. Fastest with as
 * many bytes as were asked for.
 * Same thread rule as the publisher. Returns 1: sent; or an error: _ARGUMENT (bytes was raised), _RELEASED (sent or
 * dropped before), _CLOSED, _FORKED; _FULL, _NO_MEMORY or _LIMIT when something else was sent since the loan was
 * made, and there is no space for the small record that refers to it: the loan stays yours.
 */
int tarn_loan_send(tarn_loan *loan);

/* Gives the loan back unsent. The loan is cleared. Returns 0, or _ARGUMENT, _RELEASED, _CLOSED, _FORKED. */
int tarn_loan_drop(tarn_loan *loan);

/*
 * Waits until every live subscriber has attached this publisher's memory, and every reliable one has taken all
 * that was sent before this call. Returns 1: done; 0: not in time; or _CLOSED, _FORKED.
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
 * Returns 0: everybody had everything; 1 or more: so many subscribers had not, when linger ended; or _CLOSED, _FORKED
 * (the inherited handle is dropped without touching the parent's).
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
    uint32_t reliable;     /* 1: publishers wait for this subscriber rather than overrun it.
                              0: best effort: falls behind, loses the oldest, and is told how many */
    uint32_t max_held;     /* messages taken and not yet released, at most. 0: 64; up to 65536 */
    uint32_t wait_strategy; /* enum tarn_wait_strategy */
    uint32_t realtime;     /* 1: take never attaches or repairs; only open and wait do (wait with timeout 0 suffices) */
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
    uint64_t reserved[5];
} tarn_message;

/*
 * Opens a subscriber on a topic, creating what is missing. From its return on, it gets what is sent.
 * Ownership, threads and errors as for tarn_publisher_open; _REFUSED: reliable asked for, and a publisher refuses.
 */
int tarn_subscriber_open(tarn_subscriber **ret, const char *topic, const tarn_subscriber_options *options);

/*
 * Takes the next message, never blocking. Per publisher, messages come in the order sent; publishers take turns.
 * Returns 1: ret is filled in, and yours until tarn_message_release; 0: nothing there; or an error: _ARGUMENT,
 * _CLOSED, _FORKED, _HOLDING (nothing lost: release one, then take again), _DAMAGED (said once per publisher),
 * _PERMISSION, _NO_MEMORY, _LIMIT (a publisher's memory cannot be attached; it is tried again later).
 */
int tarn_subscriber_take(tarn_subscriber *subscriber, tarn_message *ret);

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
 * Ends the wait under way (or, if none is, the next one) with TARN_ERROR_INTERRUPTED. From any thread and from signal
 * handlers, while the handle is open. Returns 0, or _CLOSED, _FORKED.
 */
int tarn_subscriber_interrupt(tarn_subscriber *subscriber);

/*
 * A file descriptor for poll, epoll and event loops: readable when there may be something to take. Level-triggered:
 * take until it returns 0, which makes the descriptor quiet again (it also becomes readable ten times a second, for
 * a look at the peers). It belongs to the subscriber: do not read, write or close it.
 * Returns the descriptor, or an error: _CLOSED, _FORKED, _LIMIT, _PERMISSION, _SYSTEM.
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

/* ---- blackboard: writer --------------------------------------------------------------------------------------- */

/*
 * A blackboard is a topic that keeps the latest value of each key. A key has one writer at a time; any number read it.
 * Reading waits for nobody, whatever writers do or have died of, and never gives half a value. Each value has a version,
 * which rises by one with each set, also when another writer takes the key over. A value lives as long as its writer, or a
 * reader that has read one of that writer's; keys stay as long as the topic has participants (at most 16384).
 *
 * Keys are called by number: names are looked up once. A key's name is 1 to 63 bytes without spaces and control characters.
 */
typedef struct tarn_writer tarn_writer;
typedef struct tarn_reader tarn_reader;

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
    uint32_t alignment;      /* of values: a power of two up to 4096; 0: the type's, else 8 */
    uint32_t reserved;       /* 0 */
} tarn_writer_options;

/*
 * Opens a writer on a topic, creating what is missing. It writes no key yet. Ownership, threads and errors as for
 * tarn_publisher_open, but for _REFUSED; _PATTERN: the topic is in use for something else.
 */
int tarn_writer_open(tarn_writer **ret, const char *topic, const tarn_writer_options *options);

/*
 * Takes a key, making it if there is none of that name, so that only this writer may set it, until it gives the key up,
 * closes or dies. A value that a previous writer left there stays, if somebody has it yet, until this one sets another, whose
 * version is the next. name is copied. Not wait-free, but waits for nobody.
 * Returns the key's number, 0 or more, for the calls below (the same in all processes, and again if this writer has it already);
 * or an error: _ARGUMENT (not a name), _CLOSED, _FORKED, _TAKEN (another writer has it, and lives; it is named), _LIMIT (there are
 * 16384 keys, or a system limit), _NO_MEMORY, _PERMISSION, _DAMAGED, _SYSTEM.
 */
int tarn_writer_key(tarn_writer *writer, const char *name);

/*
 * Sets a key that this writer has taken to a copy of bytes from data. data may be NULL if bytes is 0. Whoever reads from now on
 * gets this value; those who sleep are woken. Waits for nobody.
 * Returns 1: set; or an error: _ARGUMENT (no key of this writer), _CLOSED, _FORKED, _TOO_BIG (larger than the payload type or the
 * memory limit), _FULL (the limit is used up by the values of this writer and open loans; the old value stays),
 * _NO_MEMORY, _LIMIT.
 */
int tarn_writer_set(tarn_writer *writer, int key, const void *data, size_t bytes);

/*
 * Lends the place where the key's next value will be, so that filling it is setting without a copy. Ends with tarn_loan_send
 * (with loan->bytes, which may be lowered), which sets the key, tarn_loan_drop, or closing. Any number may be open, also
 * of one key: the last sent counts. tarn_loan_send returns _TAKEN if the key was given up since; the loan is then yours to drop.
 * Returns 1: ret is filled in; or an error as for set.
 */
int tarn_writer_loan(tarn_writer *writer, int key, size_t bytes, tarn_loan *ret);

/* Gives a key up: another writer may take it. Its value stays, while this writer or a reader of it lives, until the next.
 * Returns 0, or _ARGUMENT (no key of this writer), _CLOSED, _FORKED. */
int tarn_writer_release_key(tarn_writer *writer, int key);

/* This writer's identity, as its values carry it. 0 for a handle that is none. */
uint64_t tarn_writer_identity(const tarn_writer *writer);

/*
 * How many live readers have read some value of this writer, so that all its values live on while they do. Asks the
 * kernel about each. ret_ever, which may be NULL, receives how many have come so far, those included that have left.
 * Returns the count, or _CLOSED, _FORKED.
 */
int tarn_writer_readers(tarn_writer *writer, uint64_t *ret_ever);

/*
 * Gives all keys up and leaves; open loans are dropped. Values live on while a reader has read some value of this writer.
 * The handle is invalid afterwards, whatever is returned; NULL is allowed.
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
 * Opens a reader on a topic, creating what is missing. Ownership, threads and errors as for tarn_subscriber_open, but for
 * _REFUSED; _PATTERN: the topic is in use for something else.
 */
int tarn_reader_open(tarn_reader **ret, const char *topic, const tarn_reader_options *options);

/*
 * Looks a key up, making it if there is none of that name, and has this reader notice its changes from now on. It need not
 * have a value. If it has one, the memory of its writer is attached, so that it outlives the writer.
 * Returns the key's number, 0 or more, or an error: _ARGUMENT (not a name), _CLOSED, _FORKED, _LIMIT (there are 16384 keys, or a
 * system limit), _NO_MEMORY, _PERMISSION, _DAMAGED.
 */
int tarn_reader_key(tarn_reader *reader, const char *name);

/*
 * Copies the key's latest value to buffer, which is yours and has room for capacity bytes. ret, which may be NULL, receives
 * its size and version. Wait-free; never enters the kernel, but to attach memory of a writer that is new or has grown.
 * Returns 1; 0: it has no value, or its writer is gone and nobody kept it; or an error: _ARGUMENT (no key; buffer NULL),
 * _CLOSED, _FORKED, _TOO_BIG (larger than capacity: nothing was copied, but ret, if not NULL, is filled in, so that bytes says
 * what is needed), _DAMAGED, _PERMISSION, _NO_MEMORY, _LIMIT (its writer's memory cannot be attached).
 */
int tarn_reader_get(tarn_reader *reader, int key, void *buffer, size_t capacity, tarn_value *ret);

/*
 * The key's latest value where it lies, without a copy. ret->sequence is its version, ret->publisher its writer's identity. It
 * stays as it is, whatever is set, until tarn_message_release.
 * Returns 1: ret is filled in; 0 as for get; or an error: as for get, and _HOLDING (max_held are held).
 */
int tarn_reader_take(tarn_reader *reader, int key, tarn_message *ret);

/*
 * Waits up to timeout_ns until the key's version is above that (0: until it has a value). Returns 1: it is; 0: not in time;
 * or an error: _ARGUMENT, _CLOSED, _FORKED, _INTERRUPTED, _TOPIC_REMOVED, or what get would say.
 */
int tarn_reader_wait_key(tarn_reader *reader, int key, uint64_t version, int64_t timeout_ns);

/*
 * Which of the keys that were looked up has a value that this reader has not read (got or taken) yet: they take turns. ret_key
 * receives its number. Returns 1; 0: none has, and the descriptor is quiet; or an error: _ARGUMENT, _CLOSED, _FORKED, or what
 * get would say.
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

/* ---- the process ---------------------------------------------------------------------------------------------- */

/*
 * Registers the process for membarrier, so that its publishers and reliable subscribers need no fence per message. Done
 * automatically by the first open of a process with one thread, where it costs 3 us; afterwards it may take some 10 ms,
 * which is why it is left to this call. Without it everything works, at some 20 ns more per small message.
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
