/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Where topics live: <directory>/<domain>/<topic file>. Finds, makes and checks the directory, and turns topic names
 * into file names ('/' becomes '+', which no topic name contains).
 *
 * Permissions come from the directory and never from the umask: files and segments get its permission bits and group.
 */
#ifndef TARN_CORE_DIRECTORY_H
#define TARN_CORE_DIRECTORY_H

#include <dirent.h>
#include <stdbool.h>

#include "shm/segment.h"
#include "tarn.h"

struct directory {
    char path[4096]; /* domain included */
    int fd;          /* with a shared flock, which keeps cleaners of temporary files out */
    struct segment_access access;
};

/*
 * Gives what was just made in a directory its owner's permissions, of which the umask may have taken some; but not what
 * somebody has put in its place since. type: S_IFDIR or S_IFIFO.
 */
void directory_undo_umask(int directory, const char *name, mode_t type, mode_t mode);

/* Opens (and, with create, makes) a domain's directory. Returns 0, 1 (absent, not to be created) or a status. */
int directory_open(struct directory *ret, const char *directory, const char *domain, bool create);
void directory_close(struct directory *directory);

/* A new stream over the directory's entries, for closedir(). NULL, with errno: it cannot be listed. */
DIR *directory_entries(const struct directory *directory);

/* Removes what those have left beside it who died while they made a domain. */
void directory_sweep_unfinished(const struct directory *directory);

/* 0, or TARN_ERROR_TOPIC_NAME with a sentence that helps. */
int topic_name_check(const char *topic);
void topic_file_name(char ret[static TARN_TOPIC_BYTES_MAX + 1], const char *topic);
/* The other way; false if no topic has such a file. */
bool topic_name_of_file(char ret[static TARN_TOPIC_BYTES_MAX + 1], const char *file);

#endif
