/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Whether there is a command, for the verbs that run one: a mistyped name is found before anybody asks for anything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static bool is_program(const char *file) {
    struct stat state;
    return stat(file, &state) == 0 && S_ISREG(state.st_mode) && access(file, X_OK) == 0;
}

#define PATH_OF_EXECVP "/bin:/usr/bin" /* where there is no PATH */

/* In PATH nothing stands for the working directory: also at its end, and where that is all. */
static bool is_command(const char *name) {
    const char *path = getenv("PATH");
    if (strchr(name, '/'))
        return is_program(name);
    for (const char *at = path ? path : PATH_OF_EXECVP;; at++) {
        char file[4096];
        int bytes = (int)strcspn(at, ":");
        int length = snprintf(file, sizeof(file), "%.*s/%s", bytes ? bytes : 1, bytes ? at : ".", name);
        if (length > 0 && (size_t)length < sizeof(file) && is_program(file))
            return true;
        at += bytes;
        if (!*at)
            return false;
    }
}

bool command_is_there(const char *name) {
    if (is_command(name))
        return true;
    say("there is no command '%s'%s", name, strchr(name, '/') ? "" : " in the directories of PATH");
    return false;
}
