/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A control group of the test's own, of either version, at the top of its hierarchy. The test's own process must live
 * to remove it: what may fail runs in a child.
 */
#ifndef TARN_TESTS_MULTI_CGROUP_H
#define TARN_TESTS_MULTI_CGROUP_H

#include <mntent.h>

#include "common.h"

struct cgroup {
    char path[512];
    bool is_second; /* version 2 */
};

/* Writes a file of the group; false if that is not allowed. */
static inline bool cgroup_write(const struct cgroup *cgroup, const char *name, const char *text) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", cgroup->path, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

/* Whether that word stands in a file of the group. */
static inline bool cgroup_says(const struct cgroup *cgroup, const char *name, const char *word) {
    char path[600], line[256];
    bool found = false;
    snprintf(path, sizeof path, "%s/%s", cgroup->path, name);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = strstr(line, word) != NULL;
    if (file)
        fclose(file);
    return found;
}

static inline void cgroup_remove(const struct cgroup *cgroup) {
    for (int64_t end = now_ns() + GENEROUS; rmdir(cgroup->path) != 0; nap_ns(MS))
        if (now_ns() > end)
            FAIL("%s: %s", cgroup->path, strerror(errno));
}

/* Makes a group in that hierarchy, if such a file is in it then. */
static inline bool cgroup_make_at(struct cgroup *ret, const char *mount, bool is_second, const char *file) {
    char path[600];
    snprintf(ret->path, sizeof ret->path, "%s/tarn-test-%d", mount, (int)getpid());
    ret->is_second = is_second;
    if (mkdir(ret->path, 0755) != 0)
        return false;
    snprintf(path, sizeof path, "%s/%s", ret->path, file);
    if (access(path, W_OK) == 0)
        return true;
    rmdir(ret->path);
    return false;
}

/*
 * The file that a group has in version 2 (preferred: one that is frozen can be killed there), or of that controller in
 * 1.
 */
static inline struct cgroup cgroup_make(const char *file_2, const char *controller, const char *file_1) {
    struct cgroup ret;
    for (int version = 2; version > 0; version--) {
        bool made = false;
        FILE *mounts = setmntent("/proc/self/mounts", "re");
        CHECK(mounts);
        for (struct mntent *entry; !made && (entry = getmntent(mounts));) {
            if (version == 2 && strcmp(entry->mnt_type, "cgroup2") == 0)
                made = cgroup_make_at(&ret, entry->mnt_dir, true, file_2);
            if (version == 1 && strcmp(entry->mnt_type, "cgroup") == 0 && hasmntopt(entry, controller))
                made = cgroup_make_at(&ret, entry->mnt_dir, false, file_1);
        }
        endmntent(mounts);
        if (made)
            return ret;
    }
    SKIP("no control group with %s can be made here", controller);
}

static inline void cgroup_enter(const struct cgroup *cgroup, pid_t pid) {
    char text[16];
    snprintf(text, sizeof text, "%d", (int)pid);
    CHECK(cgroup_write(cgroup, "cgroup.procs", text));
}

#endif
