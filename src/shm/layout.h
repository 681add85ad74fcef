/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Every struct that lives in shared memory, with who writes each field and when. docs/layout.md draws it.
 *
 * Two kinds of segments:
 *  - the roster, one chain of segments per topic, mapped read-write by all participants. It is cut into blocks of 4
 *    KiB. A cell of it has one writer, its slot's owner; the few words that several processes write (bell, space,
 *    changes, links, owner words) are changed by single atomic instructions only.
 *  - a publisher's segments, one chain per publisher, written by it alone and mapped read-only by everyone else.
 *
 * References are offsets and indices, never pointers. Whoever reads a value from here reads it once into a local and
 * checks it before use. Magic words and "ready" words are written last.
 */
#ifndef TARN_SHM_LAYOUT_H
#define TARN_SHM_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARN_LAYOUT_MAJOR 0 /* another one: refused. 0.x may change until 1.0 */
#define TARN_LAYOUT_MINOR 6

/* Until 1.0 each minor layout is one of its own. */
static inline bool layout_is_ours(uint32_t major, uint32_t minor) {
    return major == TARN_LAYOUT_MAJOR && (TARN_LAYOUT_MAJOR > 0 || minor == TARN_LAYOUT_MINOR);
}

#define CACHE_LINE_BYTES 64
#define BLOCK_BYTES 4096u

/* ---- words ---------------------------------------------------------------------------------------------------- */

/*
 * Generations and sequences in shared words carry their publisher's incarnation in the high 16 bits, so what a slot's
 * previous owner or its readers left there compares unequal (and is never mistaken for progress).
 */
#define INCARNATION_SHIFT 48
#define COUNT_MASK ((UINT64_C(1) << INCARNATION_SHIFT) - 1)

static inline uint64_t stamped(uint16_t incarnation, uint64_t count) {
    return (uint64_t)incarnation << INCARNATION_SHIFT | (count & COUNT_MASK);
}

static inline uint16_t stamp_of(uint64_t word) {
    return (uint16_t)(word >> INCARNATION_SHIFT);
}

/* An extent of one publisher: the number of its segment in the chain, and its index in that segment's table. */
typedef uint32_t extent_ref;
#define EXTENT_INDEX_BITS 24
#define EXTENT_NONE UINT32_MAX

static inline extent_ref extent_ref_make(uint32_t segment, uint32_t index) {
    return segment << EXTENT_INDEX_BITS | index;
}
static inline uint32_t extent_ref_segment(extent_ref ref) {
    return ref >> EXTENT_INDEX_BITS;
}
static inline uint32_t extent_ref_index(extent_ref ref) {
    return ref & ((1u << EXTENT_INDEX_BITS) - 1);
}

/* A hold cell names the extent held: publisher slot, its incarnation, extent. 0: empty (incarnations start at 1). */
static inline uint64_t hold_cell(uint32_t publisher_slot, uint16_t incarnation, extent_ref ref) {
    return (uint64_t)publisher_slot << 48 | (uint64_t)incarnation << 32 | ref;
}

/* ---- references to segments ----------------------------------------------------------------------------------- */

enum segment_backend {
    BACKEND_NONE = 0,
    BACKEND_SYSV = 1,
};

/*
 * Names a segment. id is reused by the kernel and differs per IPC namespace, so the nonce must equal the one at the
 * segment's start. Written by the owner of the place it stands in: nonce and bytes first, then backend (release).
 */
struct segment_ref {
    _Atomic uint64_t nonce;
    _Atomic uint64_t bytes;
    _Atomic int32_t id;
    _Atomic uint32_t backend; /* enum segment_backend; 0: none yet */
};

/* ---- the roster ----------------------------------------------------------------------------------------------- */

#define ROSTER_MAGIC UINT64_C(0x315f6e7261745f52) /* "R_tarn_1" */
#define ROSTER_FIRST_BLOCKS 32u                   /* 128 KiB of addresses; pages are touched as they are needed */
#define ROSTER_SEGMENTS_MAX 20u                   /* each twice the last: 128 GiB of blocks */

#define ROSTER_SEGMENT_GONE UINT32_MAX

#define SUBSCRIBERS_PER_BLOCK 16u
#define SUBSCRIBER_BLOCKS_MAX 512u
#define SUBSCRIBERS_MAX (SUBSCRIBERS_PER_BLOCK * SUBSCRIBER_BLOCKS_MAX)
#define PUBLISHERS_PER_BLOCK 8u
#define PUBLISHER_BLOCKS_MAX 512u
#define PUBLISHERS_MAX (PUBLISHERS_PER_BLOCK * PUBLISHER_BLOCKS_MAX)
#define ROW_SUBSCRIBERS 128u
#define ROWS_MAX (SUBSCRIBERS_MAX / ROW_SUBSCRIBERS)
#define CELLS_INLINE 16u
#define CELL_BLOCKS_MAX 136u /* enough for max_held 65536 and a position in each of PUBLISHERS_MAX logs */
#define CELLS_PER_BLOCK (BLOCK_BYTES / 8)

/* Starts every segment of the roster's chain. */
struct roster_segment {
    _Atomic uint64_t magic; /* ROSTER_MAGIC, written last */
    uint32_t layout_major;
    uint32_t layout_minor;
    uint64_t nonce;       /* of the chain's first: random; of number k: roster_chain_nonce() of that one */
    uint32_t number;      /* in the chain */
    uint32_t blocks;      /* in this segment, this header and the owner words included */
    uint32_t first_block; /* number of this segment's block 0 */
    uint32_t usable_from; /* blocks below it are header and owner words */
    uint64_t reserved[3];
    /* then: _Atomic uint64_t owner[blocks], see roster.c: what each block is for */
};

/* What a topic is used for: settled by its first participant, for as long as it has any. */
enum pattern {
    PATTERN_NONE = 0,
    PATTERN_MESSAGES = 1,   /* publish and subscribe */
    PATTERN_SERVICE = 2,    /* requests and responses */
    PATTERN_EVENTS = 3,     /* counters */
    PATTERN_BLACKBOARD = 4, /* the latest value of each key */
    PATTERN_QUEUE = 5,      /* each message to one worker */
};

/* Continues the first segment, at ROSTER_HEADER_OFFSET. Zero means absent in all links. */
struct roster_header {
    /* Rung by publishers after a commit, by everyone after a change; low bit: somebody sleeps. See bell.h. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t bell;
    /* Raised (by anyone, atomically) after each join, leave, repair and segment that a publisher adds. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t changes;
    _Atomic uint32_t publisher_slots;  /* slots below this were ever used; only rises */
    _Atomic uint32_t subscriber_slots; /* likewise */
    _Atomic uint32_t doorbells;        /* 1 since some subscriber made a doorbell */
    _Atomic uint32_t type_block;       /* first block of struct roster_type; set once by compare-and-swap */
    _Atomic uint32_t pattern;          /* enum pattern; set once by compare-and-swap */
    _Atomic uint32_t pattern_block;    /* first block of what only that pattern has; set once by compare-and-swap */
    _Atomic uint32_t monitors;         /* 1 since a monitor or keeper came: changes ring their slots' bells, too */
    /* Number k of the chain, k >= 1: shmid + 1, or ROSTER_SEGMENT_GONE; changed by compare-and-swap. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t chain[ROSTER_SEGMENTS_MAX];
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t subscriber_blocks[SUBSCRIBER_BLOCKS_MAX];
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t publisher_blocks[PUBLISHER_BLOCKS_MAX];
};

#define ROSTER_HEADER_OFFSET 512u /* behind the first segment's 32 owner words */

enum slot_state {
    SLOT_FREE = 0,    /* nobody's; the lock decides who claims it */
    SLOT_OPENING = 1, /* claimed; not to be looked at yet */
    SLOT_JOINING = 4, /* a subscriber that settles where it starts: publishers heed it already */
    SLOT_LIVE = 2,
    /* a subscriber that is closed, with messages still held; a publisher whose life is over, but what it left is needed (of
       queues and blackboards the dead stay LIVE) */
    SLOT_LEAVING = 3,
    SLOT_WATCHING = 5, /* a subscriber that reads no publisher's memory */
};

/* What the owner of a subscriber slot is in the topic's pattern, where the pattern alone does not say it. */
enum slot_role {
    ROLE_PLAIN = 0, /* subscriber, reader: what the pattern has */
    ROLE_CLIENT = 1,
    ROLE_SERVER = 2,
    ROLE_LISTENER = 3,
    ROLE_READER = 4,
    ROLE_WORKER = 5,
    ROLE_MONITOR = 6, /* of any pattern: sees who comes and goes */
    ROLE_KEEPER = 7,  /* of any pattern: has all memory attached, and takes nothing. Sleeps on its own bell */
};

/* Who somebody is. Written by the slot's owner while OPENING. */
struct identity {
    uint64_t number;     /* random, not 0 */
    uint64_t start_time; /* field 22 of /proc/<pid>/stat, to tell a reused pid */
    uint64_t namespaces; /* os_namespaces(): of pids and of time */
    int64_t opened_ns;
    int32_t pid;
    uint32_t uid;
    char command[16];
};

/*
 * Written when a life in a slot ends, before its incarnation is raised, so that who watches participants can tell who
 * left from who died, and how many came and went unseen:
 *
 *   bits  0..15  how the last lives ended, the newest in bit 0; 1: died
 *   bits 16..47  how many lives have ended; those that ended while opening were none
 *   bits 48..63  incarnation of the last that ended
 */
#define ENDED_HISTORY 16u

static inline uint64_t ended_word(uint64_t before, uint16_t incarnation, bool counts, bool died) {
    uint32_t count = (uint32_t)(before >> ENDED_HISTORY) + counts;
    uint16_t history = counts ? (uint16_t)(before << 1 | died) : (uint16_t)before;
    return stamped(incarnation, (uint64_t)count << ENDED_HISTORY | history);
}
static inline uint32_t ended_count(uint64_t word) {
    return (uint32_t)(word >> ENDED_HISTORY);
}
/* The next incarnation in a slot: 0 is none. */
static inline uint16_t incarnation_after(uint16_t incarnation) {
    return incarnation == UINT16_MAX ? 1 : (uint16_t)(incarnation + 1);
}
/* Whether the life of that incarnation, or before which it was raised, is over. */
static inline bool life_is_over(uint64_t word, uint16_t incarnation) {
    uint16_t noted = stamp_of(word);
    return noted && (incarnation == noted || incarnation == incarnation_after(noted));
}
/* Of the last (age 0), or the one before; age < ENDED_HISTORY. */
static inline bool ended_by_death(uint64_t word, uint32_t age) {
    return word >> age & 1;
}

/* What a producer's slot says of its queue: see queue.h. All but requeues is written by the producer. */
struct queue_words {
    _Atomic uint32_t list;     /* block with struct queue_list; 0: none yet */
    _Atomic uint32_t capacity; /* cells: a power of two. Written before list, like the two limits */
    _Atomic uint64_t first;    /* all messages before it are over. Told before their cells are used again; may lag */
    _Atomic uint64_t claim_limit_ns; /* after which another worker takes a claim over; 0: never */
    _Atomic uint32_t attempts_max;   /* deliveries of a message before it is rejected; 0: any number */
    _Atomic uint32_t requeues; /* raised by workers, atomically, after a cell before their place became FREE again */
    _Atomic uint64_t reserved[4];
};

/*
 * One writer: the owner of byte TOPIC_LOCK_PUBLISHERS + slot of the topic file; after its death whoever holds that
 * lock. Exceptions: space (see space.h) and rows (links).
 */
struct publisher_slot {
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t state; /* enum slot_state */
    _Atomic uint32_t incarnation; /* low 16 bits count, never 0; raised first of all on claim and on repair */
    _Atomic uint32_t refuses_reliable;
    _Atomic uint32_t pending_key; /* key of a segment being created: where a repairer finds an orphan. 0: none */
    _Atomic uint64_t freed_ns;    /* when it became FREE, or a log LEAVING: the one free for longest is reused first */
    struct segment_ref segment;   /* the chain's first; it has the references to the others */
    _Atomic uint64_t ended;       /* how lives in this slot ended: ended_word() */
    _Alignas(CACHE_LINE_BYTES) struct identity who;
    /* Low bit: the publisher sleeps for space. Readers change it by compare-and-swap, see space.h. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t space;
    _Atomic uint64_t wanted; /* the sequence that reliable readers have to reach for it to go on */
    /* For tools, of those who have memory: their options, written before they are LIVE. */
    _Atomic uint64_t depth;          /* 0: the default, or there is no log */
    _Atomic uint64_t limit_bytes;    /* of memory; 0: the machine's */
    _Atomic int64_t full_timeout_ns; /* how long WAIT waits */
    _Atomic uint32_t when_full;      /* enum tarn_when_full; 0 also where there is none */
    _Atomic uint32_t realtime;
    /* Blocks with struct reader_row, by subscriber slot / ROW_SUBSCRIBERS. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t rows[ROWS_MAX];
    /* What only the topic's pattern has: zero in a slot that is opened. */
    union {
        _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t pattern_words[8];
        struct queue_words queue;
    };
};

/*
 * What subscribers tell one publisher. Word row_place(slot) of row slot / ROW_SUBSCRIBERS belongs to that subscriber
 * slot, or to who repairs it. A word of another incarnation than the publisher's (0 too) says: not attached yet.
 */
struct reader_row {
    /* Oldest generation that it may still read, held messages included. May lag, never lead. GONE: none at all. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t oldest[ROW_SUBSCRIBERS];
    /* Next sequence number it will take. Kept exact by reliable readers. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t cursor[ROW_SUBSCRIBERS];
    /* incarnation << 16 | how many of the publisher's segments it has attached */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t attached[ROW_SUBSCRIBERS];
};
#define GENERATION_GONE UINT64_MAX

/*
 * Reliable readers write a word with each message, so the first 16 of a row have lines of their own; else each would
 * wait for the line that the others have just written.
 */
static inline uint32_t row_place(uint32_t subscriber_slot) {
    uint32_t lines = ROW_SUBSCRIBERS * sizeof(uint64_t) / CACHE_LINE_BYTES, i = subscriber_slot % ROW_SUBSCRIBERS;
    return i % lines * (ROW_SUBSCRIBERS / lines) + i / lines;
}

enum doorbell_state {
    DOORBELL_NONE = 0,
    DOORBELL_QUIET = 1, /* its FIFO exists, or is being made or removed */
    DOORBELL_ARMED = 2, /* and wants to be rung; only the subscriber makes it quiet again */
};

/* One writer: the owner of byte TOPIC_LOCK_SUBSCRIBERS + slot; after its death whoever holds that lock. */
struct subscriber_slot {
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t state;
    _Atomic uint32_t incarnation;
    _Atomic uint32_t reliable;
    _Atomic uint32_t doorbell; /* enum doorbell_state */
    _Atomic uint64_t freed_ns;
    _Atomic uint64_t taken; /* for tools: may lag */
    _Atomic uint64_t lost;  /* for tools: may lag */
    _Atomic uint32_t pending_key;
    _Atomic uint32_t cell_list; /* block with struct cell_list, once CELLS_INLINE were not enough */
    _Atomic uint32_t load;      /* of a server: requests that it has taken and not ended; a hint to clients */
    _Atomic uint32_t attached;  /* of a listener: how many of the roster's segments it has, from the first */
    struct identity who;
    _Atomic uint64_t ended; /* how lives in this slot ended: ended_word() */
    _Atomic uint32_t bell;  /* as the topic's, where its pattern has each subscriber sleep on its own */
    _Atomic uint32_t role;  /* enum slot_role */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t cells[CELLS_INLINE];
};

/* Further cells, in a block of its own per subscriber, with the list of blocks. Owner word: BLOCK_CELL_LIST. */
struct cell_list {
    _Atomic uint32_t blocks[CELL_BLOCKS_MAX];
};

/* The topic's payload type. Written whole, before type_block is set; never changed. Spans consecutive blocks. */
struct roster_type {
    uint32_t total_bytes; /* of this struct and what follows */
    uint32_t alignment;
    uint64_t payload_bytes;
    uint32_t name_bytes;     /* then name, */
    uint32_t encoding_bytes; /* encoding, */
    uint32_t schema_bytes;   /* schema: none of them terminated */
    uint32_t reserved;
};

/* ---- events ---------------------------------------------------------------------------------------------------- */

/*
 * A topic of PATTERN_EVENTS: pattern_block is the directory, which names blocks of counters. A notifier is a publisher
 * slot without memory, a listener a subscriber slot that watches.
 */
#define EVENT_IDS_PER_BLOCK (BLOCK_BYTES / sizeof(struct event_counter))
#define EVENT_BLOCKS_MAX 256u
#define EVENT_IDS_MAX (EVENT_BLOCKS_MAX * EVENT_IDS_PER_BLOCK)

struct event_directory {
    _Atomic uint32_t ids; /* those below may have been used; raised before a counter is, by compare-and-swap */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t blocks[EVENT_BLOCKS_MAX]; /* linked when an id is used first */
};

/* How often an event was raised is the sum of both. */
struct event_counter {
    _Atomic uint64_t raised; /* by notifiers: one atomic add each */
    _Atomic uint64_t deaths; /* by repairers of dead notifiers, compare-and-swap only: deaths_word() */
};

/* How many deaths have raised the event, and whose was the last: publisher slot and incarnation (0: none). */
static inline uint64_t deaths_word(uint64_t count, uint32_t slot, uint16_t incarnation) {
    return count << 32 | (uint64_t)slot << 16 | incarnation;
}
static inline uint64_t deaths_count(uint64_t word) {
    return word >> 32;
}
static inline uint32_t deaths_last_slot(uint64_t word) {
    return (uint32_t)word >> 16;
}

/* A notifier's pattern_words. */
enum event_word {
    EVENT_WORD_DEATH = 0,  /* stamped: the event that its death raises + 1; 0: none */
    EVENT_WORD_RAISED = 1, /* incarnation whose death has raised it; by repairers, compare-and-swap: see counters.h */
};

/* ---- a publisher's segments ----------------------------------------------------------------------------------- */

#define SEGMENT_MAGIC UINT64_C(0x315f6e7261745f53) /* "S_tarn_1" */
#define SEGMENTS_MAX 40u
#define EXTENT_BYTES_MIN (64u * 1024)
#define EXTENT_GRAIN 4096u

/*
 * Starts each segment; in the chain's first, the words at the end speak for the whole log. All written by the
 * publisher.
 */
struct segment_header {
    _Atomic uint64_t magic; /* SEGMENT_MAGIC, written last */
    uint32_t layout_major;
    uint32_t layout_minor;
    uint64_t nonce;
    uint64_t bytes;        /* of the segment */
    uint32_t number;       /* in the chain */
    uint32_t extent_count; /* entries in the table */
    uint64_t table_offset;
    uint64_t data_offset; /* extents lie between here and bytes */
    /* The rest only in number 0. newest and oldest are hints that a joiner validates like any hold. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint32_t newest; /* extent_ref where the log is being written */
    _Atomic uint32_t oldest;                            /* extent_ref of the oldest valid log extent */
    _Atomic uint32_t segment_count;                     /* raised after chain[] was written */
    uint32_t reserved;
    _Atomic uint64_t bytes_held;            /* for tools: of extents in use or kept warm */
    _Atomic uint64_t sent;                  /* for tools: messages sent; written with each */
    struct segment_ref chain[SEGMENTS_MAX]; /* [0] unused */
};

/*
 * One extent. The publisher writes the rest while generation is 0 and nobody holds it, then generation (release).
 * Valid while generation is that by which a reader came here. See log.h.
 */
struct extent_entry {
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t generation; /* stamped; 0: retired or free */
    _Atomic uint64_t first_sequence; /* of the first message in it, not stamped; or NO_FIRST_SEQUENCE */
    _Atomic uint64_t offset;         /* in the segment, a multiple of EXTENT_GRAIN */
    _Atomic uint64_t bytes;
};

/* Not a part of the log any more: entered only through a reference. */
#define NO_FIRST_SEQUENCE COUNT_MASK

/* ---- records -------------------------------------------------------------------------------------------------- */

/*
 * A record starts with its header word, at a multiple of 8. The word is 0 until the record is committed.
 *
 *   bits  0..47  payload bytes (MESSAGE, HOLE), or the referred message's (REFERENCE)
 *   bits 48..57  pad: how many 8-byte words after the record the next one starts
 *   bit  58      a time of sending (8 bytes) follows the word, before the payload
 *   bits 60..62  enum record_kind, never 0
 */
enum record_kind {
    RECORD_MESSAGE = 1,   /* payload follows */
    RECORD_HOLE = 2,      /* a loan's place that something else overtook, or nothing at all; takes no sequence number */
    RECORD_REFERENCE = 3, /* a message that lies elsewhere: struct record_reference follows */
    RECORD_JUMP = 4,      /* the log goes on in another extent: struct record_jump follows; always the last */
    RECORD_DROPPED = 5,   /* payload bytes field: so many sequence numbers were used up by dropped messages */
};

#define RECORD_SIZE_MASK ((UINT64_C(1) << 48) - 1)
#define RECORD_PAD_SHIFT 48
#define RECORD_PAD_MASK UINT64_C(0x3ff)
#define RECORD_TIMED (UINT64_C(1) << 58)
#define RECORD_KIND_SHIFT 60

static inline uint64_t record_pad_bytes(uint64_t word) {
    return (word >> RECORD_PAD_SHIFT & RECORD_PAD_MASK) * 8;
}

struct record_reference {
    _Atomic uint64_t generation; /* of the extent the payload lies in, when the record was committed */
    _Atomic uint64_t offset;     /* of the payload in that extent */
    _Atomic uint64_t sent_ns;    /* 0: not timed */
    _Atomic uint32_t extent;     /* extent_ref */
    _Atomic uint32_t reserved;
};

struct record_jump {
    _Atomic uint64_t generation; /* of the next extent; above this one's */
    _Atomic uint64_t first_line; /* hint for a prefetch: offset of the next extent's first record in its segment */
    _Atomic uint32_t extent;
    _Atomic uint32_t reserved;
};

#define RECORD_HEADER_BYTES 8u
#define RECORD_JUMP_BYTES (RECORD_HEADER_BYTES + sizeof(struct record_jump))
#define RECORD_REFERENCE_BYTES (RECORD_HEADER_BYTES + sizeof(struct record_reference))

static inline uint64_t record_word(enum record_kind kind, uint64_t bytes, uint64_t pad_words, uint64_t flags) {
    return (uint64_t)kind << RECORD_KIND_SHIFT | flags | pad_words << RECORD_PAD_SHIFT | bytes;
}

/* ---- places: messages that lie in a publisher's segments, but in no log: see arena.h --------------------------- */

/* Stands right before the payload. Written before the word that names the place, never changed while that does. */
struct placed {
    _Atomic uint64_t bytes;
    _Atomic uint64_t number; /* the pattern's: of the message, of the value's version */
};

/* Names a place: extent, and the payload's offset there. 0: none. */
static inline uint64_t place_word(extent_ref ref, uint64_t offset) {
    return (uint64_t)ref << 32 | offset / 8;
}
static inline extent_ref place_extent(uint64_t word) {
    return (extent_ref)(word >> 32);
}
static inline uint64_t place_offset(uint64_t word) {
    return (word & UINT32_MAX) * 8;
}

/* ---- requests and responses: addressed messages, see core/service.h --------------------------------------------- */

/* In publisher_slot.pattern_words, each a peer_word() of a subscriber slot. Written before the slot is LIVE. */
enum {
    SERVICE_ADDRESSEE = 0, /* the only one that reads this publisher's log */
    SERVICE_SPEAKER = 1,   /* who owns this publisher, and where answers go */
};

/* Names a subscriber slot, and which of its lives. 0: nobody, as incarnations start at 1. */
static inline uint64_t peer_word(uint32_t subscriber_slot, uint16_t incarnation) {
    return (uint64_t)subscriber_slot << 16 | incarnation;
}
static inline uint32_t peer_slot(uint64_t word) {
    return word >> 16 < SUBSCRIBERS_MAX ? (uint32_t)(word >> 16) : SUBSCRIBERS_MAX;
}
static inline uint16_t peer_incarnation(uint64_t word) {
    return (uint16_t)word;
}

enum service_kind {
    SERVICE_REQUEST = 1,
    SERVICE_RESPONSE = 2, /* more may follow */
    SERVICE_LAST = 3,     /* the last response */
    SERVICE_END = 4,      /* no, or no more, response */
    SERVICE_ABANDON = 5,  /* the client does not wait for that request any more */
};

/*
 * Starts each message; its payload starts 2^lead_shift bytes behind the word's start: 8, or the alignment of payloads,
 * if that is more.
 *
 *   bits  0..47  the request's number, given by its client, from 1 on
 *   bits 48..55  enum service_kind
 *   bits 56..59  lead_shift: 3 to 12
 */
#define LEAD_SHIFT_LEAST 3u
static inline uint64_t service_word(enum service_kind kind, uint64_t number, uint32_t lead_shift) {
    return (uint64_t)lead_shift << 56 | (uint64_t)kind << 48 | (number & COUNT_MASK);
}

/* ---- queues: see queue.h --------------------------------------------------------------------------------------- */

/*
 * One message that is not over, or was not. The producer writes place, then state (release); then both belong to the
 * workers, who change state by compare-and-swap only, until it says DONE or REJECTED.
 */
struct queue_cell {
    _Atomic uint64_t state; /* queue_state() */
    _Atomic uint64_t place; /* place_word() */
};

enum queue_state {
    QUEUE_DONE = 0, /* acknowledged; or, in a word of zeros, never written */
    QUEUE_FREE = 1, /* nobody's yet, or given back */
    QUEUE_OWNED = 2,
    QUEUE_REJECTED = 3,
};

/*
 * Bits 0..15 the worker's incarnation, 16..28 its slot (both 0 unless OWNED), 29..30 state, 31..38 attempts, 39..
 * round.
 */
#define QUEUE_OWNER_MASK ((UINT64_C(1) << 29) - 1)
#define QUEUE_ATTEMPTS_MAX 255u /* where counting ends */
#define QUEUE_ROUND_MASK ((UINT64_C(1) << 25) - 1)

static inline uint64_t queue_owner(uint32_t slot, uint16_t incarnation) {
    return (uint64_t)(slot & 0x1fff) << 16 | incarnation;
}
static inline uint64_t queue_state_word(uint64_t round, uint32_t attempts, enum queue_state state, uint64_t owner) {
    return (round & QUEUE_ROUND_MASK) << 39 | (uint64_t)attempts << 31 | (uint64_t)state << 29 | owner;
}
static inline enum queue_state queue_state_of(uint64_t word) {
    return word >> 29 & 3;
}
static inline uint32_t queue_attempts_of(uint64_t word) {
    return word >> 31 & 0xff;
}
static inline uint64_t queue_round_of(uint64_t word) {
    return word >> 39;
}

#define QUEUE_CAPACITY_MAX 65536u
#define QUEUE_CELLS_PER_BLOCK (BLOCK_BYTES / 16)
#define QUEUE_BLOCKS_MAX (QUEUE_CAPACITY_MAX / QUEUE_CELLS_PER_BLOCK)

/* A producer's cells, in blocks that end with its incarnation, as this one does. */
struct queue_list {
    _Atomic uint32_t blocks[QUEUE_BLOCKS_MAX];
};

/* ---- a blackboard's keys: see board.h -------------------------------------------------------------------------- */

#define KEY_NAME_BYTES 64u /* with the zero behind it */
#define KEYS_PER_BLOCK 32u
#define KEY_BLOCKS_MAX 512u
#define KEYS_MAX (KEYS_PER_BLOCK * KEY_BLOCKS_MAX)

/* Whose memory a value lies in, and where there. Written by the key's holder only. */
struct key_pair {
    _Atomic uint64_t owner; /* key_owner() */
    _Atomic uint64_t place; /* place_word(); its number is the value's version */
};

/* One key: for the topic's life. Readers read the first line only, and write nothing. */
struct board_key {
    /* Of the name, never 0; 0: no key yet. Claimed by compare-and-swap; keys have no gap between them. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t hash;
    _Atomic uint64_t current; /* how often it changed hands << 1 | the pair that counts; 0: there never was a value */
    struct key_pair pairs[2];
    _Atomic uint64_t holder;  /* key_holder(): the writer that may set it, changed by compare-and-swap; 0: nobody */
    _Atomic uint64_t version; /* at least that of the newest value. Written by the holder */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t name[KEY_NAME_BYTES / 8]; /* each word by compare-and-swap from 0 */
};

/* pattern_words of a writer's slot. */
enum { WRITER_READERS = 0 }; /* readers that have attached its memory so far; each adds itself */

/* What the roster's pattern_block is in a blackboard. */
struct key_directory {
    _Atomic uint32_t blocks[KEY_BLOCKS_MAX]; /* of struct board_key */
};

/* A writer: its publisher slot and incarnation. Never 0. */
static inline uint64_t key_owner(uint32_t slot, uint16_t incarnation) {
    return (uint64_t)slot << 16 | incarnation;
}
static inline uint32_t key_owner_slot(uint64_t word) {
    return (uint32_t)(word >> 16 & 0xffff);
}
static inline uint16_t key_owner_incarnation(uint64_t word) {
    return (uint16_t)word;
}

/* The same as holder, with a count of the changes of that word, so that each value of it is a new one. */
static inline uint64_t key_holder(uint64_t before, uint64_t owner) {
    return ((before >> 32) + 1) << 32 | owner;
}
static inline uint64_t key_holder_owner(uint64_t word) {
    return word & UINT32_MAX;
}

/* ---- the topic file's lock bytes (open file description locks; the file itself is never mapped) --------------- */

#define TOPIC_LOCK_MASTER 0        /* creating, replacing and deleting the file */
#define TOPIC_LOCK_PUBLISHERS 4096 /* + slot */
#define TOPIC_LOCK_SUBSCRIBERS 65536
#define TOPIC_LOCK_END (TOPIC_LOCK_SUBSCRIBERS + (int64_t)SUBSCRIBERS_MAX)
#define TOPIC_LOCK_REPAIR (INT64_C(1) << 32) /* + a slot's byte: the right to repair it while a stray child locks it */

/* ---- what must not drift -------------------------------------------------------------------------------------- */

_Static_assert(sizeof(struct roster_segment) == 64, "layout");
_Static_assert(sizeof(struct roster_segment) + ROSTER_FIRST_BLOCKS * 8 <= ROSTER_HEADER_OFFSET, "layout");
_Static_assert(ROSTER_HEADER_OFFSET + sizeof(struct roster_header) <= 2 * BLOCK_BYTES, "layout");
_Static_assert(sizeof(struct publisher_slot) <= BLOCK_BYTES / PUBLISHERS_PER_BLOCK, "layout");
_Static_assert(sizeof(struct subscriber_slot) <= BLOCK_BYTES / SUBSCRIBERS_PER_BLOCK, "layout");
_Static_assert(sizeof(struct reader_row) <= BLOCK_BYTES, "layout");
_Static_assert(sizeof(struct cell_list) <= BLOCK_BYTES, "layout");
_Static_assert(sizeof(struct queue_words) == CACHE_LINE_BYTES, "layout");
_Static_assert(sizeof(struct queue_cell) == 16 && sizeof(struct queue_list) <= BLOCK_BYTES, "layout");

_Static_assert(sizeof(struct board_key) == 2 * CACHE_LINE_BYTES, "layout");
_Static_assert(sizeof(struct board_key) * KEYS_PER_BLOCK == BLOCK_BYTES, "layout");
_Static_assert(sizeof(struct key_directory) <= BLOCK_BYTES, "layout");
_Static_assert(sizeof(struct segment_ref) == 24, "layout");
_Static_assert(sizeof(struct segment_header) <= BLOCK_BYTES, "layout");
_Static_assert(sizeof(struct extent_entry) == CACHE_LINE_BYTES, "layout");
_Static_assert(sizeof(struct event_counter) == 16, "layout");
_Static_assert(sizeof(struct event_directory) <= BLOCK_BYTES, "layout");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && sizeof(_Atomic uint32_t) == 4, "lock-free words");
_Static_assert(TOPIC_LOCK_PUBLISHERS + PUBLISHERS_MAX <= TOPIC_LOCK_SUBSCRIBERS, "layout");

#endif
