/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See inspect.h. */
#include "core/inspect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "base/process.h"
#include "base/status.h"
#include "core/reaper.h"
#include "core/roles.h"
#include "core/topic.h"
#include "core/type.h"
#include "shm/log.h"

/* ---- files of a domain ---------------------------------------------------------------------------------------- */

typedef int each_file(void *context, struct topic *topic, const char *file);

/* Calls visit for each topic file, with a topic that has name, directory, file, device and inode, but no roster. */
static int for_each_file(const struct directory *directory, each_file *visit, void *context) {
    DIR *entries = directory_entries(directory);
    struct topic *topic = calloc(1, sizeof(*topic));
    if (!entries || !topic) {
        int error = errno;
        if (entries)
            closedir(entries);
        free(topic);
        return fail_system(TARN_ERROR_DIRECTORY, error, "cannot list %s", directory->path);
    }
    int status = 0;
    for (struct dirent *entry; status == 0 && (entry = readdir(entries));) {
        memset(topic, 0, sizeof(*topic));
        if (!topic_name_of_file(topic->name, entry->d_name))
            continue;
        topic->directory = *directory;
        status = visit(context, topic, entry->d_name);
    }
    closedir(entries);
    free(topic);
    return status;
}

/* Opens the file of a topic from for_each_file. 0; 1: it is gone; or a status. */
static int open_file(struct topic *topic, const char *file) {
    int status = topic_file_open(&topic->directory, file, topic->name, false, &topic->fd);
    if (status == 0 && topic_file_identify(topic) != 0) {
        status = fail_system(TARN_ERROR_SYSTEM, errno, "topic \"%s\": cannot look at its file", topic->name);
        close(topic->fd);
    }
    return status;
}

/* ---- looking -------------------------------------------------------------------------------------------------- */

static bool add_participant(struct inspect_topic *view, const struct inspect_participant *participant) {
    if ((view->participant_count & (view->participant_count + 1)) == 0) {
        size_t capacity = 2 * (size_t)view->participant_count + 1;
        struct inspect_participant *list = realloc(view->participants, capacity * sizeof(*list));
        if (!list)
            return false;
        view->participants = list;
    }
    view->participants[view->participant_count++] = *participant;
    return true;
}

static void describe(struct inspect_participant *ret, const struct identity *who) {
    ret->pid = who->pid;
    ret->same_pid_namespace = os_numbers_alike(who->namespaces);
    ret->uid = who->uid;
    ret->opened_ns = who->opened_ns;
    memcpy(ret->command, who->command, sizeof(ret->command));
    ret->command[sizeof(ret->command) - 1] = 0;
}

/* What the first segment's header says for tools. */
static void describe_log(struct inspect_participant *ret, struct publisher_slot *publisher) {
    struct segment_ref *ref = &publisher->segment;
    uint64_t bytes = load_relaxed(&ref->bytes), nonce = load_relaxed(&ref->nonce);
    void *base;
    if (load_acquire(&ref->backend) != BACKEND_SYSV || bytes < sizeof(struct segment_header) ||
        segment_attach(&base, load_relaxed(&ref->id), bytes, false) != 0)
        return;
    struct segment_header *header = base;
    if (segment_header_is_sound(header, nonce, 0, bytes)) {
        ret->messages = load_relaxed(&header->sent);
        ret->bytes_held = load_relaxed(&header->bytes_held);
    }
    segment_detach(base);
}

static enum inspect_life life_of(struct topic *topic, enum slot_kind kind, uint32_t slot, uint32_t state) {
    if (state == SLOT_LEAVING && kind == PUBLISHER)
        return INSPECT_LEFT;
    if (slot_is_dead(topic, kind, slot, true))
        return INSPECT_DEAD;
    return state == SLOT_LEAVING ? INSPECT_LEFT : INSPECT_ALIVE;
}

static bool view_publishers(struct inspect_topic *view, struct topic *topic) {
    uint32_t role = role_of(topic_pattern(topic), PUBLISHER, 0);
    for (uint32_t slot = 0, slots = roster_publisher_slots(&topic->roster); slot < slots; slot++) {
        struct publisher_slot *publisher = roster_publisher(&topic->roster, slot);
        uint32_t state = publisher ? load_acquire(&publisher->state) : SLOT_FREE;
        if (state == SLOT_FREE)
            continue;
        struct inspect_participant participant = {.publisher = true, .slot = slot, .identity = publisher->who.number};
        participant.role = role ? tarn_role_text(role) : "log";
        participant.life = life_of(topic, PUBLISHER, slot, state);
        if (state == SLOT_OPENING && participant.life == INSPECT_ALIVE)
            continue; /* it does not say yet who it is */
        describe(&participant, &publisher->who);
        describe_log(&participant, publisher);
        view->publishers += role && participant.life == INSPECT_ALIVE;
        if (!add_participant(view, &participant))
            return false;
    }
    return true;
}

static bool view_subscribers(struct inspect_topic *view, struct topic *topic) {
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++) {
        struct subscriber_slot *subscriber = roster_subscriber(&topic->roster, slot);
        uint32_t state = subscriber ? load_acquire(&subscriber->state) : SLOT_FREE;
        if (state == SLOT_FREE)
            continue;
        struct inspect_participant participant = {
            .slot = slot,
            .reliable = load_relaxed(&subscriber->reliable),
            .messages = load_relaxed(&subscriber->taken),
            .lost = load_relaxed(&subscriber->lost),
        };
        uint32_t role = role_of(topic_pattern(topic), SUBSCRIBER, load_relaxed(&subscriber->role));
        participant.role = tarn_role_text(role);
        participant.life = life_of(topic, SUBSCRIBER, slot, state);
        if (state == SLOT_OPENING && participant.life == INSPECT_ALIVE)
            continue;
        describe(&participant, &subscriber->who);
        *(role == TARN_ROLE_MONITOR ? &view->monitors : &view->subscribers) += participant.life == INSPECT_ALIVE;
        if (!add_participant(view, &participant))
            return false;
    }
    return true;
}

static const char *pattern_name(enum pattern pattern) {
    static const char *const names[] = {
        [PATTERN_MESSAGES] = "messages",     [PATTERN_SERVICE] = "service", [PATTERN_EVENTS] = "events",
        [PATTERN_BLACKBOARD] = "blackboard", [PATTERN_QUEUE] = "queue",
    };
    return (uint32_t)pattern < sizeof(names) / sizeof(names[0]) ? names[pattern] : NULL;
}

static const char *attach_problem(int error) {
    switch (error) {
    case -EINVAL:
        return "its memory is not found: it is used in another IPC namespace";
    case -EPROTO:
        return "it has another memory layout";
    case -EACCES:
    case -EPERM:
        return "this user may not attach its memory";
    default:
        return "its memory cannot be attached";
    }
}

static bool view_roster(struct inspect_topic *view, struct topic *topic) {
    struct topic_header header;
    enum topic_header_state state = topic_header_read(&header, topic->fd);
    view->in_use = topic_file_in_use(topic->fd);
    if (!view->in_use)
        return true;
    if (state == HEADER_OTHER_LAYOUT)
        view->problem = attach_problem(-EPROTO);
    else if (state != HEADER_SOUND)
        view->problem = "its file is damaged";
    int error = view->problem ? 0 : roster_attach(&topic->roster, &header.roster, &topic->directory.access, false);
    if (error)
        view->problem = attach_problem(error);
    if (view->problem)
        return true;
    struct type_text type;
    if (type_read(&topic->roster, &type)) {
        memcpy(view->type_name, type.name, sizeof(view->type_name));
        memcpy(view->type_encoding, type.encoding, sizeof(view->type_encoding));
        view->type_bytes = type.bytes;
    }
    view->pattern = pattern_name(topic_pattern(topic));
    bool done = view_publishers(view, topic) && view_subscribers(view, topic);
    roster_detach(&topic->roster);
    return done;
}

static int view_topic(void *context, struct topic *topic, const char *file) {
    struct inspect_domain *domain = context;
    struct inspect_topic *topics = realloc(domain->topics, (domain->topic_count + 1) * sizeof(*topics));
    if (!topics)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a list of topics");
    domain->topics = topics;
    struct inspect_topic *view = &topics[domain->topic_count];
    memset(view, 0, sizeof(*view));
    strcpy(view->name, topic->name);
    int status = open_file(topic, file);
    if (status == 1)
        return 0;
    domain->topic_count++;
    if (status < 0) {
        view->problem = status == TARN_ERROR_PERMISSION ? "this user may not open its file" : "its file cannot be used";
        return 0;
    }
    bool done = view_roster(view, topic);
    close(topic->fd);
    return done ? 0 : fail(TARN_ERROR_NO_MEMORY, "no memory for a list of participants");
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct inspect_topic *)a)->name, ((const struct inspect_topic *)b)->name);
}

int inspect_domain_open(struct inspect_domain **ret, const char *directory_path, const char *domain_name) {
    struct inspect_domain *domain = calloc(1, sizeof(*domain));
    struct directory directory;
    if (!domain)
        return fail(TARN_ERROR_NO_MEMORY, "no memory for a list of topics");
    int status = directory_open(&directory, directory_path, domain_name, false);
    if (status >= 0)
        memcpy(domain->path, directory.path, sizeof(domain->path));
    if (status == 0) {
        process_lock();
        status = for_each_file(&directory, view_topic, domain);
        process_unlock();
        directory_close(&directory);
    }
    if (status < 0) {
        inspect_domain_close(domain);
        return status;
    }
    if (domain->topic_count)
        qsort(domain->topics, domain->topic_count, sizeof(*domain->topics), by_name);
    *ret = domain;
    return 0;
}

void inspect_domain_close(struct inspect_domain *domain) {
    if (!domain)
        return;
    for (uint32_t i = 0; i < domain->topic_count; i++)
        free(domain->topics[i].participants);
    free(domain->topics);
    free(domain);
}

/* ---- sweeping ------------------------------------------------------------------------------------------------- */

/* Repairs the dead of a topic that is alive. */
static void repair_slots(struct inspect_sweep *sweep, struct topic *topic) {
    struct topic_header header;
    if (topic_header_read(&header, topic->fd) != HEADER_SOUND ||
        roster_attach(&topic->roster, &header.roster, &topic->directory.access, true) != 0)
        return;
    for (uint32_t slot = 0, slots = roster_publisher_slots(&topic->roster); slot < slots; slot++)
        sweep->slots_repaired += slot_reap(topic, PUBLISHER, slot, true);
    for (uint32_t slot = 0, slots = roster_subscriber_slots(&topic->roster); slot < slots; slot++)
        sweep->slots_repaired += slot_reap(topic, SUBSCRIBER, slot, true);
    roster_detach(&topic->roster);
}

static uint32_t count_doorbells(const struct topic *topic) {
    char prefix[DOORBELL_NAME_BYTES];
    int length = snprintf(prefix, sizeof(prefix), "@%" PRIx64 "-", (uint64_t)topic->inode);
    DIR *entries = directory_entries(&topic->directory);
    uint32_t count = 0;
    if (!entries)
        return 0;
    for (struct dirent *entry; (entry = readdir(entries));)
        count += strncmp(entry->d_name, prefix, (size_t)length) == 0;
    closedir(entries);
    return count;
}

static int sweep_topic(void *context, struct topic *topic, const char *file) {
    struct inspect_sweep *sweep = context;
    int status = open_file(topic, file);
    if (status) {
        sweep->topics_failed += status < 0;
        return 0;
    }
    uint32_t doorbells = count_doorbells(topic);
    if (topic_file_in_use(topic->fd))
        repair_slots(sweep, topic);
    else if ((status = topic_file_sweep(&topic->directory, file, topic->fd)) == 1) {
        sweep->topics_removed++;
    } else {
        sweep->topics_busy += status == TARN_ERROR_BUSY;
        sweep->topics_failed += status < 0 && status != TARN_ERROR_BUSY;
    }
    sweep->doorbells_removed += doorbells - count_doorbells(topic);
    close(topic->fd);
    return 0;
}

/* Doorbells of topic files that are there no more: their inode is nobody's. */
static void sweep_doorbells(struct inspect_sweep *sweep, const struct directory *directory) {
    DIR *entries = directory_entries(directory);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        uint64_t inode;
        bool owned = false;
        if (entry->d_name[0] != '@' || sscanf(entry->d_name, "@%" SCNx64 "-", &inode) != 1)
            continue;
        DIR *others = directory_entries(directory);
        for (struct dirent *other; others && (other = readdir(others));)
            owned |= other->d_ino == inode && other->d_name[0] != '@';
        if (!others || owned) {
            if (others)
                closedir(others);
            continue;
        }
        closedir(others);
        sweep->doorbells_removed += unlinkat(directory->fd, entry->d_name, 0) == 0;
    }
    closedir(entries);
}

int inspect_sweep(struct inspect_sweep *ret, const char *directory_path, const char *domain_name) {
    struct directory directory;
    memset(ret, 0, sizeof(*ret));
    int status = process_enter();
    if (!status)
        status = directory_open(&directory, directory_path, domain_name, false);
    if (status)
        return status == 1 ? 0 : status;
    process_lock();
    status = for_each_file(&directory, sweep_topic, ret);
    if (status == 0)
        sweep_doorbells(ret, &directory);
    directory_sweep_unfinished(&directory);
    process_unlock();
    directory_close(&directory);
    return status;
}
