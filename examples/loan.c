/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A struct that is never copied: it is filled where it will be read. The topic's type says what it is, so that nobody
 * takes it for something else. Both ends are here in one process; they would be the same in two.
 */
#include <stdio.h>
#include <tarn.h>

struct frame {
    uint32_t width, height;
    uint8_t pixels[1024 * 768];
};

int main(void) {
    tarn_type type = {.struct_bytes = sizeof(type), .name = "example/frame", .bytes = sizeof(struct frame)};
    tarn_publisher_options pub_options = {.struct_bytes = sizeof(pub_options), .type = &type, .alignment = 64};
    tarn_subscriber_options sub_options = {.struct_bytes = sizeof(sub_options), .type = &type};
    tarn_publisher *pub;
    tarn_subscriber *sub;
    tarn_loan loan;
    tarn_message m;
    if (tarn_publisher_open(&pub, "camera/front", &pub_options) < 0 ||
        tarn_subscriber_open(&sub, "camera/front", &sub_options) < 0 ||
        tarn_publisher_loan(pub, sizeof(struct frame), &loan) < 0)
        goto failed;
    struct frame *made = loan.data; /* not cleared: all that is sent has to be written */
    *made = (struct frame){.width = 1024, .height = 768, .pixels = {[1000] = 42}};
    if (tarn_loan_send(&loan) < 0 || tarn_subscriber_receive(sub, &m, 1000000000) != 1)
        goto failed;
    const struct frame *seen = m.data; /* read-only, and valid until it is released */
    printf("%ux%u, pixel 1000 is %d\n", seen->width, seen->height, seen->pixels[1000]);
    tarn_message_release(&m);
    tarn_subscriber_close(sub);
    return tarn_publisher_close(pub) != 0;
failed:
    fprintf(stderr, "%s\n", tarn_error());
    return 1;
}
