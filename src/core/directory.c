/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* See directory.h. */
#include "core/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/os.h"
#include "base/status.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

#define SHARED_DIRECTORY "/run/tarn"
#define UNFINISHED "@new-" /* and a number: a domain in the making */
#define MAKE_TRIES 16

/* ---- names ---------------------------------------------------------------------------------------------------- */

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
}

/* Why a name is none, or NULL. */
static const char *name_problem(const char *name, bool slashes) {
    size_t length = strnlen(name, TARN_TOPIC_BYTES_MAX + 1);
    if (length == 0)
        return "it is empty";
    if (length > TARN_TOPIC_BYTES_MAX)
        return "it is longer than 255 bytes";
    if (name[0] == '/')
        return "it starts with '/': leave that slash out (tarn topics have none, unlike those of ROS)";
    if (name[length - 1] == '/')
        return "it ends with '/'";
    size_t segment = 0;
    for (size_t i = 0; i <= length; i++) {
        if (i < length && name[i] != '/') {
            if (!is_name_byte(name[i]))
                return "only letters, digits, '_', '-', '.' and single slashes are allowed";
            continue;
        }
        size_t bytes = i - segment;
        if (bytes == 0)
            return "it has two slashes in a row";
        if (strncmp(name + segment, "..", bytes) == 0 && bytes <= 2)
            return "a segment is '.' or '..'";
        if (i < length && !slashes)
            return "a domain is a single segment, without slashes";
        segment = i + 1;
    }
    return NULL;
}

/* Only printable bytes of a name that may be anything, cut to what a sentence bears. */
static const char *printable(char *buffer, size_t bytes, const char *name) {
    size_t i = 0;
    for (; name[i] && i + 4 < bytes; i++)
        buffer[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    memcpy(buffer + i, name[i] ? "..." : "", name[i] ? 4 : 1);
    return buffer;
}

int topic_name_check(const char *topic) {
    if (!topic)
        return fail(TARN_ERROR_ARGUMENT, "the topic name is NULL");
    const char *problem = name_problem(topic, true);
    char shown[80];
    if (problem)
        return fail(TARN_ERROR_TOPIC_NAME, "\"%s\" is not a topic name: %s", printable(shown, sizeof(shown), topic),
                    problem);
    return 0;
}

void topic_file_name(char ret[static TARN_TOPIC_BYTES_MAX + 1], const char *topic) {
    size_t i = 0;
    for (; topic[i]; i++)
        ret[i] = topic[i] == '/' ? '+' : topic[i];
    ret[i] = 0;
}

bool topic_name_of_file(char ret[static TARN_TOPIC_BYTES_MAX + 1], const char *file) {
    size_t i = 0;
    for (; file[i] && i < TARN_TOPIC_BYTES_MAX; i++)
        ret[i] = file[i] == '+' ? '/' : file[i];
    ret[i] = 0;
    return !file[i] && !strchr(file, '/') && !name_problem(ret, true);
}

/* ---- the base directory --------------------------------------------------------------------------------------- */

static int refuse_directory(int error, const char *path) {
    struct stat state;
    if ((error == EACCES || error == EPERM) && stat(path, &state) == 0) {
        struct group *group = getgrgid(state.st_gid);
        return fail(
            TARN_ERROR_PERMISSION,
            "%s may not be used by this user: its group is %s (%u), mode %04o; join that group, or choose another "
            "directory with TARN_DIR",
            path, group ? group->gr_name : "unnamed", (unsigned)state.st_gid, (unsigned)(state.st_mode & 07777));
    }
    if (error == ENOENT || error == ENOTDIR)
        return fail(TARN_ERROR_DIRECTORY, "cannot use the topic directory %s: %s; choose another with TARN_DIR", path,
                    error == ENOENT ? "what it would be in is not there" : "it, or what it is in, is no directory");
    return fail_system(error == EACCES || error == EPERM ? TARN_ERROR_PERMISSION
                       : error == EMFILE || error == ENFILE || error == ENOSPC || error == EDQUOT
                           ? TARN_ERROR_LIMIT
                           : TARN_ERROR_DIRECTORY,
                       error, "cannot use the topic directory %s", path);
}

void directory_undo_umask(int directory, const char *name, mode_t type, mode_t mode) {
    char path[32];
    struct stat state;
    int fd = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fchmod() refuses such descriptors */
    if (fstat(fd, &state) == 0 && (state.st_mode & S_IFMT) == type && state.st_uid == geteuid() &&
        (state.st_mode & mode) != mode)
        fchmodat(AT_FDCWD, path, mode, 0);
    close(fd);
}

static int open_directory_at(int parent, const char *name, const char *shown, bool follow, int *ret_fd) {
    *ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    if (*ret_fd >= 0)
        return 0;
    if (errno == ENOENT)
        return 1;
    if (errno == ELOOP || (errno == ENOTDIR && !follow))
        return fail(TARN_ERROR_DIRECTORY, "%s is not a directory (or a symbolic link): not trusted, remove it", shown);
    return refuse_directory(errno, shown);
}

/* /tmp/tarn-<uid>: anyone could have made it before us, so it must be ours, and closed to others. */
static int check_private(const struct stat *state, const char *path) {
    if (state->st_uid == geteuid() && (state->st_mode & 077) == 0)
        return 0;
    return fail(TARN_ERROR_DIRECTORY,
                "%s is not private to this user (owner %u, mode %04o): somebody else may have made it; remove it, or "
                "choose another directory with TARN_DIR",
                path, (unsigned)state->st_uid, (unsigned)(state->st_mode & 07777));
}

/* Where we look, and whether an administrator or the user chose it (else it is the private default). */
static int choose_base(char *ret_path, size_t bytes, const char *directory, bool *ret_chosen) {
    const char *chosen = directory && directory[0] ? directory : secure_getenv("TARN_DIR");
    struct stat state;
    int length;
    *ret_chosen = true;
    if (chosen && chosen[0])
        length = snprintf(ret_path, bytes, "%s", chosen);
    else if (stat(SHARED_DIRECTORY, &state) == 0 || errno == EACCES)
        length = snprintf(ret_path, bytes, SHARED_DIRECTORY);
    else {
        *ret_chosen = false;
        length = snprintf(ret_path, bytes, "/tmp/tarn-%u", (unsigned)geteuid());
    }
    if (length < 0 || (size_t)length >= bytes - TARN_TOPIC_BYTES_MAX - 2)
        return fail(TARN_ERROR_DIRECTORY, "the topic directory's path is too long");
    return 0;
}

static int open_base(char *ret_path, size_t bytes, const char *directory, bool create, int *ret_fd) {
    bool chosen;
    int status = choose_base(ret_path, bytes, directory, &chosen);
    if (status)
        return status;
    struct stat state;
    if (!chosen && lstat(ret_path, &state) == 0 && S_ISDIR(state.st_mode) &&
        (status = check_private(&state, ret_path)) != 0)
        return status; /* one that may not even be opened, too */
    status = open_directory_at(AT_FDCWD, ret_path, ret_path, chosen, ret_fd);
    if (status == 1 && create) {
        if (mkdir(ret_path, 0700) == 0)
            directory_undo_umask(AT_FDCWD, ret_path, S_IFDIR, 0700);
        else if (errno != EEXIST)
            return refuse_directory(errno, ret_path);
        status = open_directory_at(AT_FDCWD, ret_path, ret_path, chosen, ret_fd);
    }
    if (status == 0 && !chosen) {
        status = fstat(*ret_fd, &state) == 0 ? check_private(&state, ret_path) : refuse_directory(errno, ret_path);
        if (status)
            close(*ret_fd);
    }
    return status;
}

/* ---- the domain's directory ----------------------------------------------------------------------------------- */

/* Gives a directory the base's permissions and group, whatever the umask. */
static int dress_domain(int base, const struct stat *base_state, const char *name, const char *shown) {
    int fd;
    struct stat state;
    directory_undo_umask(base, name, S_IFDIR, 0700);
    int status = open_directory_at(base, name, shown, false, &fd);
    if (status)
        return status;
    if (fstat(fd, &state) == 0 && state.st_gid != base_state->st_gid)
        (void)!fchown(fd, (uid_t)-1, base_state->st_gid); /* who is not of that group shares with his own */
    if (fchmod(fd, base_state->st_mode & 03777) != 0)
        status = refuse_directory(errno, shown);
    close(fd);
    return status;
}

static DIR *entries_at(int parent, const char *name) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries && fd >= 0)
        close(fd);
    return entries;
}

/* Removes directories in the making that somebody who died has left. Who is not dead makes another. */
static void sweep_unfinished(int parent, const char *base) {
    DIR *entries = entries_at(parent, base);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));)
        if (strncmp(entry->d_name, UNFINISHED, strlen(UNFINISHED)) == 0)
            unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
    closedir(entries);
}

/* Makes <base>/<domain>: under another name first, so that nobody finds it with permissions that it will not have. */
static int try_to_make_domain(int base, const struct stat *base_state, const char *domain, const char *shown) {
    char name[32];
    snprintf(name, sizeof(name), UNFINISHED "%016llx", (unsigned long long)os_random());
    if (mkdirat(base, name, 0700) != 0)
        return refuse_directory(errno, shown);
    /* killed here: an empty directory of no meaning, which whoever makes the next one sweeps */
    int status = dress_domain(base, base_state, name, shown);
    if (!status && syscall(SYS_renameat2, base, name, base, domain, RENAME_NOREPLACE) == 0)
        return 0;
    int error = status ? 0 : errno;
    if (unlinkat(base, name, AT_REMOVEDIR) != 0 && errno == ENOENT && (status == 1 || error == ENOENT))
        return 1; /* somebody swept it */
    if (status || error == EEXIST)
        return status;
    if (error != EINVAL && error != ENOSYS)
        return refuse_directory(error, shown);
    if (mkdirat(base, domain, 0700) != 0) /* a file system that cannot: then without that nicety */
        return errno == EEXIST ? 0 : refuse_directory(errno, shown);
    return dress_domain(base, base_state, domain, shown);
}

static int make_domain(int base, const struct stat *base_state, const char *domain, const char *shown) {
    sweep_unfinished(base, ".");
    for (int tries = 0; tries < MAKE_TRIES; tries++) {
        int status = try_to_make_domain(base, base_state, domain, shown);
        if (status != 1)
            return status;
    }
    return fail(TARN_ERROR_DIRECTORY, "%s was removed under way, again and again", shown);
}

/* In a directory where anyone may create files, a domain of some third user is a trap. */
static int check_domain(int fd, const struct stat *base, const char *shown, struct stat *ret) {
    if (fstat(fd, ret) != 0)
        return refuse_directory(errno, shown);
    if ((base->st_mode & 0002) && ret->st_uid != geteuid() && ret->st_uid != base->st_uid && ret->st_uid != 0)
        return fail(TARN_ERROR_DIRECTORY, "%s belongs to user %u, in a directory where anyone may make it: not trusted",
                    shown, (unsigned)ret->st_uid);
    return 0;
}

static int open_domain(struct directory *ret, int base, const char *domain, bool create) {
    struct stat base_state, state;
    if (fstat(base, &base_state) != 0)
        return refuse_directory(errno, ret->path);
    size_t length = strlen(ret->path);
    snprintf(ret->path + length, sizeof(ret->path) - length, "/%s", domain);
    int status = open_directory_at(base, domain, ret->path, false, &ret->fd);
    if (status == 1 && create) {
        status = make_domain(base, &base_state, domain, ret->path);
        if (status == 0)
            status = open_directory_at(base, domain, ret->path, false, &ret->fd);
    }
    if (status)
        return status == 1 && create ? fail(TARN_ERROR_DIRECTORY, "%s was removed under way", ret->path) : status;
    status = check_domain(ret->fd, &base_state, ret->path, &state);
    if (status) {
        close(ret->fd);
        return status;
    }
    ret->access = (struct segment_access){.group = state.st_gid, .directory_mode = state.st_mode & 0777};
    return 0;
}

int directory_open(struct directory *ret, const char *directory, const char *domain, bool create) {
    if (!domain || !domain[0])
        domain = secure_getenv("TARN_DOMAIN");
    if (!domain || !domain[0])
        domain = "default";
    const char *problem = name_problem(domain, false);
    char shown[80];
    if (problem)
        return fail(TARN_ERROR_TOPIC_NAME, "\"%s\" is not a domain name: %s", printable(shown, sizeof(shown), domain),
                    problem);
    int base;
    int status = open_base(ret->path, sizeof(ret->path), directory, create, &base);
    if (status == 1) { /* so that tools can say where they looked */
        size_t length = strlen(ret->path);
        snprintf(ret->path + length, sizeof(ret->path) - length, "/%s", domain);
    }
    if (status)
        return status == 1 && create ? fail(TARN_ERROR_DIRECTORY, "the directory %s cannot be made", ret->path)
                                     : status;
    status = open_domain(ret, base, domain, create);
    close(base);
    if (status == 0)
        flock(ret->fd,
              LOCK_SH | LOCK_NB); /* a cleaner at work has it exclusively for a moment: it spares what it sees used */
    return status;
}

void directory_close(struct directory *directory) {
    close(directory->fd);
}

DIR *directory_entries(const struct directory *directory) {
    return entries_at(directory->fd, ".");
}

void directory_sweep_unfinished(const struct directory *directory) {
    sweep_unfinished(directory->fd, "..");
}
