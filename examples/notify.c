/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Raises an event: its argument is the number of a door. With a second argument it dies then, which raises another. */
#include <stdio.h>
#include <stdlib.h>
#include <tarn.h>
#include <unistd.h>

int main(int argc, char **argv) {
    tarn_notifier *notifier;
    tarn_notifier_options options = {.struct_bytes = sizeof(options), .death_event = 100 + 1};
    if (tarn_notifier_open(&notifier, "doors", &options) < 0 ||
        tarn_notifier_notify(notifier, argc > 1 ? (uint32_t)atoi(argv[1]) : 0) < 0) {
        fprintf(stderr, "%s\n", tarn_error());
        return 1;
    }
    if (argc > 2)
        _exit(1); /* without closing */
    return tarn_notifier_close(notifier) != 0;
}
