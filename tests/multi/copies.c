/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * A process with several copies of the library, as happens when a program and its plug-ins each bring their own: the
 * one linked into this program, and two more that are loaded, each from a file of its own. They know nothing of each
 * other, and still meet in a topic, and one's leaving does not disturb the other.
 */
#include <dlfcn.h>
#include <limits.h>

#include "common.h"

#define TOPIC "copies"

struct library {
    void *handle; /* NULL: the one in this program */
    __typeof__(tarn_publisher_open) *publisher_open;
    __typeof__(tarn_publisher_publish) *publisher_publish;
    __typeof__(tarn_publisher_close) *publisher_close;
    __typeof__(tarn_publisher_subscribers) *publisher_subscribers;
    __typeof__(tarn_subscriber_open) *subscriber_open;
    __typeof__(tarn_subscriber_receive) *subscriber_receive;
    __typeof__(tarn_subscriber_publishers) *subscriber_publishers;
    __typeof__(tarn_subscriber_close) *subscriber_close;
    __typeof__(tarn_message_release) *message_release;
};

static const struct library linked = {
    NULL,
    tarn_publisher_open,
    tarn_publisher_publish,
    tarn_publisher_close,
    tarn_publisher_subscribers,
    tarn_subscriber_open,
    tarn_subscriber_receive,
    tarn_subscriber_publishers,
    tarn_subscriber_close,
    tarn_message_release,
};

/* ---- loading -------------------------------------------------------------------------------------------------- */

/* libtarn.so: in $TARN_LIB, else beside the folder of this program. */
static void find_library(char ret[static PATH_MAX]) {
    const char *folder = getenv("TARN_LIB");
    if (folder) {
        snprintf(ret, PATH_MAX, "%s/libtarn.so", folder);
    } else {
        snprintf(ret, PATH_MAX, "%s", tarn_program());
        strcpy(strrchr(ret, '/'), "/libtarn.so");
    }
    if (access(ret, R_OK) != 0)
        SKIP("there is no %s", ret);
}

static void copy_file(const char *from, const char *to) {
    char block[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    CHECK(in >= 0 && out >= 0);
    for (ssize_t count; (count = read(in, block, sizeof block)) != 0;)
        CHECK(count > 0 && write(out, block, (size_t)count) == count);
    close(in);
    close(out);
}

static void *symbol(void *handle, const char *name) {
    void *found = dlsym(handle, name);
    CHECK(found);
    return found;
}

static struct library load(const char *name) {
    char from[PATH_MAX], copy[PATH_MAX];
    find_library(from);
    snprintf(copy, sizeof copy, "%s/%s", getenv("TARN_DIR"), name);
    copy_file(from, copy);
    struct library ret = {.handle = dlopen(copy, RTLD_NOW | RTLD_LOCAL)};
    unlink(copy);
    if (!ret.handle)
        SKIP("dlopen: %s", dlerror());
    ret.publisher_open = symbol(ret.handle, "tarn_publisher_open");
    ret.publisher_publish = symbol(ret.handle, "tarn_publisher_publish");
    ret.publisher_close = symbol(ret.handle, "tarn_publisher_close");
    ret.publisher_subscribers = symbol(ret.handle, "tarn_publisher_subscribers");
    ret.subscriber_open = symbol(ret.handle, "tarn_subscriber_open");
    ret.subscriber_receive = symbol(ret.handle, "tarn_subscriber_receive");
    ret.subscriber_publishers = symbol(ret.handle, "tarn_subscriber_publishers");
    ret.subscriber_close = symbol(ret.handle, "tarn_subscriber_close");
    ret.message_release = symbol(ret.handle, "tarn_message_release");
    CHECK(ret.publisher_open != tarn_publisher_open);
    return ret;
}

/* ---- two copies on one topic ---------------------------------------------------------------------------------- */

struct side {
    const struct library *library;
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
};

static struct side open_side(const struct library *library) {
    struct side side = {library, NULL, NULL};
    tarn_subscriber_options options = {.struct_bytes = sizeof options, .reliable = 1};
    CHECK_INT(library->subscriber_open(&side.subscriber, TOPIC, &options), ==, 0);
    CHECK_INT(library->publisher_open(&side.publisher, TOPIC, NULL), ==, 0);
    return side;
}

static void send(struct side *side, uint64_t word) {
    CHECK_INT(side->library->publisher_publish(side->publisher, &word, 8), ==, 1);
}

static void expect(struct side *side, uint64_t word) {
    tarn_message message;
    CHECK_INT(side->library->subscriber_receive(side->subscriber, &message, GENEROUS), ==, 1);
    CHECK(message.bytes == 8 && memcmp(message.data, &word, 8) == 0);
    CHECK_INT(side->library->message_release(&message), ==, 0);
}

static void expect_nothing(struct side *side) {
    tarn_message message;
    CHECK_INT(side->library->subscriber_receive(side->subscriber, &message, 0), ==, 0);
}

static void check_peers(struct side *side, int count) {
    CHECK_INT(side->library->publisher_subscribers(side->publisher), ==, count);
    CHECK_INT(side->library->subscriber_publishers(side->subscriber), ==, count);
}

static void close_side(struct side *side) {
    CHECK_INT(side->library->publisher_close(side->publisher), ==, 0);
    CHECK_INT(side->library->subscriber_close(side->subscriber), ==, 0);
}

/* All hear each; then they leave one after the other, and those who stay go on. */
static void talk(const struct library *const *libraries, int count) {
    struct side sides[3];
    for (int i = 0; i < count; i++)
        sides[i] = open_side(libraries[i]);
    for (uint64_t word = 0; word < 100; word++) {
        for (int i = 0; i < count; i++) {
            send(&sides[word % (uint64_t)count], word * 10 + (uint64_t)i);
            for (int to = 0; to < count; to++)
                expect(&sides[to], word * 10 + (uint64_t)i);
        }
    }
    for (int staying = count; staying > 0; staying--) {
        for (int i = 0; i < staying; i++)
            check_peers(&sides[i], staying);
        send(&sides[0], 7);
        for (int i = 0; i < staying; i++)
            expect(&sides[i], 7);
        for (int i = 0; i < staying; i++)
            expect_nothing(&sides[i]);
        close_side(&sides[staying - 1]);
    }
}

TEST(copies_talk_and_leave) {
    struct library first = load("first.so"), second = load("second.so");
    const struct library *const orders[][3] = {{&first, &second, &linked}, {&linked, &first, &second}};
    for (int i = 0; i < 2; i++) {
        talk(orders[i], 2);
        talk(orders[i], 3);
    }
    dlclose(first.handle);
    dlclose(second.handle);
}

/* Each has fork handlers of its own; one that was unloaded has none any more. */
TEST(copies_and_fork) {
    struct library first = load("first.so"), second = load("second.so");
    struct side gone = open_side(&first), side = open_side(&second), own = open_side(&linked);
    close_side(&gone);
    dlclose(first.handle);
    pid_t child = fork();
    if (child == 0) {
        CHECK_INT(side.library->publisher_publish(side.publisher, "", 0), ==, TARN_ERROR_FORKED);
        CHECK_INT(own.library->publisher_publish(own.publisher, "", 0), ==, TARN_ERROR_FORKED);
        struct side childs = open_side(&second);
        check_peers(&childs, 3);
        close_side(&childs);
        _exit(0);
    }
    CHECK_INT(wait_child(child, LIMIT_S), ==, 0);
    check_peers(&side, 2);
    send(&side, 1);
    expect(&own, 1);
    expect(&side, 1);
    expect_nothing(&own);
    expect_nothing(&side);
    close_side(&own);
    close_side(&side);
    dlclose(second.handle);
}

/* The same from a namespace of the linker's own, where libc is a copy, too. */
TEST(copy_in_another_namespace) {
#ifdef __GLIBC__
    char path[PATH_MAX];
    find_library(path);
    void *handle = dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        SKIP("dlmopen: %s", dlerror());
    __typeof__(tarn_publisher_open) *open_there = symbol(handle, "tarn_publisher_open");
    __typeof__(tarn_publisher_publish) *publish_there = symbol(handle, "tarn_publisher_publish");
    __typeof__(tarn_publisher_close) *close_there = symbol(handle, "tarn_publisher_close");
    tarn_publisher *publisher;
    tarn_subscriber *subscriber = subscriber_of(TOPIC, NULL);
    CHECK_INT(open_there(&publisher, TOPIC, NULL), ==, 0);
    CHECK_INT(publish_there(publisher, &(uint64_t){5}, 8), ==, 1);
    receive_word(subscriber, 5);
    CHECK_INT(close_there(publisher), ==, 0);
    CHECK_STATUS(tarn_subscriber_publishers(subscriber), 0);
    CHECK_STATUS(tarn_subscriber_close(subscriber), 0);
    dlclose(handle);
#else
    SKIP("this libc has no dlmopen");
#endif
}
