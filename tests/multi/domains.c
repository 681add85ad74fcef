/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Domains and directories that do not see each other: $TARN_DIR and the directory option, $TARN_DOMAIN and the domain
 * option, and which of them counts.
 */
#include "common.h"

#define TOPIC "same/name"

struct place {
    const char *directory, *domain;
};

struct pair {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
};

static struct pair open_in(struct place place) {
    return (struct pair){
        .subscriber = SUBSCRIBER(TOPIC, .directory = place.directory, .domain = place.domain),
        .publisher = PUBLISHER(TOPIC, .directory = place.directory, .domain = place.domain),
    };
}

static void close_pair(struct pair *pair) {
    CHECK_STATUS(tarn_publisher_close(pair->publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(pair->subscriber), 0);
}

/* Whether what one sends reaches the other, and counts say the same. */
static bool meet_each_other(struct pair *a, struct pair *b) {
    tarn_message message;
    publish_word(a->publisher, 1);
    bool meets = tarn_subscriber_receive(b->subscriber, &message, 0) == 1;
    if (meets)
        CHECK_STATUS(tarn_message_release(&message), 0);
    receive_word(a->subscriber, 1);
    CHECK_INT(tarn_publisher_subscribers(a->publisher), ==, meets ? 2 : 1);
    CHECK_INT(tarn_subscriber_publishers(b->subscriber), ==, meets ? 2 : 1);
    return meets;
}

static bool is_same(struct place a, struct place b) {
    struct pair first = open_in(a), second = open_in(b);
    bool meets = meet_each_other(&first, &second);
    CHECK_INT(meet_each_other(&second, &first), ==, meets);
    close_pair(&first);
    close_pair(&second);
    return meets;
}

TEST(domains_do_not_see_each_other) {
    CHECK(is_same((struct place){NULL, "a"}, (struct place){NULL, "a"}));
    CHECK(!is_same((struct place){NULL, "a"}, (struct place){NULL, "b"}));
    CHECK(!is_same((struct place){NULL, NULL}, (struct place){NULL, "b"}));
    CHECK(is_same((struct place){NULL, NULL}, (struct place){NULL, "default"}));
    CHECK(is_same((struct place){NULL, NULL}, (struct place){NULL, ""}));
    CHECK(!is_same((struct place){NULL, "a"}, (struct place){NULL, "A"}));
}

TEST(directories_do_not_see_each_other) {
    char first[512], second[512], same[1024];
    snprintf(first, sizeof first, "%s/first", getenv("TARN_DIR"));
    snprintf(second, sizeof second, "%s/second", getenv("TARN_DIR"));
    snprintf(same, sizeof same, "%s/../first/", second);
    CHECK(!is_same((struct place){first, NULL}, (struct place){second, NULL})); /* they are made */
    CHECK(!is_same((struct place){first, "a"}, (struct place){second, "a"}));
    CHECK(!is_same((struct place){first, NULL}, (struct place){NULL, NULL}));
    CHECK(is_same((struct place){first, "a"}, (struct place){first, "a"}));
    CHECK(is_same((struct place){first, "a"}, (struct place){same, "a"})); /* the place counts, not its name */
    CHECK(is_same((struct place){NULL, NULL}, (struct place){getenv("TARN_DIR"), NULL}));
    CHECK(is_same((struct place){NULL, NULL}, (struct place){"", NULL}));
}

TEST(environment_decides_unless_an_option_does) {
    setenv("TARN_DOMAIN", "mine", 1);
    CHECK(is_same((struct place){NULL, NULL}, (struct place){NULL, "mine"}));
    CHECK(!is_same((struct place){NULL, NULL}, (struct place){NULL, "default"}));
    CHECK(!is_same((struct place){NULL, "other"}, (struct place){NULL, "mine"}));
    setenv("TARN_DOMAIN", "", 1);
    CHECK(is_same((struct place){NULL, NULL}, (struct place){NULL, "default"}));
    unsetenv("TARN_DOMAIN");
    CHECK(is_same((struct place){NULL, NULL}, (struct place){NULL, "default"}));
}

/* In processes of their own, which is what domains are for. */
static void answer_in_domain(void *arg) {
    const char *domain = arg;
    setenv("TARN_DOMAIN", domain, 1);
    tarn_subscriber *subscriber = subscriber_of("question", NULL);
    tarn_publisher *publisher = PUBLISHER("answer", .linger_ns = GENEROUS);
    tarn_message message;
    CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
    CHECK_STATUS(tarn_message_release(&message), 0);
    CHECK_STATUS(tarn_publisher_publish(publisher, domain, strlen(domain)), 1);
    CHECK_STATUS(tarn_publisher_close(publisher), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
}

TEST(processes_in_domains) {
    static const char *const domains[] = {"red", "green", "b.l-u_e"};
    pid_t children[3];
    tarn_message message;
    for (int i = 0; i < 3; i++)
        children[i] = spawn(answer_in_domain, (void *)domains[i]);
    for (int i = 0; i < 3; i++) {
        tarn_subscriber *subscriber = SUBSCRIBER("answer", .domain = domains[i]);
        tarn_publisher *publisher = PUBLISHER("question", .domain = domains[i]);
        AWAIT(tarn_subscriber_publishers(subscriber) == 1);
        publish_word(publisher, 1);
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
        CHECK_INT(message.bytes, ==, strlen(domains[i]));
        CHECK(memcmp(message.data, domains[i], message.bytes) == 0);
        CHECK_STATUS(tarn_message_release(&message), 0);
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, MS), 0);
        CHECK_INT(wait_child(children[i], LIMIT_S), ==, 0);
        CHECK_INT(tarn_publisher_close(publisher), ==, 0);
        CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    }
}

TEST(bad_domains) {
    static const char *const bad[] = {"a/b", ".", "..", "/", "a b", "a\n", "\xff\xfe", "@1"};
    tarn_publisher *publisher = NULL;
    char *endless = calloc(1, 5000);
    memset(endless, 'd', 4999);
    for (size_t i = 0; i <= sizeof bad / sizeof bad[0]; i++) {
        const char *domain = i < sizeof bad / sizeof bad[0] ? bad[i] : endless;
        tarn_publisher_options options = {.struct_bytes = sizeof options, .domain = domain};
        CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, &options), TARN_ERROR_TOPIC_NAME, "domain");
        setenv("TARN_DOMAIN", domain, 1);
        CHECK_REFUSED(tarn_publisher_open(&publisher, TOPIC, NULL), TARN_ERROR_TOPIC_NAME, "domain");
        unsetenv("TARN_DOMAIN");
    }
    free(endless);
    CHECK(!publisher);
}
