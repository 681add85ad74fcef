/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What is made in directories that others may write to. Who may be there at all is in tests/multi/permissions.c. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "core/directory.h"

static unsigned mode_of(int directory, const char *name) {
    struct stat state;
    CHECK_INT(fstatat(directory, name, &state, AT_SYMLINK_NOFOLLOW), ==, 0);
    return state.st_mode & 07777;
}

/* Only what was made here gets its mode, not what somebody has put in its place. */
TEST(modes_are_not_given_to_what_a_link_leads_to) {
    int directory = open(getenv("TARN_DIR"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(directory >= 0);
    CHECK(mkdirat(directory, "mine", 0700) == 0 && fchmodat(directory, "mine", 0500, 0) == 0);
    CHECK(symlinkat("mine", directory, "link") == 0);
    CHECK(mkfifoat(directory, "fifo", 0) == 0 && mkdirat(directory, "made", 0) == 0);
    directory_undo_umask(directory, "link", S_IFDIR, 0700);
    directory_undo_umask(directory, "mine", S_IFIFO, 0600);
    CHECK_INT(mode_of(directory, "mine"), ==, 0500);
    directory_undo_umask(directory, "fifo", S_IFIFO, 0600);
    CHECK_INT(mode_of(directory, "fifo"), ==, 0600);
    directory_undo_umask(directory, "made", S_IFDIR, 0700);
    CHECK_INT(mode_of(directory, "made"), ==, 0700);
    CHECK(unlinkat(directory, "link", 0) == 0 && unlinkat(directory, "fifo", 0) == 0);
    CHECK(unlinkat(directory, "mine", AT_REMOVEDIR) == 0 && unlinkat(directory, "made", AT_REMOVEDIR) == 0);
    close(directory);
}
