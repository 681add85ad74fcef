/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What senders sent since the look before, also of those that come, and that are missing from one. */
#include "cli/look.h"
#include "harness.h"

static struct inspect_participant senders[2];
static struct inspect_flow flows[2];
static struct inspect_topic topic = {
    .life = 1, .participant_count = 2, .participants = senders, .flow_count = 1, .flows = flows};

static void start(struct meter *meter, struct amount *amounts) {
    *meter = (struct meter){0};
    topic.life = 1;
    topic.flow_count = 1;
    for (uint32_t i = 0; i < 2; i++) {
        senders[i] = (struct inspect_participant){.identity = i + 7, .opened_ns = clock_ns() - 60 * NS_PER_S};
        flows[i] = (struct inspect_flow){.what = "messages", .id = i + 7, .participant = i, .traffic = {.sent = 100}};
    }
    CHECK(meter_update(meter, &topic, amounts));
    CHECK_INT(amounts[0].messages, ==, 0);
}

TEST(who_comes_back_goes_on) {
    struct meter meter;
    struct amount amounts[2];
    start(&meter, amounts);
    for (uint32_t missing = 1; missing <= 2; missing++) {
        topic.flow_count = 0;
        for (uint32_t i = 0; i < missing; i++)
            CHECK(meter_update(&meter, i ? NULL : &topic, amounts));
        topic.flow_count = 1;
        flows[0].traffic.sent += 5;
        CHECK(meter_update(&meter, &topic, amounts));
        CHECK_INT(amounts[0].messages, ==, 5);
    }
    topic.life = 2; /* made anew, so its numbers start again: an event that has the number of another */
    flows[0].participant = INSPECT_NOBODY;
    flows[0].traffic.sent = 200;
    CHECK(meter_update(&meter, &topic, amounts));
    CHECK_INT(amounts[0].messages, ==, 200);
    meter_free(&meter);
}

TEST(who_is_new) {
    struct meter meter;
    struct amount amounts[2];
    for (int is_new = 0; is_new < 2; is_new++) {
        start(&meter, amounts);
        topic.flow_count = 2;
        senders[1].opened_ns = is_new ? clock_ns() : senders[1].opened_ns;
        CHECK(meter_update(&meter, &topic, amounts));
        CHECK_INT(amounts[1].messages, ==, is_new ? 100 : 0);
        flows[1].traffic.sent += 3;
        CHECK(meter_update(&meter, &topic, amounts));
        CHECK_INT(amounts[1].messages, ==, 3);
        meter_free(&meter);
    }
}

/* Marks of those who left do not add up. */
TEST(many_come_and_go) {
    struct meter meter;
    struct amount amounts[2];
    start(&meter, amounts);
    for (uint64_t id = 1000; id < 3000; id++) {
        senders[0].identity = flows[0].id = id;
        senders[0].opened_ns = clock_ns();
        CHECK(meter_update(&meter, &topic, amounts));
        CHECK_INT(amounts[0].messages, ==, 100);
    }
    CHECK_INT(meter.count, <, 300);
    meter_free(&meter);
}
