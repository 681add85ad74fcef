/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Tests of several users: who they are, and a /tmp and a /run where they meet and that the machine does not see. */
#ifndef TARN_TESTS_MULTI_USERS_H
#define TARN_TESTS_MULTI_USERS_H

#include <grp.h>
#include <sys/mount.h>

#include "common.h"

#define GROUP 4321
#define ALICE 1001
#define BOB 1002
#define STRANGER 1003

/* An own /tmp and /run; the defaults decide where topics are. */
static inline void own_root(void) {
    need_root();
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777") != 0 || mount("tmpfs", "/run", "tmpfs", 0, "mode=755") != 0)
        SKIP("no mounts of its own: %s", strerror(errno));
    unsetenv("TARN_DIR");
}

/* Has no group but its own, and the shared one if a member. */
static inline void become(uid_t uid, bool is_member) {
    gid_t group = GROUP;
    CHECK(setgroups(is_member ? 1 : 0, &group) == 0);
    CHECK(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
}

#endif
