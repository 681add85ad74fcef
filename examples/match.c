/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Prints who joins the topic "hello", who leaves it, and who dies. */
#include <stdio.h>
#include <tarn.h>

int main(void) {
    static const char *const what[] = {
        [TARN_MATCH_JOINED] = "joined", [TARN_MATCH_LEFT] = "left", [TARN_MATCH_DIED] = "died"};
    tarn_monitor *monitor;
    tarn_match match;
    if (tarn_monitor_open(&monitor, "hello", NULL) == 0)
        while (tarn_monitor_receive(monitor, &match, TARN_FOREVER) == 1) {
            if (match.kind <= TARN_MATCH_DIED)
                printf("%s %s (pid %d) %s\n", tarn_role_text(match.role), match.command, match.pid, what[match.kind]);
            fflush(stdout);
        }
    return fprintf(stderr, "%s\n", tarn_error()) > 0;
}
