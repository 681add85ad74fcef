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
#include "core/topic.h"
#include "core/topic_master.h"
#include "core/view.h"

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

static const char *attach_problem(int error, const struct topic_header *header) {
    switch (error) {
    case -EINVAL: /* whoever is alive has it, and stray children of the dead have locks for a while */
        if (header->ipc_namespace && header->ipc_namespace == os_ipc_namespace())
            return "its memory is gone, as who had it died, or is damaged";
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

/* NULL, or why not. The topic may be made anew between our looks at its file and at its memory: then again. */
static const char *attach_roster(struct topic *topic) {
    struct topic_header header;
    int error = -EINVAL;
    for (unsigned tries = 0; tries < 3 && error == -EINVAL; tries++) {
        enum topic_header_state state = topic_header_read(&header, topic->fd);
        if (state == HEADER_OTHER_LAYOUT)
            return attach_problem(-EPROTO, &header);
        if (state != HEADER_SOUND)
            return "its file is damaged";
        error = roster_attach(&topic->roster, &header.roster, &topic->directory.access, false);
    }
    return error ? attach_problem(error, &header) : NULL;
}

/* Who dies loses its memory first, and its locks a moment later. True: it is attached. */
static bool attach_if_in_use(struct inspect_topic *view, struct topic *topic) {
    view->in_use = topic_file_in_use(topic->fd);
    const char *problem = view->in_use ? attach_roster(topic) : NULL;
    if (problem)
        view->in_use = topic_file_in_use(topic->fd);
    view->problem = view->in_use ? problem : NULL;
    return view->in_use && !problem;
}

static int say_no_memory(void) {
    return fail(TARN_ERROR_NO_MEMORY, "no memory for a list of topics and participants");
}

static bool view_roster(struct inspect_topic *view, struct topic *topic) {
    if (!attach_if_in_use(view, topic))
        return true;
    bool done = view_fill(view, topic);
    roster_detach(&topic->roster);
    return done;
}

/* Notes why a file could not be opened. */
static void view_refusal(struct inspect_topic *view, int status) {
    view->problem = status == TARN_ERROR_PERMISSION   ? "this user may not open its file"
                    : status == TARN_ERROR_TOPIC_FILE ? "what has its name is not a plain file"
                    : status == TARN_ERROR_LIMIT      ? "no file descriptor is left to open its file"
                                                      : "its file cannot be opened";
}

static int view_topic(void *context, struct topic *topic, const char *file) {
    struct inspect_domain *domain = context;
    uint32_t count = domain->topic_count;
    if ((count & (count + 1)) == 0) { /* twice as large each time */
        struct inspect_topic *topics = realloc(domain->topics, (2 * (size_t)count + 1) * sizeof(*topics));
        if (!topics)
            return say_no_memory();
        domain->topics = topics;
    }
    struct inspect_topic *view = &domain->topics[count];
    memset(view, 0, sizeof(*view));
    strcpy(view->name, topic->name);
    int status = open_file(topic, file);
    if (status == 1)
        return 0;
    domain->topic_count++;
    if (status < 0) {
        view_refusal(view, status);
        return 0;
    }
    bool done = view_roster(view, topic);
    close(topic->fd);
    return done ? 0 : say_no_memory();
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct inspect_topic *)a)->name, ((const struct inspect_topic *)b)->name);
}

int inspect_domain_open(struct inspect_domain **ret, const char *directory_path, const char *domain_name) {
    struct inspect_domain *domain = calloc(1, sizeof(*domain));
    struct directory directory;
    if (!domain)
        return say_no_memory();
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
        view_clear(&domain->topics[i]);
    free(domain->topics);
    free(domain);
}

/* ---- looking again and again ---------------------------------------------------------------------------------- */

struct inspect_watch {
    char *directory, *domain; /* as they were given; NULL: the default */
    struct topic topic;       /* its file is open, and its roster attached, if is_open */
    bool is_open;
};

int inspect_watch_open(struct inspect_watch **ret, const char *topic, const char *directory, const char *domain) {
    int status = topic_name_check(topic);
    if (status)
        return status;
    struct inspect_watch *watch = calloc(1, sizeof(*watch));
    if (watch) {
        strcpy(watch->topic.name, topic);
        watch->directory = directory ? strdup(directory) : NULL;
        watch->domain = domain ? strdup(domain) : NULL;
    }
    if (!watch || (directory && !watch->directory) || (domain && !watch->domain)) {
        inspect_watch_close(watch);
        return say_no_memory();
    }
    *ret = watch;
    return 0;
}

static void let_go(struct inspect_watch *watch) {
    if (!watch->is_open)
        return;
    roster_detach(&watch->topic.roster);
    close(watch->topic.fd);
    watch->is_open = false;
}

void inspect_watch_close(struct inspect_watch *watch) {
    if (!watch)
        return;
    let_go(watch);
    free(watch->directory);
    free(watch->domain);
    free(watch);
}

const char *inspect_watch_path(const struct inspect_watch *watch) {
    return watch->topic.directory.path;
}

void inspect_topic_free(struct inspect_topic *topic) {
    if (!topic)
        return;
    view_clear(topic);
    free(topic);
}

/* Whether what is attached is that topic yet: its file has its name, and names that roster. */
static bool is_current(struct topic *topic) {
    struct topic_header header;
    return topic_is_in_place(topic) && topic_file_in_use(topic->fd) &&
           topic_header_read(&header, topic->fd) == HEADER_SOUND && header.roster.nonce == topic->roster.nonce;
}

/* Under process_lock(), the directory being open. */
static int look(struct inspect_watch *watch, struct inspect_topic *view) {
    struct topic *topic = &watch->topic;
    if (watch->is_open && !is_current(topic))
        let_go(watch);
    if (!watch->is_open) {
        char file[TARN_TOPIC_BYTES_MAX + 1];
        topic_file_name(file, topic->name);
        int status = open_file(topic, file);
        if (status < 0)
            view_refusal(view, status);
        if (status)
            return status == 1 ? 0 : 1;
        watch->is_open = attach_if_in_use(view, topic);
        if (!watch->is_open) {
            close(topic->fd);
            return 1;
        }
    }
    view->in_use = true;
    return view_fill(view, topic) ? 1 : say_no_memory();
}

int inspect_watch_look(struct inspect_watch *watch, struct inspect_topic **ret) {
    struct inspect_topic *view = calloc(1, sizeof(*view));
    if (!view)
        return say_no_memory();
    strcpy(view->name, watch->topic.name);
    int status = directory_open(&watch->topic.directory, watch->directory, watch->domain, false);
    if (status == 0) {
        process_lock();
        status = look(watch, view);
        process_unlock();
        directory_close(&watch->topic.directory);
    } else if (status == 1) {
        let_go(watch);
        status = 0;
    }
    if (status == 1)
        *ret = view;
    else
        inspect_topic_free(view);
    return status;
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
    if (topic_file_is_foreign(topic->fd)) {
        fail(TARN_ERROR_TOPIC_FILE, "%s/%s is no topic's file, and is left alone", topic->directory.path, file);
        sweep->topics_failed++;
        close(topic->fd);
        return 0;
    }
    uint32_t doorbells = count_doorbells(topic), left;
    if (topic_file_in_use(topic->fd))
        repair_slots(sweep, topic);
    else if ((status = topic_file_sweep(&topic->directory, file, topic->fd)) == 1) {
        sweep->topics_removed++;
    } else {
        sweep->topics_busy += status == TARN_ERROR_BUSY;
        sweep->topics_failed += status < 0 && status != TARN_ERROR_BUSY;
    }
    left = count_doorbells(topic); /* some may have been made meanwhile */
    sweep->doorbells_removed += left < doorbells ? doorbells - left : 0;
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
