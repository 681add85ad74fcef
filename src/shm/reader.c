/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See reader.h and log.h. */
#include "shm/reader.h"

#include <errno.h>

#include "base/process.h"

_Static_assert(offsetof(tarn_message, lost) == offsetof(tarn_message, publisher) + offsetof(struct origin, lost) &&
                   offsetof(tarn_message, sent_ns) ==
                       offsetof(tarn_message, publisher) + offsetof(struct origin, sent_ns) &&
                   offsetof(tarn_message, held_by) ==
                       offsetof(tarn_message, publisher) + offsetof(struct origin, held_by),
               "a message has them in the same order");

#define STEPS_MAX 65536u     /* records that are no message, looked at in one step: one for each open loan is honest */
#define RESTARTS_MAX 16u     /* extents that were retired under our hands while we chose one */
#define WALK_EXTENTS_MAX 16u /* entered on the way to a place that is in the first of them, or just behind */

static _Atomic uint64_t no_record; /* always 0: where readers are that are nowhere */
struct log_reader log_reader_nowhere = {.at = (char *)&no_record, .limit = (char *)&no_record};

static void go_nowhere(struct log_reader *reader) {
    reader->position = NULL;
    reader->at = reader->limit = (char *)&no_record;
    log_reader_bound_usual(reader);
}

void log_reader_count(struct log_reader *reader) {
    uint64_t taken = reader->sequence - reader->counted;
    if (reader->position)
        reader->position->taken += (int64_t)taken;
    reader->taken_in_all += taken;
    reader->counted = reader->sequence;
}

/* The next message is that one, though those before it were not taken. */
static void go_on_with(struct log_reader *reader, uint64_t sequence) {
    log_reader_count(reader);
    reader->sequence = reader->counted = sequence;
    log_reader_bound_usual(reader);
}

void log_reader_init(struct log_reader *reader, struct holds *holds, struct remote *remote, struct reader_row *row,
                     uint32_t column, bool reliable) {
    *reader = (struct log_reader){
        .usual_word = record_word(RECORD_MESSAGE, 8, 0, 0), /* until there was one */
        .usual_size = RECORD_HEADER_BYTES + 8,
        .usual_bytes = 8,
        .until = UINT64_MAX,
        .identity = remote->number,
        .cursor = reliable ? &row->cursor[column] : NULL,
        .stamp = stamped(remote->incarnation, 0),
        .column = column,
        .row = row,
        .holder = {remote->publisher, holds},
        .word = GENERATION_GONE,
        .holds = holds,
        .remote = remote,
    };
    go_nowhere(reader);
}

/* ---- entering extents ----------------------------------------------------------------------------------------- */

enum entry_result {
    ENTERED,
    TOO_LATE,     /* retired */
    NOT_ATTACHED, /* and must not be attached here */
    NOT_THERE,    /* its segment has gone with its publisher, or never was */
    FAILED,       /* no memory to attach or hold it */
    BAD,
};

static bool may_not_attach(const struct log_reader *reader) {
    return !reader->may_attach && !reader->starting;
}

static enum entry_result attach_missing(struct log_reader *reader, extent_ref ref) {
    if (remote_has_segment_of(reader->remote, ref))
        return ENTERED;
    if (may_not_attach(reader))
        return log_reader_is_over(reader) ? NOT_THERE : NOT_ATTACHED;
    if (!reader->starting) /* opening holds it already */
        process_lock();
    reader->attach_error = remote_attach_all(reader->remote);
    if (!reader->starting)
        process_unlock();
    log_reader_tell_attached(reader);
    if (remote_has_segment_of(reader->remote, ref))
        return ENTERED;
    return reader->attach_error && reader->attach_error != -EINVAL ? FAILED : NOT_THERE;
}

/* What may still be read, said before it is read: a word may lag, never lead. */
static void lower_word(struct log_reader *reader, uint64_t generation) {
    if (generation >= reader->word || reader->gone)
        return;
    reader->word = generation;
    store_release(&reader->row->oldest[reader->column], generation);
    POINT(word_lowered);
    /* ordered before the look at the extent's generation by the fence in hold_begin: H1 */
}

static void raise_word(struct log_reader *reader) {
    uint64_t oldest = reader->position && holds_positions_only(reader->holds)
                          ? reader->position->generation
                          : holds_oldest(reader->holds, &reader->holder);
    if (oldest == reader->word || reader->gone)
        return;
    reader->word = oldest;
    POINT(word_not_raised);
    store_release(&reader->row->oldest[reader->column], oldest); /* R2 */
}

struct entered {
    struct hold *hold;
    char *base;
    uint64_t bytes, first_sequence;
};

/* Whether an extent that is named in a cell still has that generation, and what its entry says. */
static inline enum entry_result validate(struct extent_entry *entry, const struct remote_segment *segment,
                                         uint64_t generation, bool is_position, struct entered *ret) {
    if (load_acquire(&entry->generation) != generation) /* H1, L2 */
        return TOO_LATE;
    uint64_t offset = load_relaxed(&entry->offset), bytes = load_relaxed(&entry->bytes);
    uint64_t first_sequence = load_relaxed(&entry->first_sequence);
    if (is_position && first_sequence == NO_FIRST_SEQUENCE) /* retired, and entered again for a loan */
        return TOO_LATE;
    if (offset % EXTENT_GRAIN || offset < segment->data_offset || offset > segment->bytes ||
        bytes > segment->bytes - offset || bytes < EXTENT_GRAIN || first_sequence > COUNT_MASK)
        return BAD;
    *ret = (struct entered){NULL, load_relaxed(&segment->base) + offset, bytes, first_sequence};
    return ENTERED;
}

/* Holds an extent if it still has that generation. */
static enum entry_result enter(struct log_reader *reader, extent_ref ref, uint64_t generation, bool is_position,
                               struct entered *ret) {
    enum entry_result attached = attach_missing(reader, ref);
    if (attached != ENTERED)
        return attached;
    struct remote_segment *segment;
    struct extent_entry *entry = remote_entry(reader->remote, ref, &segment);
    if (!entry || stamp_of(generation) != reader->remote->incarnation)
        return BAD;
    lower_word(reader, generation);
    uint64_t cell = hold_cell(reader->remote->slot, reader->remote->incarnation, ref);
    struct hold *hold = hold_begin(reader->holds, &reader->holder, cell, generation, is_position);
    if (!hold) {
        reader->attach_error = reader->holds->error;
        return FAILED;
    }
    enum entry_result result = validate(entry, segment, generation, is_position, ret);
    if (result != ENTERED)
        hold_cancel(hold);
    ret->hold = hold;
    return result;
}

static void drop_position(struct log_reader *reader) {
    log_reader_count(reader);
    if (reader->position)
        hold_leave(reader->position);
    go_nowhere(reader);
}

static void set_position(struct log_reader *reader, const struct entered *entered, extent_ref ref,
                         uint64_t generation) {
    reader->position = entered->hold;
    reader->at = entered->base;
    reader->limit = entered->base + entered->bytes - RECORD_JUMP_BYTES;
    log_reader_bound_usual(reader);
    reader->ref = ref;
    reader->generation = generation;
    raise_word(reader);
}

static void move_to(struct log_reader *reader, const struct entered *entered, extent_ref ref, uint64_t generation) {
    drop_position(reader);
    set_position(reader, entered, ref, generation);
}

void log_reader_tell_attached(struct log_reader *reader) {
    uint32_t word = (uint32_t)reader->remote->incarnation << 16 | load_acquire(&reader->remote->attached);
    if (reader->gone || load_relaxed(&reader->row->attached[reader->column]) == word)
        return;
    store_release(&reader->row->attached[reader->column], word);
    space_ring(reader->holder.publisher); /* S1 */
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

/* What a reader finds where it cannot go on. */
static enum reader_look look_of(enum entry_result result) {
    switch (result) {
    case NOT_ATTACHED:
        return READER_UNATTACHED;
    case NOT_THERE: /* the end, if the publisher is gone; else it will be in a moment */
        return READER_EMPTY;
    case FAILED:
        return READER_NO_MEMORY;
    default:
        return READER_DAMAGED;
    }
}

/*
 * The entries of what is attached, one after the other. ref: the last one's, EXTENT_NONE before the first. NULL: no
 * more.
 */
static struct extent_entry *next_entry(struct log_reader *reader, extent_ref *ref) {
    uint32_t attached = load_acquire(&reader->remote->attached);
    uint32_t number = *ref == EXTENT_NONE ? 0 : extent_ref_segment(*ref);
    uint32_t index = *ref == EXTENT_NONE ? 0 : extent_ref_index(*ref) + 1;
    for (; number < attached && number < SEGMENTS_MAX; number++, index = 0) {
        struct remote_segment *segment;
        struct extent_entry *entry = remote_entry(reader->remote, extent_ref_make(number, index), &segment);
        if (!entry)
            continue;
        *ref = extent_ref_make(number, index);
        return entry;
    }
    return NULL;
}

/*
 * Of a log that nobody writes any more: the next extent behind ours of those that are attached. EXTENT_NONE: there is
 * none.
 */
static extent_ref extent_behind(struct log_reader *reader) {
    extent_ref next = EXTENT_NONE, ref = EXTENT_NONE;
    uint64_t least = UINT64_MAX;
    for (struct extent_entry *entry; (entry = next_entry(reader, &ref));) {
        uint64_t generation = load_acquire(&entry->generation); /* L2 */
        uint64_t first = load_relaxed(&entry->first_sequence);
        if (generation <= reader->generation || generation >= least || first == NO_FIRST_SEQUENCE ||
            first < reader->sequence)
            continue;
        next = ref;
        least = generation;
    }
    return next;
}

/*
 * Enters the oldest valid extent younger than our last one; or, behind, the one behind ours, whether the log is kept
 * from there on or from before us. READER_EMPTY: there is none.
 */
static enum reader_look restart_at(struct log_reader *reader, bool behind) {
    struct segment_header *header = remote_header(reader->remote);
    for (uint32_t i = 0; i < RESTARTS_MAX; i++) {
        extent_ref ref = behind ? extent_behind(reader) : load_acquire(&header->oldest);
        if (ref == EXTENT_NONE)
            return READER_EMPTY;
        enum entry_result attached = attach_missing(reader, ref);
        if (attached != ENTERED)
            return look_of(attached);
        struct remote_segment *segment;
        struct extent_entry *entry = remote_entry(reader->remote, ref, &segment);
        uint64_t generation = entry ? load_acquire(&entry->generation) : 0;
        if (!entry)
            return READER_DAMAGED;
        if (generation == 0)
            continue; /* retired meanwhile: oldest has changed */
        if (generation <= reader->generation)
            return READER_EMPTY;
        struct entered entered;
        switch (enter(reader, ref, generation, true, &entered)) {
        case ENTERED:
            /* retired and taken for something else between our two looks */
            if (!behind && load_acquire(&header->oldest) != ref) {
                hold_cancel(entered.hold);
                break;
            }
            if (entered.first_sequence < reader->sequence) {
                hold_cancel(entered.hold);
                return READER_DAMAGED;
            }
            if (!reader->adrift)
                reader->lost += entered.first_sequence - reader->sequence;
            reader->adrift = false;
            go_on_with(reader, entered.first_sequence);
            move_to(reader, &entered, ref, generation);
            log_reader_tell(reader);
            return READER_PENDING;
        case TOO_LATE:
            break;
        case FAILED:
            return READER_NO_MEMORY; /* no cell to hold it by */
        case NOT_ATTACHED:
        case NOT_THERE:
        case BAD:
            return READER_DAMAGED; /* it was attached, and named by the publisher itself */
        }
    }
    return READER_PENDING;
}

static enum reader_look restart(struct log_reader *reader) {
    return restart_at(reader, false);
}

void log_reader_start_first(struct log_reader *reader) {
    go_on_with(reader, 1);
    reader->lost = 0;
}

/*
 * Enters an extent, to count from its first sequence. named_by: the publisher's word that named it, which must still do
 * so afterwards, or the extent may have been retired and taken for something else meanwhile; NULL: that generation is
 * meant.
 */
static bool start_at(struct log_reader *reader, extent_ref ref, uint64_t generation, _Atomic uint32_t *named_by) {
    struct remote_segment *segment;
    if (attach_missing(reader, ref) != ENTERED)
        return false;
    struct extent_entry *entry = remote_entry(reader->remote, ref, &segment);
    if (named_by)
        generation = entry ? load_acquire(&entry->generation) : 0;
    struct entered entered;
    if (generation == 0 || enter(reader, ref, generation, true, &entered) != ENTERED)
        return false;
    if (named_by && load_acquire(named_by) != ref) {
        hold_cancel(entered.hold);
        return false;
    }
    move_to(reader, &entered, ref, generation);
    go_on_with(reader, entered.first_sequence);
    return true;
}

static bool skip_message(struct log_reader *reader);

/* Walks over messages up to that sequence, or to the end. False: overrun or damaged on the way, or it is too far. */
static bool walk_to(struct log_reader *reader, uint64_t sequence) {
    uint64_t generation = reader->generation;
    for (uint32_t extents = 0; reader->sequence < sequence;) {
        const char *at = reader->at;
        enum reader_look look = log_reader_look(reader);
        if (look == READER_EMPTY)
            break;
        if (look == READER_DAMAGED || look == READER_NO_MEMORY || !reader->position)
            return false;
        if (look == READER_PENDING && reader->generation == generation && reader->at == at)
            return false; /* overrun, and a publisher may say for ever that it goes on where it has retired */
        if (reader->generation != generation && ++extents > WALK_EXTENTS_MAX)
            return false; /* a publisher may put off its end for ever */
        generation = reader->generation;
        if (look == READER_MESSAGE && reader->sequence < sequence && !skip_message(reader))
            return false;
    }
    return true;
}

/* The valid log extent with the highest first sequence not above that; EXTENT_NONE if there is none. */
static extent_ref extent_before(struct log_reader *reader, uint64_t sequence, uint64_t below_generation,
                                uint64_t *ret_generation) {
    extent_ref best = EXTENT_NONE, ref = EXTENT_NONE;
    uint64_t best_sequence = 0, best_generation = 0;
    for (struct extent_entry *entry; (entry = next_entry(reader, &ref));) {
        uint64_t generation = load_acquire(&entry->generation); /* L2 */
        uint64_t first = load_relaxed(&entry->first_sequence);
        /* several extents may start with the same sequence: the last of them has the messages */
        if (generation == 0 || generation > below_generation || first > sequence || first < best_sequence ||
            (first == best_sequence && generation < best_generation))
            continue;
        best = ref;
        best_sequence = first;
        best_generation = generation;
    }
    *ret_generation = best_generation;
    return best;
}

/*
 * Of a log that nobody writes any more, and that ends in memory that nobody had attached: to the end of what there is.
 * An extent without a message may be one that the log never came to.
 */
static bool start_at_remains(struct log_reader *reader) {
    uint64_t below = UINT64_MAX;
    for (uint32_t i = 0; i < RESTARTS_MAX; i++) {
        uint64_t generation;
        extent_ref ref = extent_before(reader, NO_FIRST_SEQUENCE - 1, below, &generation);
        if (ref == EXTENT_NONE)
            return reader->position;
        if (!start_at(reader, ref, generation, NULL))
            return false;
        uint64_t first = reader->sequence;
        if (!walk_to(reader, COUNT_MASK) || reader->sequence > first)
            return !reader->damaged && reader->position;
        below = generation - 1;
    }
    return false;
}

static bool start_at_end(struct log_reader *reader) {
    struct segment_header *header = remote_header(reader->remote);
    /*
     * what comes later was sent after we joined: no chase. Of who was killed it may be one too few, and nothing comes
     */
    uint64_t end = reader->left ? COUNT_MASK : load_acquire(&header->sent) + 1;
    extent_ref newest = load_acquire(&header->newest);
    if (reader->left && attach_missing(reader, newest) == NOT_THERE)
        return start_at_remains(reader);
    return start_at(reader, newest, 0, &header->newest) && walk_to(reader, end);
}

static bool start_newest(struct log_reader *reader, uint64_t history) {
    struct segment_header *header = remote_header(reader->remote);
    for (uint32_t i = 0; i < RESTARTS_MAX; i++) {
        bool there = start_at_end(reader);
        if (reader->damaged)
            return false;
        if (!there)
            continue;
        if (history == 0)
            return true;
        uint64_t wanted = reader->sequence > history ? reader->sequence - history : 1;
        uint64_t generation;
        extent_ref ref = extent_before(reader, wanted, reader->generation, &generation);
        bool kept = ref != EXTENT_NONE; /* else not kept that long: all there is */
        if (!kept)
            ref = load_acquire(&header->oldest);
        there = start_at(reader, ref, generation, kept ? NULL : &header->oldest) && walk_to(reader, wanted);
        if (there || reader->damaged)
            return there;
    }
    drop_position(reader);
    reader->generation = 0;
    go_on_with(reader, 1);
    reader->adrift = true;
    restart(reader); /* EMPTY or worse: the first look tries again */
    return false;
}

bool log_reader_start_newest(struct log_reader *reader, uint64_t history) {
    _Atomic uint64_t *cursor = reader->cursor;
    reader->starting = true;
    reader->cursor = NULL; /* not told yet: a reliable joiner keeps everything until it knows where it starts */
    bool found = start_newest(reader, history);
    reader->cursor = cursor;
    reader->starting = false;
    reader->lost = 0;
    return found;
}

/* ---- records -------------------------------------------------------------------------------------------------- */

struct record {
    enum record_kind kind;
    uint64_t bytes; /* payload */
    char *next;     /* where the next record is */
};

/* Takes a header word apart; false if it does not describe a record that lies in the extent, and a jump behind it. */
static bool parse(const struct log_reader *reader, uint64_t word, struct record *ret) {
    ret->kind = word >> RECORD_KIND_SHIFT;
    ret->bytes = word & RECORD_SIZE_MASK;
    uint64_t body = 0;
    if (ret->kind == RECORD_MESSAGE || ret->kind == RECORD_HOLE)
        body = ret->bytes + (word & RECORD_TIMED ? 8 : 0);
    else if (ret->kind == RECORD_REFERENCE)
        body = sizeof(struct record_reference);
    uint64_t size = RECORD_HEADER_BYTES + round_up(body, 8) + record_pad_bytes(word);
    ret->next = reader->at + size;
    return size <= (uint64_t)(reader->limit - reader->at) || ret->kind == RECORD_JUMP;
}

static bool is_message(const struct record *record) {
    return record->kind == RECORD_MESSAGE || record->kind == RECORD_REFERENCE;
}

struct jump {
    extent_ref ref;
    uint64_t generation, first_line;
};

/*
 * The usual way along a jump: the next extent's segment is attached, and no message of this one is out. The position's
 * cell changes over, so an overrun reader holds nothing for a moment, where the long way would still hold what it read
 * last.
 */
static bool change_over(struct log_reader *reader, const struct jump *jump, enum reader_look *ret) {
    struct remote_segment *segment;
    struct extent_entry *entry = remote_entry(reader->remote, jump->ref, &segment);
    uint64_t cell = hold_cell(reader->remote->slot, reader->remote->incarnation, jump->ref);
    if (!entry || stamp_of(jump->generation) != reader->remote->incarnation)
        return false;
    log_reader_count(reader);
    if (!hold_move(reader->position, cell, jump->generation))
        return false;
    if (reader->cursor) /* S1: the last extent was let go; what it waits for tells whether that is enough */
        space_ring_at(reader->holder.publisher, reader->sequence);
    else
        space_ring(reader->holder.publisher);
    struct entered entered;
    enum entry_result result = validate(entry, segment, jump->generation, true, &entered);
    if (result != ENTERED) {
        drop_position(reader);
        *ret = result == TOO_LATE ? restart(reader) : READER_DAMAGED;
        return true;
    }
    if (entered.first_sequence != reader->sequence) {
        *ret = READER_DAMAGED;
        return true;
    }
    entered.hold = reader->position;
    reader->foreseen[reader->ref % FORESEEN] = (struct foreseen){entry, entered.base};
    set_position(reader, &entered, jump->ref, jump->generation);
    *ret = READER_PENDING;
    return true;
}

static enum reader_look follow_jump(struct log_reader *reader) {
    struct record_jump *record = (struct record_jump *)(void *)(reader->at + RECORD_HEADER_BYTES);
    struct jump jump = {load_relaxed(&record->extent), load_relaxed(&record->generation),
                        load_relaxed(&record->first_line)}; /* relaxed: the record's word was acquired, L1 */
    if (jump.generation <= reader->generation)
        return READER_DAMAGED;
    struct remote_segment *segment;
    struct extent_entry *entry = remote_entry(reader->remote, jump.ref, &segment);
    if (entry && jump.first_line < segment->bytes) {
        __builtin_prefetch(entry); /* looked at behind the fence, which takes as long as its line */
        __builtin_prefetch(load_relaxed(&segment->base) + jump.first_line);
    }
    enum reader_look look;
    if (change_over(reader, &jump, &look))
        return look;
    struct entered entered;
    enum entry_result result = enter(reader, jump.ref, jump.generation, true, &entered);
    switch (result) {
    case ENTERED:
        if (entered.first_sequence != reader->sequence) {
            hold_cancel(entered.hold);
            return READER_DAMAGED;
        }
        move_to(reader, &entered, jump.ref, jump.generation);
        return READER_PENDING;
    case TOO_LATE: /* overrun: our extent has nothing more */
        return restart(reader);
    case NOT_THERE: /* its segment has gone with its publisher: what was sent behind it may lie in another */
        return restart_at(reader, log_reader_is_over(reader));
    case NOT_ATTACHED:
    case FAILED:
    case BAD:
        return look_of(result);
    }
    return READER_DAMAGED;
}

/* Nothing more is read of a log that is damaged. */
static enum reader_look checked(struct log_reader *reader, enum reader_look look) {
    if (unlikely(look == READER_DAMAGED)) {
        log_reader_stop(reader);
        reader->damaged = true;
    }
    return look;
}

enum reader_look log_reader_follow(struct log_reader *reader) {
    if (load_acquire(word_at(reader->at, 0)) >> RECORD_KIND_SHIFT != RECORD_JUMP) /* L1 */
        return READER_EMPTY;
    return checked(reader, follow_jump(reader));
}

/* What a reference stands for lies in memory that must not be attached here. */
static bool is_out_of_reach(const struct log_reader *reader, const struct record *record) {
    if (record->kind != RECORD_REFERENCE || !may_not_attach(reader) || log_reader_is_over(reader))
        return false;
    struct record_reference *reference = (struct record_reference *)(void *)(reader->at + RECORD_HEADER_BYTES);
    return !remote_has_segment_of(reader->remote, load_relaxed(&reference->extent)); /* relaxed: L1, as for jumps */
}

enum reader_look log_reader_look(struct log_reader *reader) {
    if (reader->damaged || reader->finished)
        return READER_EMPTY;
    enum reader_look look = READER_PENDING;
    for (uint32_t i = 0; i < STEPS_MAX && look == READER_PENDING; i++) {
        if (__builtin_expect(!reader->position, 0)) {
            look = restart(reader);
            if (look == READER_PENDING && !reader->position)
                break;
            continue;
        }
        uint64_t word = load_acquire(word_at(reader->at, 0)); /* L1 */
        if (word == 0)
            return READER_EMPTY;
        struct record record;
        if (!parse(reader, word, &record)) {
            look = READER_DAMAGED;
        } else if (is_message(&record)) {
            return is_out_of_reach(reader, &record) ? READER_UNATTACHED : READER_MESSAGE;
        } else if (record.kind == RECORD_HOLE) {
            reader->at = record.next;
        } else if (record.kind == RECORD_DROPPED && reader->sequence + record.bytes <= COUNT_MASK) {
            reader->lost += record.bytes;
            go_on_with(reader, reader->sequence + record.bytes);
            reader->at = record.next;
            log_reader_tell(reader);
        } else if (record.kind == RECORD_JUMP) {
            uint64_t generation = reader->generation;
            look = follow_jump(reader);
            if (look == READER_PENDING && reader->generation == generation)
                break; /* overrun, and where to go on was retired each time that we got there */
        } else
            look = READER_DAMAGED;
    }
    return checked(reader, look);
}

static bool skip_message(struct log_reader *reader) {
    struct record record;
    uint64_t word = load_acquire(word_at(reader->at, 0));
    if (!parse(reader, word, &record) || !is_message(&record))
        return false;
    reader->at = record.next;
    go_on_with(reader, reader->sequence + 1);
    return true;
}

/* Holds the extent in which a reference's payload lies. ret_payload, ret_sent_ns: what the reference says. */
static enum entry_result hold_referred(struct log_reader *reader, const struct record *record, struct hold **ret,
                                       const char **ret_payload, int64_t *ret_sent_ns) {
    struct record_reference *reference = (struct record_reference *)(void *)(reader->at + RECORD_HEADER_BYTES);
    uint64_t generation = load_relaxed(&reference->generation); /* relaxed: L1, as for jumps */
    uint64_t offset = load_relaxed(&reference->offset);
    struct entered entered;
    enum entry_result result = enter(reader, load_relaxed(&reference->extent), generation, false, &entered);
    if (result != ENTERED)
        return result;
    if (offset % 8 || offset > entered.bytes || record->bytes > entered.bytes - offset) {
        hold_cancel(entered.hold);
        return BAD;
    }
    *ret_payload = entered.base + offset;
    *ret_sent_ns = (int64_t)load_relaxed(&reference->sent_ns);
    *ret = entered.hold;
    return ENTERED;
}

static enum reader_take take_referred(struct log_reader *reader, const struct record *record, tarn_message *ret) {
    struct hold *hold;
    const char *payload;
    int64_t sent_ns;
    enum entry_result result = hold_referred(reader, record, &hold, &payload, &sent_ns);
    if (result == ENTERED) {
        log_reader_count(reader);
        ret->data = payload;
        ret->bytes = record->bytes;
        ret->sequence = reader->sequence;
        log_reader_fill_in(reader, ret);
        log_reader_pass(reader, record->next, reader->sequence + 1);
        ret->sent_ns = sent_ns;
        ret->held_by = hold;
        log_reader_lost_told(reader);
        reader->taken_in_all++; /* but not at the position */
        reader->counted++;
        return READER_TAKEN;
    }
    if (result == FAILED || result == NOT_ATTACHED)
        return result == FAILED ? READER_FAILED : READER_LATER;
    reader->lost++; /* retired before we came, gone, or nonsense */
    reader->at = record->next;
    go_on_with(reader, reader->sequence + 1);
    log_reader_tell(reader);
    return READER_LOST;
}

enum reader_take log_reader_take(struct log_reader *reader, tarn_message *ret) {
    if (log_reader_take_plain(reader, ret))
        return READER_TAKEN;
    struct record record;
    uint64_t word = load_acquire(word_at(reader->at, 0)); /* L1 */
    if (word == 0 || !parse(reader, word, &record) || record.kind != RECORD_REFERENCE)
        return READER_LATER;
    return take_referred(reader, &record, ret);
}

uint64_t log_reader_unread(const struct log_reader *reader) {
    if (reader->damaged || reader->adrift)
        return reader->lost; /* what it says is not to be believed, or was before us */
    uint64_t sent = load_acquire(&remote_header(reader->remote)->sent) & COUNT_MASK;
    return reader->lost + (sent >= reader->sequence ? sent + 1 - reader->sequence : 0);
}

void log_reader_part(struct log_reader *reader) {
    reader->gone = true;
    reader->cursor = NULL;
}

void log_reader_stop(struct log_reader *reader) {
    drop_position(reader);
    raise_word(reader);
}
