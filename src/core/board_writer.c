/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Writers of a blackboard: taking keys, setting them, leaving. The protocol is in shm/board.h, the memory in
 * shm/arena.h.
 *
 * A writer is a publisher slot. Each of its values pins the extent that it lies in. The pin of a value that was
 * replaced goes at once; that of one whose key another has taken over since, when memory is short and the writer looks.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/status.h"
#include "core/board.h"
#include "core/handle.h"
#include "core/reaper.h"
#include "core/remains.h"
#include "core/type.h"
#include "shm/arena.h"
#include "shm/bell.h"
#include "shm/log.h"
#include "shm/source.h"

#define PACKED_AT_ONCE 16u

/* A key that this writer has set, or taken. */
struct written {
    struct board_key *key; /* NULL: neither */
    struct extent *extent; /* where its value lies, pinned; NULL: no value of ours */
    uint64_t place, bytes;
    uint64_t version;      /* of the key's latest value */
    uint64_t holder;       /* what the key's word says while we hold it; 0: we do not */
    struct remote *remote; /* the last writer's memory, kept until we set the key; or NULL */
};

/* Kept until the writer closes, so that one that was sent or dropped can be told from one that is open. */
struct open_loan {
    struct place place;
    uint64_t ticket; /* 0: not open */
    int key;
    struct open_loan *next_free;
    struct open_loan *next; /* of all ever made */
};

struct tarn_writer {
    struct handle handle;
    _Atomic uint32_t *bell;
    uint64_t bytes_max;   /* what type and limit allow; at first what the least limit does */
    struct written *keys; /* by number */
    uint32_t key_count;
    uint64_t owner; /* key_owner() of this writer */
    struct arena arena;
    uint64_t type_bytes;
    uint64_t identity;
    uint64_t tickets;
    int64_t buried_ns;
    struct topic *topic;
    struct publisher_slot *slot;
    uint32_t slot_number;
    uint16_t incarnation;
    struct readers readers;
    struct open_loan *loans, *free_loans;
};

static struct closed_handles closed_writers;

static int check(const struct tarn_writer *writer) {
    return handle_check((const struct handle *)writer, HANDLE_WRITER);
}

static struct roster_taker taker_of(struct tarn_writer *writer) {
    return (struct roster_taker){true, writer->slot_number, writer->incarnation, &writer->slot->pending_key};
}

/* After a change. B1: where the process is registered, the sleeper's barrier stands in for our fence. */
SHORT_HALF void wake(struct tarn_writer *writer) {
    light_fence();
    POINT(board_bell_not_looked_at);
    if (unlikely(load_relaxed(writer->bell) & 1))
        topic_wake(writer->topic);
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

/* No memory is added for what a reader holds without asking the kernel whether he is alive. */
static void bury_dead(struct tarn_writer *writer) {
    reap_blocking(writer->topic, &writer->readers, &writer->arena.extents, &writer->buried_ns);
}

/* Values whose key was given up, and has got a value from another since, are over. */
static void forget_taken_over(struct tarn_writer *writer) {
    for (uint32_t i = 0; i < writer->key_count; i++) {
        struct written *written = &writer->keys[i];
        if (written->holder || !written->extent || board_is_of(written->key, writer->owner))
            continue;
        /* acquire (K1), then a fence before the cells are looked at (H1): P1, for a word that another wrote */
        arena_unpin(written->extent);
        written->extent = NULL;
    }
}

static int say_no_space(struct tarn_writer *writer, int error) {
    uint32_t values = 0, loans = 0;
    for (uint32_t i = 0; i < writer->key_count; i++)
        values += writer->keys[i].extent != NULL;
    for (struct open_loan *loan = writer->loans; loan; loan = loan->next)
        loans += loan->ticket != 0;
    if (error == -EAGAIN)
        return fail(TARN_ERROR_FULL,
                    "topic \"%s\": no space: the memory limit of %" PRIu64 " KiB is used up by this writer's %" PRIu32
                    " value%s and %" PRIu32 " open loan%s (readers hold theirs beyond it); raise the limit",
                    writer->topic->name, extents_limit(&writer->arena.extents) / 1024, values, values == 1 ? "" : "s",
                    loans, loans == 1 ? "" : "s");
    return fail_memory(-error, "topic \"%s\": cannot add memory for values", writer->topic->name);
}

/* ---- packing -------------------------------------------------------------------------------------------------- */

static uint64_t room_of(const struct tarn_writer *writer, uint64_t bytes) {
    uint64_t grain = writer->arena.alignment > CACHE_LINE_BYTES ? writer->arena.alignment : CACHE_LINE_BYTES;
    return round_up(sizeof(struct placed) + bytes, grain);
}

/* How many small extents our values would need, twice over, and some for what is being set. */
static uint64_t extents_allowed(const struct tarn_writer *writer) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < writer->key_count; i++) {
        const struct written *written = &writer->keys[i];
        if (written->extent && written->extent->bytes == EXTENT_BYTES_MIN)
            bytes += room_of(writer, written->bytes);
    }
    return 3 + 2 * bytes / EXTENT_BYTES_MIN;
}

/* Whether all that keeps the extent are values of keys that we hold, and may move. */
static bool is_movable(const struct tarn_writer *writer, const struct extent *extent) {
    uint32_t values = 0;
    for (uint32_t i = 0; i < writer->key_count; i++)
        values += writer->keys[i].holder && writer->keys[i].extent == extent;
    return values == extent->pins;
}

/* The extent that is kept by the fewest values, if there are more than need be; or NULL. */
static struct extent *find_sparse(struct tarn_writer *writer) {
    struct extent *sparse = NULL;
    uint64_t count = 0;
    for (struct extent *extent = writer->arena.extents.detached.head; extent; extent = extent->next) {
        if (extent == writer->arena.head || extent->bytes != EXTENT_BYTES_MIN || extent->pins == 0)
            continue;
        count++;
        if ((!sparse || extent->pins < sparse->pins) && is_movable(writer, extent))
            sparse = extent;
    }
    return sparse && count > extents_allowed(writer) ? sparse : NULL;
}

/* Moves its values to where values are being written. False: no space. */
static bool empty_extent(struct tarn_writer *writer, struct extent *sparse) {
    for (uint32_t i = 0; i < writer->key_count; i++) {
        struct written *written = &writer->keys[i];
        struct place place;
        if (written->extent != sparse)
            continue;
        if (arena_reserve(&writer->arena, written->bytes, EFFORT_RECLAIM, &place) != 0)
            return false;
        memcpy(place.payload, sparse->base + place_offset(written->place), written->bytes);
        written->place = arena_finish(&place, written->bytes, written->version);
        written->extent = place.extent;
        board_publish(written->key, writer->owner, written->place, written->version);
        arena_unpin(sparse); /* behind the store: P1 */
    }
    return true;
}

/*
 * Small values that are set once in a while each keep an extent of 64 KiB from being used again, in which the values
 * around them were over long ago. So those of the sparsest are moved, as the same version: for readers it is as if they
 * had been set again.
 */
static void pack(struct tarn_writer *writer) {
    struct extent *sparse;
    for (uint32_t i = 0; i < PACKED_AT_ONCE && (sparse = find_sparse(writer)) && empty_extent(writer, sparse); i++)
        ;
}

/* ---- space ---------------------------------------------------------------------------------------------------- */

static void bound_bytes(struct tarn_writer *writer, uint64_t limit_bytes) {
    writer->bytes_max = writer->type_bytes < limit_bytes ? writer->type_bytes : limit_bytes;
}

LONG_HALF int reserve_slowly(struct tarn_writer *writer, uint64_t bytes, struct place *ret) {
    if (bytes > writer->bytes_max) {
        bound_bytes(writer, extents_limit(&writer->arena.extents));
        if (bytes > writer->bytes_max)
            return fail(TARN_ERROR_TOO_BIG,
                        "topic \"%s\": a value of %" PRIu64 " bytes is larger than %" PRIu64
                        ", which its payload type or the memory limit allows",
                        writer->topic->name, bytes, writer->bytes_max);
    }
    pack(writer);
    int error = arena_reserve(&writer->arena, bytes, EFFORT_RECLAIM, ret);
    if (writer->arena.extents.is_held_long)
        reap_holding(writer->topic, &writer->readers, &writer->arena.extents);
    if (error) {
        uint32_t segments = writer->arena.extents.segment_count;
        bury_dead(writer);
        forget_taken_over(writer);
        error = arena_reserve(&writer->arena, bytes, EFFORT_ALL, ret);
        if (writer->arena.extents.segment_count != segments)
            topic_ring(writer->topic); /* who has our values attaches it: what nobody has goes with us */
    }
    return error ? say_no_space(writer, error) : 0;
}

/* Finds a place, pinned. 0 or a status. */
SHORT_HALF int reserve(struct tarn_writer *writer, uint64_t bytes, struct place *ret) {
    if (likely(bytes <= writer->bytes_max) && likely(arena_reserve(&writer->arena, bytes, EFFORT_QUICK, ret) == 0))
        return 0;
    return reserve_slowly(writer, bytes, ret);
}

/* ---- setting -------------------------------------------------------------------------------------------------- */

LONG_HALF void drop_remote(struct tarn_writer *writer, struct written *written) {
    process_lock();
    topic_remote_drop(writer->topic, written->remote);
    written->remote = NULL;
    process_unlock();
}

/* What was written to the place becomes the key's value. */
SHORT_HALF void publish(struct tarn_writer *writer, struct written *written, struct place *place, uint64_t bytes,
                        uint64_t version) {
    struct extent *before = written->extent;
    written->place = arena_finish(place, bytes, version);
    written->extent = place->extent;
    written->bytes = bytes;
    written->version = version;
    board_publish(written->key, writer->owner, written->place, version);
    if (before)
        arena_unpin(before); /* behind the store: P1 */
    wake(writer);
    if (unlikely(written->remote))
        drop_remote(writer, written);
}

static int say_not_ours(const struct tarn_writer *writer, int key) {
    if (key < 0)
        return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": %d is no key's number", writer->topic->name, key);
    return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": key %d is not this writer's: take it by tarn_writer_key first",
                writer->topic->name, key);
}

/* The key, if this writer has it; else NULL. */
SHORT_HALF struct written *held_key(const struct tarn_writer *writer, int key) {
    return (uint32_t)key < writer->key_count && writer->keys[key].holder ? &writer->keys[key] : NULL;
}

int tarn_writer_set(tarn_writer *writer, int key, const void *data, size_t bytes) {
    int status = check(writer);
    if (unlikely(status))
        return status;
    struct written *written = held_key(writer, key);
    if (unlikely(!written))
        return say_not_ours(writer, key);
    if (unlikely(!data && bytes))
        return fail(TARN_ERROR_ARGUMENT, "data is NULL, but bytes is %zu", bytes);
    struct place place;
    status = reserve(writer, bytes, &place);
    if (unlikely(status))
        return status;
    if (bytes)
        memcpy(place.payload, data, bytes);
    publish(writer, written, &place, bytes, written->version + 1);
    return 1;
}

/* ---- loans ---------------------------------------------------------------------------------------------------- */

static struct open_loan *make_loan(struct tarn_writer *writer) {
    struct open_loan *loan = writer->free_loans;
    if (loan) {
        writer->free_loans = loan->next_free;
    } else if ((loan = malloc(sizeof(*loan)))) {
        loan->next = writer->loans;
        writer->loans = loan;
    }
    return loan;
}

int tarn_writer_loan(tarn_writer *writer, int key, size_t bytes, tarn_loan *ret) {
    int status = check(writer);
    if (status)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the loan is NULL");
    if (!held_key(writer, key))
        return say_not_ours(writer, key);
    struct place place;
    status = reserve(writer, bytes, &place);
    if (status)
        return status;
    struct open_loan *loan = make_loan(writer);
    if (!loan) {
        arena_unpin(place.extent);
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another loan", writer->topic->name);
    }
    loan->place = place;
    loan->ticket = writer->tickets += 2;
    loan->key = key;
    *ret = (tarn_loan){place.payload, bytes, writer, loan, loan->ticket, writer->identity};
    return 1;
}

/* The open loan that the user's struct stands for; NULL, with ret_status why. Its writer is one: see other_loan(). */
static struct open_loan *find_loan(const tarn_loan *loan, int *ret_status) {
    const struct tarn_writer *writer = loan->loaned_by;
    struct open_loan *open = loan->place;
    *ret_status = check(writer);
    if (*ret_status)
        return NULL;
    /* with another identity another writer is where the loan's was, and its loans have gone */
    if (loan->identity == writer->identity && open->ticket == loan->ticket)
        return open;
    *ret_status = fail(TARN_ERROR_RELEASED, "topic \"%s\": the loan was sent or dropped before", writer->topic->name);
    return NULL;
}

static void end_loan(struct tarn_writer *writer, struct open_loan *open, tarn_loan *loan) {
    open->ticket = 0;
    open->next_free = writer->free_loans;
    writer->free_loans = open;
    *loan = (tarn_loan){0};
}

static int send_loan(tarn_loan *loan) {
    int status;
    struct open_loan *open = find_loan(loan, &status);
    if (!open)
        return status;
    struct tarn_writer *writer = loan->loaned_by;
    if (loan->bytes > open->place.bytes)
        return fail(TARN_ERROR_ARGUMENT, "topic \"%s\": the loan was of %" PRIu64 " bytes, and cannot be sent with %zu",
                    writer->topic->name, open->place.bytes, loan->bytes);
    struct written *written = held_key(writer, open->key);
    if (!written)
        return fail(TARN_ERROR_TAKEN, "topic \"%s\": key %d was given up while the loan was open: drop it",
                    writer->topic->name, open->key);
    publish(writer, written, &open->place, loan->bytes, written->version + 1);
    end_loan(writer, open, loan);
    return 1;
}

static int drop_loan(tarn_loan *loan) {
    int status;
    struct open_loan *open = find_loan(loan, &status);
    if (!open)
        return status;
    arena_unpin(open->place.extent);
    end_loan(loan->loaned_by, open, loan);
    return 0;
}

static const struct loan_calls loan_calls = {send_loan, drop_loan};

/* ---- keys ----------------------------------------------------------------------------------------------------- */

static bool grow_keys(struct tarn_writer *writer, uint32_t count) {
    uint32_t wanted = writer->key_count ? writer->key_count : 16;
    if (count <= writer->key_count)
        return true;
    while (wanted < count)
        wanted *= 2;
    struct written *keys = realloc(writer->keys, wanted * sizeof(*keys));
    if (!keys)
        return false;
    memset(keys + writer->key_count, 0, (wanted - writer->key_count) * sizeof(*keys));
    writer->keys = keys;
    writer->key_count = wanted;
    return true;
}

/* Whether whom the word names will never set the key again. */
static bool holder_is_over(struct topic *topic, uint64_t holder) {
    uint64_t owner = key_holder_owner(holder);
    uint32_t slot = key_owner_slot(owner);
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    if (!owner || slot >= PUBLISHERS_MAX)
        return true; /* nobody, or nonsense */
    if (!publisher)
        return !roster_is_unreachable(
            &topic->roster, load_acquire(&topic->roster.header->publisher_blocks[slot / PUBLISHERS_PER_BLOCK]));
    return incarnation_of(&publisher->incarnation) != key_owner_incarnation(owner) ||
           slot_is_dead(topic, PUBLISHER, slot, true) ||
           incarnation_of(&publisher->incarnation) != key_owner_incarnation(owner);
}

static int say_taken(struct tarn_writer *writer, const char *name, uint64_t holder) {
    struct publisher_slot *publisher =
        roster_publisher(&writer->topic->roster, key_owner_slot(key_holder_owner(holder)));
    if (!publisher)
        return fail(TARN_ERROR_TAKEN, "topic \"%s\": key \"%s\" is another writer's", writer->topic->name, name);
    struct identity who = publisher->who;
    return fail(TARN_ERROR_TAKEN,
                "topic \"%s\": key \"%s\" is written by %.15s (%s), which lives: it can be taken when that gives it up "
                "or ends",
                writer->topic->name, name, who.command, process_pid_text(who.pid, who.namespaces).text);
}

/* Becomes the key's holder: K3. 0 or a status. Under process_lock(). */
static int hold_key(struct tarn_writer *writer, const char *name, struct written *written) {
    uint64_t seen = load_acquire(&written->key->holder); /* K3: what the last holder wrote is seen */
    for (;;) {
        if (!holder_is_over(writer->topic, seen))
            return say_taken(writer, name, seen);
        uint64_t mine = key_holder(seen, writer->owner);
        /* killed here: nobody's yet; behind: a dead holder's, which the next one that wants it finds out */
        if (compare_and_swap(&written->key->holder, &seen, mine)) {
            POINT(key_held);
            written->holder = mine;
            return 0;
        }
    }
}

static void give_up(struct written *written) {
    uint64_t mine = written->holder;
    written->holder = 0;
    compare_and_swap(&written->key->holder, &mine, key_holder(mine, 0)); /* K3: what we wrote is seen by the next */
    POINT(key_given_up);
}

/* The version of the value that a previous writer left; 0: it cannot be told. */
static uint64_t version_at(struct remote *remote, uint64_t word) {
    struct source source = {.remote = remote};
    struct view view;
    if (source_view(&source, word, &view) == VIEW_UNATTACHED)
        remote_attach_all(remote);
    return source_view(&source, word, &view) == VIEW_SEEN ? view.number : 0;
}

/*
 * Goes on where the key's last writer ended. Its value stays where it is, and the memory attached, until this writer
 * sets one: so it is there whether this one dies before that or not. As the key's holder we need no hold there: its
 * place is not over before the key changes hands, or its writer is dead. 0 or a status. Under process_lock().
 */
static int adopt_value(struct tarn_writer *writer, struct written *written) {
    struct key_value value;
    bool any = board_look(written->key, &value);
    if (any && written->extent && value.owner == writer->owner)
        return 0; /* we gave the key up, and nobody has set it since, but for telling a version, and dying */
    written->version = load_relaxed(&written->key->version); /* relaxed: K3 */
    if (written->extent)
        arena_unpin(written->extent);
    written->extent = NULL;
    if (!any)
        return 0;
    uint32_t slot = key_owner_slot(value.owner);
    struct publisher_slot *publisher = roster_publisher(&writer->topic->roster, slot);
    int error = !publisher ? -EINVAL
                           : topic_remote_in_part(writer->topic, &written->remote, publisher, slot,
                                                  key_owner_incarnation(value.owner));
    if (error == -EINVAL)
        return 0; /* nobody has it any more: there is no value, until we set one */
    if (error) {
        written->remote = NULL;
        return fail_memory(-error, "topic \"%s\": memory of a key's last writer cannot be attached",
                           writer->topic->name);
    }
    uint64_t version = version_at(written->remote, value.place);
    if (version) /* else what the key says, which may be one more */
        written->version = version;
    return 0;
}

static int take_key(struct tarn_writer *writer, const char *name) {
    struct roster_taker taker = taker_of(writer);
    int number = board_find_key(writer->topic, name, &taker);
    if (number < 0)
        return number;
    if (!grow_keys(writer, (uint32_t)number + 1))
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another key", writer->topic->name);
    struct written *written = &writer->keys[number];
    if (written->holder)
        return number;
    written->key = board_key(&writer->topic->roster, (uint32_t)number);
    if (!written->key)
        return topic_say_damaged(writer->topic);
    int status = hold_key(writer, name, written);
    if (!status && (status = adopt_value(writer, written)) != 0)
        give_up(written);
    return status ? status : number;
}

int tarn_writer_key(tarn_writer *writer, const char *name) {
    int status = check(writer);
    if (status)
        return status;
    process_lock();
    status = take_key(writer, name);
    process_unlock();
    return status;
}

int tarn_writer_release_key(tarn_writer *writer, int key) {
    int status = check(writer);
    if (status)
        return status;
    struct written *written = held_key(writer, key);
    if (!written)
        return say_not_ours(writer, key);
    give_up(written);
    if (written->remote)
        drop_remote(writer, written);
    return 0;
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static int check_options(const tarn_writer_options *options, tarn_writer_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_writer_options");
    if (status || !options)
        return status;
    if (ret->alignment & (ret->alignment - 1) || ret->alignment > 4096)
        return fail(TARN_ERROR_ARGUMENT, "alignment is %" PRIu32 ": not a power of two up to 4096", ret->alignment);
    if (ret->reserved)
        return fail(TARN_ERROR_ARGUMENT, "tarn_writer_options.reserved is not 0");
    if (ret->memory_limit_bytes && ret->memory_limit_bytes < MEMORY_LIMIT_MIN)
        return fail(TARN_ERROR_ARGUMENT, "memory_limit_bytes is %" PRIu64 ": the least is %u", ret->memory_limit_bytes,
                    MEMORY_LIMIT_MIN);
    return type_check(ret->type);
}

static int open_arena(struct tarn_writer *writer, const tarn_writer_options *options) {
    uint64_t limit = options->memory_limit_bytes;
    struct extents_options memory = {
        .access = writer->topic->directory.access,
        .limit_bytes = limit < MEMORY_LIMIT_MAX ? limit : MEMORY_LIMIT_MAX,
        .slack_bytes = LIMIT_SLACK_BYTES,
        .rotation_bytes = SMALL_RETENTION_BYTES, /* values replace each other: few are read, and no stream of them */
    };
    writer->type_bytes = options->type && options->type->bytes ? options->type->bytes : UINT64_MAX;
    bound_bytes(writer, limit ? memory.limit_bytes : MEMORY_LIMIT_MIN);
    int error = arena_open(&writer->arena, &memory, writer->slot, &writer->readers, writer->incarnation,
                           type_alignment(options->type, options->alignment));
    return error ? say_no_space(writer, error) : 0;
}

static int open_in_slot(struct tarn_writer *writer, const tarn_writer_options *options) {
    struct roster_taker taker = taker_of(writer);
    int status = type_settle(writer->topic, options->type, &taker);
    if (!status)
        status = open_arena(writer, options);
    if (status)
        return status;
    store_release(&writer->slot->state, SLOT_LIVE); /* R1 */
    POINT(writer_live);
    topic_ring(writer->topic);
    return 0;
}

/*
 * Under process_lock(). Values that readers have stay, and with them the slot, by which others find them. Whether some
 * do.
 */
static bool leave(struct tarn_writer *writer) {
    for (uint32_t i = 0; i < writer->key_count; i++) {
        if (writer->keys[i].holder)
            give_up(&writer->keys[i]);
        if (writer->keys[i].remote)
            topic_remote_drop(writer->topic, writer->keys[i].remote);
    }
    arena_close(&writer->arena); /* before the look at who else has that memory */
    bool remains = writer->slot && remains_are_needed(writer->topic, writer->slot_number, false);
    if (remains) {
        store_release(&writer->slot->state, SLOT_LEAVING);
        POINT(writer_leaving_said);
        /* killed here: the slot's byte is free, and who repairs it looks whether it is needed */
    } else
        publisher_slot_clear(writer->topic, writer->slot_number, false);
    topic_leave(writer->topic, PUBLISHER, writer->slot_number);
    readers_free(&writer->readers);
    for (struct open_loan *loan = writer->loans, *next; loan; loan = next) {
        next = loan->next;
        free(loan);
    }
    free(writer->keys);
    handle_free(&closed_writers, &writer->handle);
    return remains;
}

static int open_locked(tarn_writer **ret, const char *topic, const tarn_writer_options *options) {
    struct tarn_writer *writer = handle_allocate(&closed_writers, sizeof(*writer), HANDLE_WRITER);
    if (!writer)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a writer");
    int status = topic_join(&writer->topic, &writer->slot_number, topic, options->directory, options->domain, PUBLISHER,
                            PATTERN_BLACKBOARD);
    if (status) {
        handle_free(&closed_writers, &writer->handle);
        return status;
    }
    writer->slot = roster_publisher(&writer->topic->roster, writer->slot_number);
    if (!writer->slot) {
        status = topic_say_damaged(writer->topic);
        leave(writer);
        return status;
    }
    writer->handle.loans = &loan_calls;
    writer->bell = &writer->topic->roster.header->bell;
    writer->incarnation = incarnation_of(&writer->slot->incarnation);
    writer->owner = key_owner(writer->slot_number, writer->incarnation);
    writer->identity = writer->slot->who.number;
    writer->tickets = os_random() | 1;
    readers_init(&writer->readers, &writer->topic->roster, writer->slot, writer->incarnation);
    status = open_in_slot(writer, options);
    if (status)
        leave(writer);
    else
        *ret = writer;
    return status;
}

int tarn_writer_open(tarn_writer **ret, const char *topic, const tarn_writer_options *options) {
    tarn_writer_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the writer is NULL");
    int status = check_options(options, &checked);
    if (!status)
        status = process_enter();
    if (status)
        return status;
    process_lock();
    status = open_locked(ret, topic, &checked);
    process_unlock();
    return status;
}

uint64_t tarn_writer_identity(const tarn_writer *writer) {
    return check(writer) ? 0 : writer->identity;
}

/* Whether the subscriber in that slot lives, and has all our memory attached. */
static bool has_attached(struct tarn_writer *writer, uint32_t slot) {
    struct subscriber_slot *reader = roster_subscriber(&writer->topic->roster, slot);
    struct reader_row *row = reader ? roster_row(&writer->topic->roster, writer->slot, slot) : NULL;
    uint32_t word = row ? load_acquire(&row->attached[row_place(slot)]) : 0;
    return row && load_acquire(&reader->state) == SLOT_LIVE && load_relaxed(&reader->role) != ROLE_KEEPER &&
           word >> 16 == writer->incarnation && (word & 0xffff) >= writer->arena.extents.segment_count &&
           !slot_is_dead(writer->topic, SUBSCRIBER, slot, true);
}

int tarn_writer_readers(tarn_writer *writer, uint64_t *ret_ever) {
    int status = check(writer);
    if (status)
        return status;
    int count = 0;
    process_lock();
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&writer->topic->roster); slot < slots; slot++)
        count += has_attached(writer, slot);
    process_unlock();
    if (ret_ever)
        *ret_ever = load_relaxed(&writer->slot->pattern_words[WRITER_READERS]);
    return count;
}

int tarn_writer_close(tarn_writer *writer) {
    if (!writer)
        return 0;
    int status = check(writer);
    if (status)
        return status;
    process_lock();
    status = leave(writer);
    process_unlock();
    return status;
}
