/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See topic.h. */
#include "core/topic.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "base/points.h"
#include "base/process.h"
#include "base/status.h"
#include "core/reaper.h"
#include "core/topic_master.h"
#include "core/topic_slots.h"
#include "shm/bell.h"

#define MASTER_TIMEOUT_NS NS_PER_SECOND
#define TRY_NS                                                                                                         \
    (3 * MASTER_RETRY_NS / 10) /* what opening, and a short sleep, take each time that the file has changed */

static struct topic *topics;  /* of this process */
static struct topic *joining; /* being joined by some thread, which may wait without the lock */

/* ---- joining and leaving -------------------------------------------------------------------------------------- */

static bool same_roster(const struct topic_header *a, const struct topic_header *b) {
    return a->open && b->open && a->roster.id == b->roster.id && a->roster.nonce == b->roster.nonce;
}

/* Without any lock but that of the slot. AGAIN: something is being created or deleted, or is to be. */
static int join_living(struct topic *topic, const char *file, enum slot_kind kind, uint32_t *ret_slot) {
    struct topic_header header, now;
    if (topic_header_read(&header, topic->fd) != HEADER_SOUND || !header.open || !topic_file_in_use(topic->fd))
        return AGAIN;
    int status = topic_attach_roster(topic, &header);
    if (status)
        return status;
    status = topic_claim_slot(topic, kind, ret_slot);
    if (status)
        return status;
    POINT(joiner_locked);
    /* F1: the byte is locked; now look again */
    if (topic_header_read(&now, topic->fd) == HEADER_SOUND && same_roster(&header, &now) &&
        topic_file_is_in_place(topic->directory.fd, file, topic->device, topic->inode))
        return 0;
    topic_forget_slot(topic, kind, *ret_slot);
    roster_detach(&topic->roster);
    return AGAIN;
}

static int join_file(struct topic *topic, const char *file, enum slot_kind kind, uint32_t *ret_slot,
                     int64_t *patience_ns) {
    if (topic_file_identify(topic) != 0)
        return fail_system(TARN_ERROR_SYSTEM, errno, "topic \"%s\": cannot look at its file", topic->name);
    int status = AGAIN;
    for (uint32_t tries = 0; status == AGAIN; tries++) { /* whoever has the lock may be making what we can join then */
        status = join_living(topic, file, kind, ret_slot);
        if (status != AGAIN)
            return status;
        status = topic_try_master(topic->fd, tries, patience_ns, topic->name);
    }
    if (status)
        return status;
    status = topic_settle(topic, file, kind, ret_slot);
    os_unlock(topic->fd, TOPIC_LOCK_MASTER);
    return status;
}

static int join_new(struct topic *topic, enum slot_kind kind, uint32_t *ret_slot) {
    char file[TARN_TOPIC_BYTES_MAX + 1];
    topic_file_name(file, topic->name);
    int64_t patience_ns = MASTER_TIMEOUT_NS;
    for (uint32_t tries = 0;; tries++) {
        int status = topic_file_open(&topic->directory, file, topic->name, true, &topic->fd);
        if (status == 0) {
            status = join_file(topic, file, kind, ret_slot, &patience_ns);
            if (status == 0)
                return 0;
            close(topic->fd);
            topic->fd = -1;
        }
        if (status != AGAIN)
            return status;
        if (patience_ns <= 0)
            return fail(TARN_ERROR_BUSY,
                        "topic \"%s\": its file in %s keeps changing; somebody creates and deletes it all the time",
                        topic->name, topic->directory.path);
        if (tries > 2)
            topic_sleep_unlocked(MASTER_RETRY_NS / 10);
        patience_ns -= TRY_NS;
    }
}

static struct topic *find(const struct directory *directory, const char *name) {
    struct stat wanted, state;
    if (fstat(directory->fd, &wanted) != 0)
        return NULL;
    for (struct topic *topic = topics; topic; topic = topic->next)
        if (strcmp(topic->name, name) == 0 && fstat(topic->directory.fd, &state) == 0 &&
            state.st_dev == wanted.st_dev && state.st_ino == wanted.st_ino && topic_is_in_place(topic))
            return topic;
    return NULL;
}

static void unlist(struct topic **list, struct topic *topic) {
    while (*list && *list != topic)
        list = &(*list)->next;
    if (*list)
        *list = topic->next;
}

static void close_all(struct topic *list) {
    for (struct topic *topic = list; topic; topic = topic->next) {
        if (topic->fd >= 0)
            close(topic->fd); /* never unlocked: the locks are the parent's too */
        close(topic->directory.fd);
    }
}

static void forget_parent(void) {
    close_all(topics);
    close_all(joining);
    topics = joining = NULL; /* their memory stays with the inherited handles */
}

static int join_first(struct topic **ret, uint32_t *ret_slot, const struct directory *directory, const char *name,
                      enum slot_kind kind) {
    struct topic *topic = calloc(1, sizeof(*topic));
    if (!topic) {
        directory_close((struct directory *)directory);
        return fail(TARN_ERROR_NO_MEMORY, "no memory for topic \"%s\"", name);
    }
    process_forget_parent = forget_parent;
    topic->directory = *directory;
    topic->fd = -1;
    strcpy(topic->name, name);
    topic->next = joining;
    joining = topic;
    int status = join_new(topic, kind, ret_slot);
    unlist(&joining, topic);
    if (status) {
        directory_close(&topic->directory);
        free(topic);
        return status;
    }
    topic->next = topics;
    topics = topic;
    *ret = topic;
    return 0;
}

enum pattern topic_pattern(const struct topic *topic) {
    return load_acquire(&topic->roster.header->pattern);
}

const char *topic_pattern_text(enum pattern pattern) {
    switch (pattern) {
    case PATTERN_MESSAGES:
        return "publish and subscribe";
    case PATTERN_SERVICE:
        return "requests and responses";
    case PATTERN_EVENTS:
        return "events";
    case PATTERN_BLACKBOARD:
        return "a blackboard";
    case PATTERN_QUEUE:
        return "a work queue";
    case PATTERN_NONE:
        break;
    }
    return "nothing known";
}

/* The first one settles it. */
static int settle_pattern(struct topic *topic, enum pattern pattern) {
    uint32_t settled = PATTERN_NONE;
    if (pattern == PATTERN_NONE || compare_and_swap(&topic->roster.header->pattern, &settled, (uint32_t)pattern) ||
        settled == pattern)
        return 0;
    if (settled > PATTERN_QUEUE)
        return topic_say_damaged(topic);
    return fail(TARN_ERROR_PATTERN, "topic \"%s\" is in use for %s, and cannot be used for %s: take another name",
                topic->name, topic_pattern_text(settled), topic_pattern_text(pattern));
}

int topic_join_again(struct topic *topic, uint32_t *ret_slot, enum slot_kind kind) {
    int error = topic_find_slot(topic, kind, ret_slot);
    if (error)
        return topic_say_no_slot(topic, kind, error);
    topic_begin_slot(topic, kind, *ret_slot);
    topic->users++;
    return 0;
}

int topic_join(struct topic **ret, uint32_t *ret_slot, const char *name, const char *directory_path, const char *domain,
               enum slot_kind kind, enum pattern pattern) {
    int status = topic_name_check(name);
    if (status)
        return status;
    struct directory directory;
    status = directory_open(&directory, directory_path, domain, true);
    if (status)
        return status;
    struct topic *topic = find(&directory, name);
    if (topic) {
        directory_close(&directory);
        status = topic_join_again(topic, ret_slot, kind);
        if (status)
            return status;
    } else {
        status = join_first(&topic, ret_slot, &directory, name, kind);
        if (status)
            return status;
        topic_begin_slot(topic, kind, *ret_slot);
        topic->users++;
    }
    status = settle_pattern(topic, pattern);
    if (status) {
        if (kind == PUBLISHER)
            publisher_slot_clear(topic, *ret_slot, false);
        else
            subscriber_slot_clear(topic, *ret_slot, false);
        topic_leave(topic, kind, *ret_slot);
        return status;
    }
    *ret = topic;
    return 0;
}

void topic_leave(struct topic *topic, enum slot_kind kind, uint32_t slot) {
    topic_forget_slot(topic, kind, slot);
    topic_ring(topic);
    if (--topic->users > 0)
        return;
    unlist(&topics, topic);
    roster_detach(&topic->roster);
    char file[TARN_TOPIC_BYTES_MAX + 1];
    topic_file_name(file, topic->name);
    if (!topic_file_in_use(topic->fd))
        topic_file_sweep(&topic->directory, file, topic->fd);
    close(topic->fd);
    directory_close(&topic->directory);
    free(topic);
}

/* ---- bells ---------------------------------------------------------------------------------------------------- */

void doorbell_name(char ret[static DOORBELL_NAME_BYTES], ino_t inode, uint32_t slot) {
    snprintf(ret, DOORBELL_NAME_BYTES, "@%" PRIx64 "-%" PRIu32, (uint64_t)inode, slot);
}

static void ring_doorbell(struct topic *topic, struct subscriber_slot *subscriber, uint32_t slot) {
    if (load_acquire(&subscriber->doorbell) != DOORBELL_ARMED)
        return;
    char name[DOORBELL_NAME_BYTES];
    doorbell_name(name, topic->inode, slot);
    int fd = openat(topic->directory.fd, name, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC); /* no SIGPIPE */
    if (fd < 0)
        return;
    POINT(doorbell_not_rung);
    (void)!write(fd, "", 1); /* full: it has been rung often enough */
    close(fd);
}

/* But for monitors' and keepers', which have bells of their own. */
static void ring_doorbells(struct topic *topic) {
    if (!load_relaxed(&topic->roster.header->doorbells))
        return;
    uint32_t slots = roster_subscriber_slots(&topic->roster);
    for (uint32_t slot = 0; slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        uint32_t role = subscriber ? load_relaxed(&subscriber->role) : ROLE_PLAIN;
        if (subscriber && role != ROLE_MONITOR && role != ROLE_KEEPER)
            ring_doorbell(topic, subscriber, slot);
    }
}

void topic_wake(struct topic *topic) {
    if (!bell_win(&topic->roster.header->bell))
        return;
    POINT(bell_won);
    os_futex_wake_all(&topic->roster.header->bell);
    ring_doorbells(topic);
}

void topic_wake_subscriber(struct topic *topic, uint32_t slot) {
    struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
    if (!subscriber || !bell_win(&subscriber->bell))
        return;
    POINT(own_bell_won);
    /* killed here: it finds what there is in its slice, as with the topic's bell */
    os_futex_wake_all(&subscriber->bell);
    ring_doorbell(topic, subscriber, slot);
}

static void count_change(struct topic *topic) {
    atomic_fetch_add_explicit(&topic->roster.header->changes, 1, memory_order_seq_cst); /* R1 */
    POINT(change_counted);
    full_fence(); /* B1 */
}

void topic_ring_for(struct topic *topic, uint32_t subscriber) {
    count_change(topic);
    topic_wake_subscriber(topic, subscriber);
}

void topic_ring(struct topic *topic) {
    count_change(topic);
    topic_wake(topic);
    if (topic_pattern(topic) != PATTERN_SERVICE && !load_relaxed(&topic->roster.header->monitors))
        return;
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++)
        topic_wake_subscriber(topic, slot);
}

void topic_ring_keepers(struct topic *topic) {
    full_fence(); /* B1 */
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        if (subscriber && load_relaxed(&subscriber->role) == ROLE_KEEPER)
            topic_wake_subscriber(topic, slot);
    }
}

/* ---- remotes -------------------------------------------------------------------------------------------------- */

typedef int open_remote(struct remote *ret, struct publisher_slot *publisher, uint32_t slot, uint16_t incarnation);

static int find_remote(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                       uint16_t incarnation, open_remote *open) {
    for (struct remote *remote = topic->remotes; remote; remote = remote->next)
        if (remote->slot == slot && remote->incarnation == incarnation) {
            remote->users++;
            *ret = remote;
            return 0;
        }
    struct remote *remote = malloc(sizeof(*remote));
    if (!remote)
        return -ENOMEM;
    int error = open(remote, publisher, slot, incarnation);
    if (error) {
        free(remote);
        return error;
    }
    remote->users = 1;
    remote->next = topic->remotes;
    topic->remotes = remote;
    *ret = remote;
    return 0;
}

int topic_remote(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                 uint16_t incarnation) {
    return find_remote(topic, ret, publisher, slot, incarnation, remote_open);
}

int topic_remote_in_part(struct topic *topic, struct remote **ret, struct publisher_slot *publisher, uint32_t slot,
                         uint16_t incarnation) {
    return find_remote(topic, ret, publisher, slot, incarnation, remote_open_in_part);
}

void topic_remote_drop(struct topic *topic, struct remote *remote) {
    if (--remote->users > 0)
        return;
    for (struct remote **link = &topic->remotes; *link; link = &(*link)->next)
        if (*link == remote) {
            *link = remote->next;
            break;
        }
    remote_close(remote);
    free(remote);
}
