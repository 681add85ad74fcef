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

static bool is_command(const char *name) {
    const char *path = getenv("PATH");
    if (strchr(name, '/') || !path)
        return is_program(name);
    for (const char *at = path, *end; *at; at = *end ? end + 1 : end) {
        char file[4096];
        end = at + strcspn(at, ":");
        int length = snprintf(file, sizeof(file), "%.*s/%s", end > at ? (int)(end - at) : 1, end > at ? at : ".", name);
        if (length > 0 && (size_t)length < sizeof(file) && is_program(file))
            return true;
    }
    return false;
}

bool command_is_there(const char *name) {
    if (is_command(name))
        return true;
    say("there is no command '%s'%s", name, strchr(name, '/') ? "" : " in the directories of PATH");
    return false;
}
