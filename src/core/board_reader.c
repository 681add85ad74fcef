/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Readers of a blackboard: looking keys up, reading, waiting for changes. The protocol is in shm/board.h, holding in
 * shm/source.h.
 *
 * A reader is a subscriber slot with a source for each writer that it has read. Reading has a short half: the key is
 * still the same writer's, and its value lies in the extent that is held anyway; then it is loads alone. All else is
 * the long half's.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/status.h"
#include "core/board.h"
#include "core/waitables.h"
#include "core/handle.h"
#include "core/reaper.h"
#include "core/type.h"
#include "shm/log.h"
#include "shm/source.h"
#include "shm/space.h"

#define DEFAULT_MAX_HELD 64u
#define MAX_HELD_MAX 65536u
#define NARROW_TRIES 8u  /* that name one extent; from then on all of the writer's */
#define TRIES_MAX 10000u /* each time another writer had taken the key over: no honest ones do */

/* A writer that values are read from. */
struct board_source {
    struct source source;
    const char *base; /* of the extent held, as checked when that was entered: it stays as it is */
    uint64_t bytes;
    uint64_t owner;
    uint32_t keys; /* that we know to be in its memory */
    struct board_source *next;
};

/* A key as this reader knows it. */
struct read_key {
    _Alignas(CACHE_LINE_BYTES) struct board_key *key; /* NULL: never asked for */
    struct board_source *source;                      /* never NULL; of the writer that current tells */
    uint64_t current;
    uint64_t version; /* read last */
    int64_t tried_ns; /* when there was no memory to look whether it has changed; 0: there was */
    bool watched;
    char *name; /* of KEY_NAME_BYTES; empty: not looked at yet. Users have it, so it stays where it is */
};

struct tarn_reader {
    struct handle handle;
    struct read_key *keys; /* by number */
    uint32_t key_count;
    uint32_t turn;    /* which key's changes are looked at first */
    uint32_t changes; /* of the roster, when we last looked at it */
    uint32_t credit;  /* values that may be taken before those held are counted again */
    uint32_t max_held;
    int64_t no_memory_ns; /* when that was last told by tarn_reader_changed, or a wait for any key */
    uint64_t taken;
    struct holds holds;
    struct waiter waiter;
    struct board_source *sources;
    struct board_source nowhere; /* of keys without a value: nothing is held there */
};

static struct closed_handles closed_readers;

static int check(const struct tarn_reader *reader) {
    return handle_check((const struct handle *)reader, HANDLE_READER);
}

static struct roster_taker taker_of(struct tarn_reader *reader) {
    return (struct roster_taker){false, reader->waiter.slot_number, reader->holds.incarnation,
                                 &reader->waiter.slot->pending_key};
}

/* ---- sources -------------------------------------------------------------------------------------------------- */

/* Its words in the roster are not written any more once they are its successor's. */
static void note_gone(struct board_source *source) {
    struct remote *remote = source->source.remote;
    if (incarnation_of(&remote->publisher->incarnation) != remote->incarnation)
        source->source.gone = true;
}

/* Lets writers go whose values are not the latest of any key that we know, and of which nothing is held. */
static void drop_unused(struct tarn_reader *reader) {
    for (struct board_source **link = &reader->sources, *source; (source = *link);) {
        note_gone(source);
        if (source->keys == 0)
            source_stop(&source->source);
        if (source->keys || holds_oldest(&reader->holds, &source->source.holder) != GENERATION_GONE) {
            link = &source->next;
            continue;
        }
        *link = source->next;
        topic_remote_drop(reader->waiter.topic, source->source.remote);
        free(source);
    }
}

static void set_source(struct read_key *key, struct board_source *source, uint64_t current) {
    key->source->keys--;
    key->source = source;
    source->keys++;
    key->current = current;
}

/* Whatever its writers have added, lest values there go with them. What cannot be is said by who reads it. */
static void attach_added(struct tarn_reader *reader) {
    for (struct board_source *source = reader->sources; source; source = source->next) {
        if (source->keys == 0 || source->source.gone)
            continue; /* nothing more is read there, or found */
        remote_attach_all(source->source.remote);
        source_tell_attached(&source->source);
    }
}

/*
 * Forgets, of the keys that we know, who their writer was, where it is another by now, and attaches what writers have
 * added. Under process_lock().
 */
static void follow(struct tarn_reader *reader) {
    reader->changes = load_acquire(&reader->waiter.topic->roster.header->changes);
    for (uint32_t i = 0; i < reader->key_count; i++) {
        struct read_key *key = &reader->keys[i];
        if (key->key && key->source != &reader->nowhere && load_acquire(&key->key->current) != key->current)
            set_source(key, &reader->nowhere, 0);
    }
    drop_unused(reader);
    attach_added(reader);
}

static void follow_changes(struct tarn_reader *reader) {
    if (load_acquire(&reader->waiter.topic->roster.header->changes) == reader->changes)
        return;
    process_lock();
    follow(reader);
    process_unlock();
}

/* 0 or a negative errno; -EINVAL: that writer's memory has gone. */
static int make_source(struct tarn_reader *reader, uint64_t owner, struct board_source **ret) {
    struct topic *topic = reader->waiter.topic;
    uint32_t slot = key_owner_slot(owner);
    struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
    struct roster_taker taker = taker_of(reader);
    if (!publisher)
        return -EINVAL;
    struct remote *remote;
    int error = topic_remote_in_part(topic, &remote, publisher, slot, key_owner_incarnation(owner));
    if (error)
        return error;
    struct reader_row *row;
    struct board_source *source = NULL;
    error = roster_make_row(&row, &topic->roster, publisher, slot, &taker);
    if (!error && !(source = calloc(1, sizeof(*source))))
        error = -ENOMEM;
    if (error) {
        topic_remote_drop(topic, remote);
        return error;
    }
    source->owner = owner;
    source_init(&source->source, &reader->holds, remote, row, row_place(reader->waiter.slot_number));
    atomic_fetch_add_explicit(&publisher->pattern_words[WRITER_READERS], 1, memory_order_relaxed); /* a statistic */
    source->next = reader->sources;
    reader->sources = source;
    *ret = source;
    return 0;
}

/* The source of that owner. 0 or a negative errno, as above. Under process_lock(). */
static int find_source(struct tarn_reader *reader, uint64_t owner, struct board_source **ret) {
    struct board_source *found = NULL;
    for (struct board_source *source = reader->sources; source; source = source->next) {
        note_gone(source); /* before its successor's words are written */
        if (source->owner == owner)
            found = source;
    }
    if (found)
        source_tell_attached(&found->source); /* it may have been stopped, and be there for what is held */
    *ret = found;
    return found ? 0 : make_source(reader, owner, ret);
}

static int say_unattached(struct tarn_reader *reader, const struct read_key *key, uint64_t owner, int error) {
    struct publisher_slot *publisher = roster_publisher(&reader->waiter.topic->roster, key_owner_slot(owner));
    const char *reason = error == -EACCES || error == -EPERM ? ", as its owner and group do not let this user" : "";
    return fail_memory(-error, "topic \"%s\": memory of the writer of key \"%.63s\" (%.15s) cannot be attached%s",
                       reader->waiter.topic->name, key->name, publisher ? publisher->who.command : "?", reason);
}

static int say_damaged(const struct tarn_reader *reader, const struct read_key *key) {
    return fail(TARN_ERROR_DAMAGED,
                "topic \"%s\": a peer wrote nonsense for key \"%.63s\": it has no value before it is set again",
                reader->waiter.topic->name, key->name);
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/*
 * The value at a place in the extent that is held. False: it does not lie there. How it lies there may be a hostile
 * writer's doing: what is given lies within the extent.
 */
SHORT_HALF bool view_in(const struct board_source *source, uint64_t place, struct view *ret) {
    uint64_t offset = place_offset(place);
    if (unlikely(offset < sizeof(struct placed) || offset > source->bytes))
        return false;
    const char *payload = source->base + offset;
    struct placed *placed = (struct placed *)(void *)(payload - sizeof(*placed));
    ret->data = payload;
    ret->bytes = load_relaxed(&placed->bytes);
    ret->number = load_relaxed(&placed->number);
    return likely(ret->bytes <= source->bytes - offset);
}

/* Reads where nothing has changed but the value, within an extent. False: nothing happened. */
SHORT_HALF bool view_easily(const struct read_key *key, struct view *ret) {
    if (load_acquire(&key->key->current) != key->current) /* K1 */
        return false;
    const struct board_source *source = key->source;
    uint64_t place = load_acquire(&key->key->pairs[key->current & 1].place); /* K2 */
    if (source->source.ref != place_extent(place) || !source->source.position)
        return false;
    /* relaxed: behind K2, which brought what its writer had seen; see board.h */
    return load_relaxed(&key->key->current) == key->current && view_in(source, place, ret);
}

/* Notes where the extent that was just entered lies. 0: done; -EAGAIN: not attached; -EPROTO: nowhere. */
static int locate(struct board_source *source, extent_ref ref) {
    struct remote_segment *segment;
    if (!remote_has_segment_of(source->source.remote, ref))
        return -EAGAIN;
    struct extent_entry *entry = remote_entry(source->source.remote, ref, &segment);
    if (!entry)
        return -EPROTO;
    uint64_t start = load_relaxed(&entry->offset), bytes = load_relaxed(&entry->bytes);
    if (start % EXTENT_GRAIN || start < segment->data_offset || start > segment->bytes ||
        bytes > segment->bytes - start)
        return -EPROTO;
    source->base = load_relaxed(&segment->base) + start;
    source->bytes = bytes;
    return 0;
}

static void leave_extent(struct board_source *source) {
    if (source->source.position)
        hold_leave(source->source.position);
    source->source.position = NULL;
}

/* Holds the extent of the key's value: P1. 1: held; 0: it is elsewhere by now; -ENOMEM. */
static int enter(struct read_key *key, struct board_source *source, const struct key_value *value, bool wide) {
    struct hold *hold = wide ? source_hold_all(&source->source) : source_hold(&source->source, value->place); /* P1 */
    if (!hold)
        return -ENOMEM;
    source_unhold(hold); /* the position is enough */
    source->base = NULL;
    source->bytes = 0;
    uint64_t place = load_acquire(&key->key->pairs[value->current & 1].place); /* K2 */
    if (load_acquire(&key->key->current) != value->current)                    /* K1 */
        return leave_extent(source), 0;
    if (wide)
        source_narrow(&source->source, place);
    return source->source.ref == place_extent(place) ? 1 : (leave_extent(source), 0);
}

/* Attaches what the source's writer has added. 0 or a negative errno. */
static int attach_more(struct board_source *source) {
    process_lock();
    int error = remote_attach_all(source->source.remote);
    note_gone(source);
    source_tell_attached(&source->source);
    process_unlock();
    return error;
}

/* The extent is held: where is it? 1, 0: it is gone, or a status. */
static int settle_in(struct tarn_reader *reader, struct read_key *key, struct board_source *source) {
    int error = locate(source, source->source.ref), attach_error = 0;
    if (error == -EAGAIN) {
        attach_error = attach_more(source);
        error = locate(source, source->source.ref);
    }
    if (error == 0)
        return 1;
    leave_extent(source);
    if (error == -EPROTO || attach_error == 0)
        return say_damaged(reader, key);
    return attach_error == -EINVAL ? 0 : say_unattached(reader, key, source->owner, attach_error);
}

/* Finds out whose the key is now. 1: source set; 0: there is no value; or a status. */
static int find_writer(struct tarn_reader *reader, struct read_key *key, const struct key_value *value) {
    if (value->current == key->current && key->source->owner == value->owner && key->source != &reader->nowhere)
        return 1;
    struct board_source *source;
    process_lock();
    int error = find_source(reader, value->owner, &source);
    if (error) {
        set_source(key, &reader->nowhere, 0);
    } else {
        set_source(key, source, value->current);
        drop_unused(reader);
    }
    process_unlock();
    if (error && load_acquire(&key->key->current) != value->current)
        return 1; /* what we saw was not whole: again */
    return !error ? 1 : error == -EINVAL ? 0 : say_unattached(reader, key, value->owner, error);
}

/*
 * Whether the key's value lies in the extent that is held, but not as one may. One look at the place decides both:
 * between two it may have been elsewhere, and come back.
 */
static bool is_damaged(const struct read_key *key, uint64_t current) {
    struct view ignored;
    uint64_t place = load_acquire(&key->key->pairs[current & 1].place); /* K2 */
    return load_acquire(&key->key->current) == current && place_extent(place) == key->source->source.ref &&
           !view_in(key->source, place, &ignored);
}

/* 1: ret is the key's value, held as the position of the key's source; 0: there is none; or a status. */
LONG_HALF int view_slowly(struct tarn_reader *reader, struct read_key *key, struct view *ret) {
    follow_changes(reader);
    for (uint32_t tries = 0; tries < TRIES_MAX; tries++) {
        struct key_value value;
        if (!board_look(key->key, &value))
            return 0;
        int status = find_writer(reader, key, &value);
        if (status != 1)
            return status;
        if (key->source == &reader->nowhere)
            continue;
        status = enter(key, key->source, &value, tries >= NARROW_TRIES);
        if (status == -ENOMEM)
            return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another hold", reader->waiter.topic->name);
        if (status == 1 && (status = settle_in(reader, key, key->source)) != 1)
            return status;
        if (status == 1 && view_easily(key, ret))
            return 1;
        if (status == 1 && is_damaged(key, value.current))
            return say_damaged(reader, key);
    }
    return say_damaged(reader, key);
}

SHORT_HALF int view_key(struct tarn_reader *reader, struct read_key *key, struct view *ret) {
    return likely(view_easily(key, ret)) ? 1 : view_slowly(reader, key, ret);
}

/* ---- keys ----------------------------------------------------------------------------------------------------- */

static bool grow_keys(struct tarn_reader *reader, uint32_t count) {
    uint32_t wanted = reader->key_count ? reader->key_count : 16;
    if (count <= reader->key_count)
        return true;
    while (wanted < count)
        wanted *= 2;
    struct read_key *keys = aligned_alloc(CACHE_LINE_BYTES, wanted * sizeof(*keys));
    if (!keys)
        return false;
    if (reader->keys)
        memcpy(keys, reader->keys, reader->key_count * sizeof(*keys));
    memset(keys + reader->key_count, 0, (wanted - reader->key_count) * sizeof(*keys));
    free(reader->keys);
    reader->keys = keys;
    reader->key_count = wanted;
    return true;
}

/* What is known of the key of that number; NULL: there is none of it, or no memory. */
static struct read_key *know(struct tarn_reader *reader, uint32_t number) {
    if (number < reader->key_count && reader->keys[number].key)
        return &reader->keys[number];
    struct board_key *entry = board_key(&reader->waiter.topic->roster, number);
    if (!entry || !grow_keys(reader, number + 1))
        return NULL;
    struct read_key *key = &reader->keys[number];
    if (!(key->name = calloc(1, KEY_NAME_BYTES)))
        return NULL;
    key->key = entry;
    key->source = &reader->nowhere;
    reader->nowhere.keys++;
    return key;
}

/* The key of that number; NULL, with ret_status why not. */
SHORT_HALF struct read_key *find_key(struct tarn_reader *reader, int number, int *ret_status) {
    struct read_key *key = NULL;
    *ret_status = check(reader);
    if (unlikely(*ret_status))
        return NULL;
    if (likely((uint32_t)number < reader->key_count && reader->keys[number].key))
        return &reader->keys[number];
    key = number < 0 ? NULL : know(reader, (uint32_t)number);
    if (!key)
        *ret_status =
            fail(TARN_ERROR_ARGUMENT, "topic \"%s\": %d is no key's number", reader->waiter.topic->name, number);
    return key;
}

int tarn_reader_key(tarn_reader *reader, const char *name) {
    int status = check(reader);
    if (status)
        return status;
    struct roster_taker taker = taker_of(reader);
    process_lock();
    int number = board_find_key(reader->waiter.topic, name, &taker);
    process_unlock();
    if (number < 0)
        return number;
    struct read_key *key = know(reader, (uint32_t)number);
    if (!key)
        return fail(TARN_ERROR_NO_MEMORY, "topic \"%s\": no memory for another key", reader->waiter.topic->name);
    key->watched = true;
    memmove(key->name, name, strlen(name) + 1); /* it may be the same */
    struct view view;
    view_key(reader, key, &view); /* attached, it outlives its writer; whatever is wrong is said when it is read */
    return number;
}

int tarn_reader_keys(tarn_reader *reader) {
    int status = check(reader);
    if (status)
        return status;
    uint32_t least = 0, most = KEYS_MAX; /* keys have no gaps */
    while (least < most) {
        uint32_t middle = (least + most) / 2;
        if (board_key(&reader->waiter.topic->roster, middle))
            least = middle + 1;
        else
            most = middle;
    }
    return (int)least;
}

const char *tarn_reader_key_name(tarn_reader *reader, int number) {
    int status;
    struct read_key *key = find_key(reader, number, &status);
    if (!key || (!key->name[0] && !board_name(key->key, key->name)))
        return NULL;
    return key->name;
}

/* ---- the calls that read -------------------------------------------------------------------------------------- */

static uint64_t identity_of(const struct read_key *key) {
    return key->source->source.remote->number;
}

SHORT_HALF void tell(const struct read_key *key, const struct view *view, tarn_value *ret) {
    ret->bytes = view->bytes;
    ret->version = view->number;
    ret->writer = identity_of(key);
    ret->reserved = 0;
}

LONG_HALF int say_too_big(struct tarn_reader *reader, const struct read_key *key, const struct view *view,
                          size_t capacity, tarn_value *ret) {
    if (ret)
        tell(key, view, ret);
    return fail(TARN_ERROR_TOO_BIG, "topic \"%s\": the value of key \"%.63s\" has %" PRIu64 " bytes, the buffer %zu",
                reader->waiter.topic->name, key->name, view->bytes, capacity);
}

int tarn_reader_get(tarn_reader *reader, int number, void *buffer, size_t capacity, tarn_value *ret) {
    int status;
    struct read_key *key = find_key(reader, number, &status);
    struct view view;
    if (unlikely(!key))
        return status;
    status = view_key(reader, key, &view);
    if (unlikely(status != 1))
        return status;
    if (unlikely(view.bytes > capacity))
        return say_too_big(reader, key, &view, capacity, ret);
    if (unlikely(!buffer && view.bytes))
        return fail(TARN_ERROR_ARGUMENT, "the buffer is NULL");
    if (view.bytes)
        memcpy(buffer, view.data, view.bytes);
    key->version = view.number;
    key->tried_ns = 0;
    if (ret)
        tell(key, &view, ret);
    return 1;
}

/* Counts what the user holds. False: as much as is allowed. */
static bool renew_credit(struct tarn_reader *reader) {
    uint64_t held = holds_outstanding(&reader->holds);
    reader->credit = held < reader->max_held ? reader->max_held - (uint32_t)held : 0;
    return reader->credit > 0;
}

int tarn_reader_take(tarn_reader *reader, int number, tarn_message *ret) {
    int status;
    struct read_key *key = find_key(reader, number, &status);
    struct view view;
    if (!key)
        return status;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the message is NULL");
    status = view_key(reader, key, &view);
    if (status != 1)
        return status;
    if (reader->credit == 0 && !renew_credit(reader))
        return fail(TARN_ERROR_HOLDING,
                    "topic \"%s\": %" PRIu32 " values are held, as many as max_held allows: release some first",
                    reader->waiter.topic->name, reader->max_held);
    reader->credit--;
    struct hold *hold = key->source->source.position;
    hold->taken++;
    *ret = (tarn_message){.data = view.data,
                          .bytes = view.bytes,
                          .sequence = view.number,
                          .publisher = identity_of(key),
                          .held_by = hold};
    key->version = view.number;
    key->tried_ns = 0;
    store_relaxed(&reader->waiter.slot->taken, ++reader->taken);
    return 1;
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

/* Whether the key's version is above that. 1, 0, or a status. */
static int is_above(struct tarn_reader *reader, struct read_key *key, uint64_t version) {
    if (load_acquire(&key->key->version) <= version) /* it never lags */
        return 0;
    struct view view;
    int status = view_key(reader, key, &view);
    return status == 1 ? view.number > version : status;
}

/*
 * What cannot be seen for want of memory is tried again, as the change is not over, and what that says not with each
 * look: who waits, and looks again, is to sleep in between.
 */
static int tell_no_memory(struct tarn_reader *reader, struct read_key *key, int status, bool tells) {
    int64_t now = os_now_ns();
    bool told = now - reader->no_memory_ns < SLICE_NS;
    if (tells)
        key->tried_ns = now;
    if (tells && !told)
        reader->no_memory_ns = now;
    return told ? 0 : status;
}

static bool was_tried(const struct read_key *key) {
    return unlikely(key->tried_ns != 0) && os_now_ns() - key->tried_ns < SLICE_NS;
}

/* tells: the user is told what it returns. */
static int has_changed(struct tarn_reader *reader, struct read_key *key, bool tells) {
    if (likely(load_acquire(&key->key->version) == key->version) || was_tried(key))
        return 0;
    struct view view;
    int status = view_key(reader, key, &view);
    if (status == TARN_ERROR_NO_MEMORY || status == TARN_ERROR_LIMIT)
        return tell_no_memory(reader, key, status, tells);
    key->tried_ns = 0;
    if (status < 0 && tells)
        key->version = load_relaxed(&key->key->version); /* said once; others have their turn */
    return status == 1 ? view.number != key->version : status;
}

static int find_changed(struct tarn_reader *reader, uint32_t *ret, bool tells) {
    for (uint32_t i = 0; i < reader->key_count; i++) {
        uint32_t number =
            reader->turn + i < reader->key_count ? reader->turn + i : reader->turn + i - reader->key_count;
        struct read_key *key = &reader->keys[number];
        int status = key->watched ? has_changed(reader, key, tells) : 0;
        if (status)
            return *ret = number, status;
    }
    return 0;
}

static int any_changed(void *owner) {
    uint32_t number;
    follow_changes(owner);
    return find_changed(owner, &number, true);
}

/* The same, for whoever does not tell the user: his next call does. */
static int look_for_waitset(void *owner) {
    uint32_t number;
    follow_changes(owner);
    return find_changed(owner, &number, false);
}

int tarn_reader_changed(tarn_reader *reader, int *ret_key) {
    int status = check(reader);
    uint32_t number = 0;
    if (status)
        return status;
    if (!ret_key)
        return fail(TARN_ERROR_ARGUMENT, "the place for the key is NULL");
    follow_changes(reader);
    status = find_changed(reader, &number, true);
    if (!status && waiter_make_quiet(&reader->waiter, look_for_waitset, reader))
        status = find_changed(reader, &number, true);
    if (status == 1) {
        *ret_key = (int)number;
        reader->turn = number + 1 < reader->key_count ? number + 1 : 0;
    }
    return status;
}

int tarn_reader_wait(tarn_reader *reader, int64_t timeout_ns) {
    int status = check(reader);
    return status ? status : waiter_wait(&reader->waiter, any_changed, reader, timeout_ns);
}

struct wanted {
    struct tarn_reader *reader;
    uint32_t number;
    uint64_t version;
};

static int has_wanted(void *owner) {
    const struct wanted *wanted = owner;
    follow_changes(wanted->reader);
    return is_above(wanted->reader, &wanted->reader->keys[wanted->number], wanted->version);
}

int tarn_reader_wait_key(tarn_reader *reader, int number, uint64_t version, int64_t timeout_ns) {
    int status;
    if (!find_key(reader, number, &status))
        return status;
    struct wanted wanted = {reader, (uint32_t)number, version};
    return waiter_wait(&reader->waiter, has_wanted, &wanted, timeout_ns);
}

int tarn_reader_interrupt(tarn_reader *reader) {
    int status = check(reader);
    return status ? status : waiter_interrupt(&reader->waiter);
}

int tarn_reader_fd(tarn_reader *reader) {
    int status = check(reader);
    return status ? status : waiter_fd(&reader->waiter);
}

static int waitable_fd(void *handle) {
    return tarn_reader_fd(handle);
}

static int ready_for_waitset(void *handle) {
    struct tarn_reader *reader = handle;
    int status = look_for_waitset(reader);
    return status ? status : waiter_make_quiet(&reader->waiter, look_for_waitset, reader);
}

const struct waitable reader_waitable = {waitable_fd, ready_for_waitset, look_for_waitset};

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static int check_options(const tarn_reader_options *options, tarn_reader_options *ret) {
    int status = options_copy(ret, sizeof(*ret), options, "tarn_reader_options");
    if (status || !options)
        return status;
    if (ret->max_held > MAX_HELD_MAX)
        return fail(TARN_ERROR_ARGUMENT, "max_held is %" PRIu32 ": the most is %u", ret->max_held, MAX_HELD_MAX);
    status = waiter_check_options(ret->wait_strategy, ret->spin_ns);
    return status ? status : type_check(ret->type);
}

/* Called once, by whoever lets go of the last value, or by close: the slot and all else goes. */
static void end(void *context) {
    struct tarn_reader *reader = context;
    process_lock();
    subscriber_slot_clear(reader->waiter.topic, reader->waiter.slot_number, false);
    for (struct board_source *source = reader->sources, *next; source; source = next) {
        next = source->next;
        topic_remote_drop(reader->waiter.topic, source->source.remote);
        free(source);
    }
    holds_free(&reader->holds);
    topic_leave(reader->waiter.topic, SUBSCRIBER, reader->waiter.slot_number);
    handle_free(&closed_readers, &reader->handle);
    process_unlock();
}

/* Reads nothing more. Values may still be held. Not under process_lock(). */
static void stop(struct tarn_reader *reader) {
    process_lock();
    for (struct board_source *source = reader->sources; source; source = source->next) {
        note_gone(source);
        source_stop(&source->source);
    }
    for (uint32_t i = 0; i < reader->key_count; i++)
        free(reader->keys[i].name);
    free(reader->keys);
    reader->keys = NULL;
    doorbell_close(&reader->waiter.doorbell);
    store_relaxed(&reader->handle.mark, HANDLE_CLOSED);
    if (load_relaxed(&reader->waiter.slot->state) != SLOT_OPENING) /* else nobody has seen us: no life that ends */
        store_release(&reader->waiter.slot->state, SLOT_LEAVING);
    POINT(reader_leaving_said);
    topic_ring(reader->waiter.topic);
    process_unlock();
    holds_end(&reader->holds);
}

static int open_in_slot(struct tarn_reader *reader, const tarn_reader_options *options) {
    struct roster_taker taker = taker_of(reader);
    int status = type_settle(reader->waiter.topic, options->type, &taker);
    if (status)
        return status;
    store_relaxed(&reader->waiter.slot->reliable, 0);
    /* before anything is held, so that writers look at our cells: R1 */
    store_release(&reader->waiter.slot->state, SLOT_LIVE);
    POINT(reader_live);
    topic_ring(reader->waiter.topic);
    return 0;
}

static int open_locked(struct tarn_reader **ret, const char *topic, const tarn_reader_options *options) {
    struct tarn_reader *reader = handle_allocate(&closed_readers, sizeof(*reader), HANDLE_READER);
    if (!reader)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a reader");
    int status = waiter_join(&reader->waiter, topic, options->directory, options->domain, PATTERN_BLACKBOARD,
                             options->wait_strategy, options->spin_ns);
    if (status) {
        handle_free(&closed_readers, &reader->handle);
        return status;
    }
    reader->max_held = options->max_held ? options->max_held : DEFAULT_MAX_HELD;
    int error = holds_open(&reader->holds, &reader->waiter.topic->roster, reader->waiter.slot,
                           reader->waiter.slot_number, incarnation_of(&reader->waiter.slot->incarnation));
    reader->holds.emptied = end;
    reader->holds.context = reader;
    *ret = reader;
    if (error)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a reader");
    return open_in_slot(reader, options);
}

int tarn_reader_open(tarn_reader **ret, const char *topic, const tarn_reader_options *options) {
    tarn_reader_options checked;
    if (!ret)
        return fail(TARN_ERROR_ARGUMENT, "the place for the reader is NULL");
    int status = check_options(options, &checked);
    if (!status)
        status = process_enter();
    if (status)
        return status;
    struct tarn_reader *reader = NULL;
    process_lock();
    status = open_locked(&reader, topic, &checked);
    process_unlock();
    if (status == 0)
        *ret = reader;
    else if (reader)
        stop(reader);
    return status;
}

int tarn_reader_close(tarn_reader *reader) {
    if (!reader)
        return 0;
    int status = check(reader);
    if (status)
        return status;
    stop(reader);
    return 0;
}
