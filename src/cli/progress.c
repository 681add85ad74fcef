/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* One line on stderr, if that is a terminal and the work takes longer than two seconds, five times a second. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

enum { FIRST_MS = 2000, EVERY_MS = 200 };

const char *human_bytes(uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    static char text[32];
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1023.95 && unit < 6; unit++) /* what would round to 1024.0 */
        value /= 1024;
    snprintf(text, sizeof(text), unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return text;
}

void progress_start(struct progress *progress, bool quiet) {
    int64_t now = clock_ns();
    *progress = (struct progress){
        .on = !quiet && isatty(STDERR_FILENO), .next_ns = now + FIRST_MS * NS_PER_MS, .shown_ns = now};
}

void progress_tick(struct progress *progress) {
    if (!progress->on)
        return;
    int64_t now = clock_ns();
    if (now < progress->next_ns)
        return;
    double rate = (double)(progress->bytes - progress->shown_bytes) * 1e9 / (double)(now - progress->shown_ns);
    fprintf(stderr, "\r\033[K%" PRIu64 " messages, %s", progress->messages, human_bytes(progress->bytes));
    fprintf(stderr, ", %s/s", human_bytes((uint64_t)rate));
    progress->shown_bytes = progress->bytes;
    progress->shown_ns = now;
    progress->next_ns = now + EVERY_MS * NS_PER_MS;
    progress->visible = true;
}

void progress_clear(struct progress *progress) {
    if (progress->visible)
        fprintf(stderr, "\r\033[K");
    progress->visible = false;
}
