/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Waits for a door: "events 3" raises event 3, "events 3 die" dies after that, "events" prints what happens. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <tarn.h>
#include <unistd.h>

#define DIED 100

static int failed(void) {
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}

static int raise_event(uint32_t door, int dies) {
    tarn_notifier *notifier;
    tarn_notifier_options options = {.struct_bytes = sizeof(options), .death_event = DIED + 1};
    if (tarn_notifier_open(&notifier, "doors", &options) < 0 || tarn_notifier_notify(notifier, door) < 0)
        return failed();
    if (dies /* without closing */)
        _exit(1);
    return tarn_notifier_close(notifier) != 0;
}

int main(int argc, char **argv) {
    tarn_listener *listener;
    tarn_event event;
    if (argc > 1)
        return raise_event((uint32_t)atoi(argv[1]), argc > 2);
    if (tarn_listener_open(&listener, "doors", NULL) < 0)
        return failed();
    while (tarn_listener_receive(listener, &event, TARN_FOREVER) == 1) {
        if (event.id == DIED)
            printf("somebody died\n");
        else
            printf("door %" PRIu32 ": %" PRIu64 "\n", event.id, event.count);
        fflush(stdout);
    }
    return failed();
}
