/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The C side of test_c.py: a struct that Python has as a dataclass. peer send: sends one; peer show: prints one that
 * comes.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <tarn.h>

struct pose {
    int64_t stamp;
    struct {
        double x, y;
    } place;
    float turn[3];
    bool fixed;
    uint16_t quality;
};

static int failed(void) {
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}

static int send(const tarn_type *type) {
    tarn_publisher_options options = {.struct_bytes = sizeof(options), .type = type, .linger_ns = 10000000000};
    tarn_publisher *publisher;
    struct pose pose = {.stamp = 7, .place = {1.5, -2}, .turn = {1, 2, 3}, .fixed = true, .quality = 9};
    if (tarn_publisher_open(&publisher, "pose", &options) < 0 ||
        tarn_publisher_publish(publisher, &pose, sizeof(pose)) < 0)
        return failed();
    return tarn_publisher_close(publisher) != 0;
}

static int show(const tarn_type *type) {
    tarn_subscriber_options options = {.struct_bytes = sizeof(options), .type = type};
    tarn_subscriber *subscriber;
    tarn_message message;
    if (tarn_subscriber_open(&subscriber, "pose", &options) < 0)
        return failed();
    printf("ready\n");
    fflush(stdout);
    if (tarn_subscriber_receive(subscriber, &message, 20000000000) != 1)
        return failed();
    const struct pose *pose = message.data;
    printf("%lld %g %g %g %g %g %d %d\n", (long long)pose->stamp, pose->place.x, pose->place.y, (double)pose->turn[0],
           (double)pose->turn[1], (double)pose->turn[2], pose->fixed, pose->quality);
    tarn_message_release(&message);
    return tarn_subscriber_close(subscriber) != 0;
}

int main(int argc, char **argv) {
    tarn_type type = {.struct_bytes = sizeof(type), .name = "Pose", .bytes = sizeof(struct pose)};
    return argc > 1 && strcmp(argv[1], "send") == 0 ? send(&type) : show(&type);
}
