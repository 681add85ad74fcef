/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* All operations of publish and subscribe, each as one process does it among others. See scene.h. */
#include <poll.h>

#include "messages.h"

/*
 * ---- opening ------------------------------------------------------------------------------------------------------
 */

static int note_publisher(struct actor *actor, int status) {
    if (status == 0)
        ledger()->identity = tarn_publisher_identity(actor->publisher);
    return status;
}

static int open_publisher_with(struct actor *actor, tarn_publisher_options options) {
    options.struct_bytes = sizeof options;
    return note_publisher(actor, tarn_publisher_open(&actor->publisher, TOPIC, &options));
}

static int open_subscriber_with(struct actor *actor, tarn_subscriber_options options) {
    options.struct_bytes = sizeof options;
    int status = tarn_subscriber_open(&actor->subscriber, TOPIC, &options);
    actor->follower.subscriber = actor->subscriber;
    return status;
}

static int open_publisher(struct actor *actor) {
    return open_publisher_with(actor, (tarn_publisher_options){0});
}

static int open_subscriber(struct actor *actor) {
    return open_subscriber_with(actor, (tarn_subscriber_options){0});
}

static const tarn_type type = {
    .struct_bytes = sizeof type, .name = "points/Any", .encoding = "raw", .schema = "any bytes", .schema_bytes = 9};

static int open_typed_publisher(struct actor *actor) {
    return open_publisher_with(actor, (tarn_publisher_options){.type = &type});
}

static int open_typed_subscriber(struct actor *actor) {
    return open_subscriber_with(actor, (tarn_subscriber_options){.type = &type});
}

static int open_realtime_publisher(struct actor *actor) {
    return open_publisher_with(actor, (tarn_publisher_options){.realtime = 1, .memory_limit_bytes = 1 << 19});
}

/* With cells for more messages than a slot has by itself. */
static int open_realtime_subscriber(struct actor *actor) {
    return open_subscriber_with(actor, (tarn_subscriber_options){.realtime = 1, .max_held = 200});
}

static int open_reliable_with_history(struct actor *actor) {
    return open_subscriber_with(actor, (tarn_subscriber_options){.reliable = 1, .history = 3});
}

static void send_five(struct survivors *survivors) {
    send_some(survivors, 5, 300);
}

/* The domain's directory is made, too. */
static void remove_domain(struct survivors *survivors) {
    char path[512];
    (void)survivors;
    domain_path(path, NULL);
    CHECK(rmdir(path) == 0 || errno == ENOENT);
}

/*
 * ---- sending ------------------------------------------------------------------------------------------------------
 */

static void prepare_publisher(struct actor *actor) {
    CHECK_STATUS(open_publisher(actor), 0);
}

static void prepare_sent(struct actor *actor) {
    prepare_publisher(actor);
    CHECK_STATUS(send_next(actor, 8), 1);
    CHECK_STATUS(send_next(actor, 200), 1);
}

static int publish_word_sized(struct actor *actor) {
    return send_next(actor, 8);
}

/* Two that share lines, and one that has its own. */
static int publish_lines(struct actor *actor) {
    int result = send_next(actor, 64);
    if (result == 1)
        result = send_next(actor, 64);
    return result == 1 ? send_next(actor, 200) : result;
}

static int publish_three(struct actor *actor) {
    int result = 1;
    for (int i = 0; i < 3 && result == 1; i++)
        result = send_next(actor, 3000);
    return result;
}

/* So much in an extent of 64 KiB that three messages more do not fit. */
static void prepare_nearly_full_extent(struct actor *actor) {
    prepare_publisher(actor);
    for (int i = 0; i < 19; i++)
        CHECK_STATUS(send_next(actor, 3200), 1);
}

/* The same, when extents are taken that were used before. */
static void prepare_rotating(struct actor *actor) {
    CHECK_STATUS(open_publisher_with(actor, (tarn_publisher_options){.depth = 2}), 0);
    for (int i = 0; i < 110; i++)
        CHECK_STATUS(send_next(actor, 3200), 1);
}

static int publish_large(struct actor *actor) {
    return send_next(actor, 200000);
}

/* Several large messages, so that memory is added and extents of their own are reused. */
static int publish_larges(struct actor *actor) {
    int result = 1;
    for (int i = 0; i < 6 && result == 1; i++)
        result = send_next(actor, 100000 + 100000 * (size_t)(i % 3));
    return result;
}

static void prepare_dropping(struct actor *actor) {
    CHECK_STATUS(open_publisher_with(
                     actor, (tarn_publisher_options){.memory_limit_bytes = 1 << 19, .when_full = TARN_FULL_DROP}),
                 0);
}

/* Until it is full, as nobody takes them meanwhile; then one is dropped, which readers are to learn. */
static int publish_until_dropped(struct actor *actor) {
    int result;
    while ((result = send_next(actor, 60000)) == 1)
        ;
    return result;
}

static void prepare_waiting(struct actor *actor) {
    CHECK_STATUS(
        open_publisher_with(actor, (tarn_publisher_options){.memory_limit_bytes = 1 << 19, .full_timeout_ns = 2 * MS}),
        0);
    int result;
    while ((result = send_next(actor, 60000)) == 1)
        ;
    CHECK_STATUS(result, TARN_ERROR_FULL);
}

static int publish_in_vain(struct actor *actor) {
    int result = send_next(actor, 60000);
    return result == TARN_ERROR_FULL ? 0 : result;
}

/*
 * ---- waking -------------------------------------------------------------------------------------------------------
 */

static void arm_descriptor(struct survivors *survivors) {
    survivors->fd = tarn_subscriber_fd(survivors->loose.subscriber);
    CHECK_INT(survivors->fd, >=, 0);
    follow(&survivors->loose);
}

static void arm_and_sleep(struct survivors *survivors) {
    begin_sleeper(survivors);
    arm_descriptor(survivors);
}

/*
 * ---- loans --------------------------------------------------------------------------------------------------------
 */

static void prepare_loan(struct actor *actor) {
    prepare_publisher(actor);
    CHECK_STATUS(tarn_publisher_loan(actor->publisher, 300, &actor->loan), 1);
    write_loan(actor);
}

static int make_loan(struct actor *actor) {
    int result = tarn_publisher_loan(actor->publisher, 1000, &actor->loan);
    return result < 0 ? result : tarn_loan_drop(&actor->loan);
}

static int make_large_loan(struct actor *actor) {
    int result = tarn_publisher_loan(actor->publisher, 300000, &actor->loan);
    return result < 0 ? result : tarn_loan_drop(&actor->loan);
}

static int send_less(struct actor *actor) {
    actor->loan.bytes = 100;
    write_loan(actor);
    return send_loan(actor);
}

static int drop_and_publish(struct actor *actor) {
    int result = actor->loan.loaned_by ? tarn_loan_drop(&actor->loan) : 0;
    return result < 0 ? result : send_next(actor, 100);
}

/* Something else is sent while a loan is open at the head of the log. */
static void prepare_open_loan(struct actor *actor) {
    prepare_publisher(actor);
    CHECK_STATUS(tarn_publisher_loan(actor->publisher, 300, &actor->loan), 1);
}

static void prepare_overtaken(struct actor *actor) {
    prepare_open_loan(actor);
    CHECK_STATUS(send_next(actor, 100), 1);
    write_loan(actor);
}

/* Overtaken so long ago that its extent would have been retired. */
static void prepare_late(struct actor *actor) {
    CHECK_STATUS(open_publisher_with(actor, (tarn_publisher_options){.depth = 1}), 0);
    CHECK_STATUS(tarn_publisher_loan(actor->publisher, 300, &actor->loan), 1);
    for (int i = 0; i < 45; i++)
        CHECK_STATUS(send_next(actor, 5000), 1);
    write_loan(actor);
}

static int send_late_and_more(struct actor *actor) {
    int result = actor->loan.loaned_by ? send_loan(actor) : 1;
    for (int i = 0; i < 16 && result == 1; i++)
        result = send_next(actor, 5000);
    return result;
}

/*
 * ---- taking -------------------------------------------------------------------------------------------------------
 */

static void prepare_subscriber(struct actor *actor) {
    CHECK_STATUS(open_subscriber(actor), 0);
}

static void prepare_reliable(struct actor *actor) {
    CHECK_STATUS(open_subscriber_with(actor, (tarn_subscriber_options){.reliable = 1}), 0);
}

/* Takes up to so many and keeps them. */
static int take_and_hold(struct actor *actor, unsigned most) {
    int result = 1;
    for (unsigned i = 0; i < most && result == 1; i++) {
        result = tarn_subscriber_take(actor->subscriber, &actor->held[actor->held_count]);
        if (result == 1)
            account_for(&actor->follower, &actor->held[actor->held_count++]);
    }
    return result;
}

static int let_all_go(struct actor *actor) {
    while (actor->held_count) {
        int result = tarn_message_release(&actor->held[actor->held_count - 1]);
        if (result < 0)
            return result;
        actor->held_count--;
    }
    return 0;
}

static int take_all(struct actor *actor) {
    int result = take_and_hold(actor, HELD_MAX);
    int released = let_all_go(actor);
    return result < 0 ? result : released;
}

/* In one call, if they are alike and there by then. */
static int take_many(struct actor *actor) {
    int result = tarn_subscriber_take_many(actor->subscriber, actor->held, HELD_MAX);
    for (int i = 0; i < result; i++)
        account_for(&actor->follower, &actor->held[actor->held_count++]);
    int released = let_all_go(actor);
    return result < 0 ? result : released;
}

static int take_one(struct actor *actor) {
    return take_and_hold(actor, 1);
}

/* Over several extents. */
static void send_extents(struct survivors *survivors) {
    send_some(survivors, 5, 30000);
}

/* Of messages in extents of their own. */
static int hold_many(struct actor *actor) {
    return take_and_hold(actor, 60);
}

/* So many messages of its own, in many extents. */
static void prepare_many(struct actor *actor) {
    CHECK_STATUS(open_subscriber_with(actor, (tarn_subscriber_options){.max_held = 1000}), 0);
    CHECK_STATUS(open_publisher_with(actor, (tarn_publisher_options){.depth = 100}), 0);
    for (int i = 0; i < 60; i++)
        CHECK_STATUS(send_next(actor, 33000), 1);
}

/* More than the witness keeps, so some are lost, and one starts again where it can. */
static void overrun(struct survivors *survivors) {
    send_some(survivors, 60, 50000);
}

static void *send_for_release(struct actor *actor) {
    int64_t end = now_ns() + GENEROUS;
    while (take_and_hold(actor, 5) >= 0 && actor->held_count < 5)
        CHECK(now_ns() < end);
    return NULL;
}

/* Holds messages of several extents: they come while it prepares, from a publisher of its own. */
static void prepare_held(struct actor *actor) {
    prepare_subscriber(actor);
    prepare_publisher(actor);
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(send_next(actor, i % 2 ? 60000 : 3000), 1);
    send_for_release(actor);
}

static void prepare_held_after_close(struct actor *actor) {
    prepare_held(actor);
    CHECK_STATUS(tarn_subscriber_close(actor->subscriber), 0);
    actor->subscriber = NULL;
}

/*
 * ---- waiting ------------------------------------------------------------------------------------------------------
 */

static void prepare_sleeper(struct actor *actor) {
    CHECK_STATUS(open_subscriber_with(actor, (tarn_subscriber_options){.wait_strategy = TARN_WAIT_SLEEP}), 0);
}

static int wait_in_vain(struct actor *actor) {
    return tarn_subscriber_wait(actor->subscriber, MS);
}

/* Long enough for a look at the peers, which are repaired if they are dead. */
static int wait_and_look(struct actor *actor) {
    return tarn_subscriber_wait(actor->subscriber, 120 * MS);
}

static int receive_one(struct actor *actor) {
    int result = tarn_subscriber_receive(actor->subscriber, &actor->held[0], MS);
    if (result == 1)
        account_for(&actor->follower, &actor->held[actor->held_count++]);
    return result;
}

static int open_descriptor(struct actor *actor) {
    return tarn_subscriber_fd(actor->subscriber);
}

static void prepare_descriptor(struct actor *actor) {
    prepare_subscriber(actor);
    CHECK_INT(open_descriptor(actor), >=, 0);
}

/* Arms it: nothing is there. */
static int take_nothing(struct actor *actor) {
    return take_and_hold(actor, 1);
}

enum { HELD_BY_DEFAULT = 64 }; /* how many others have sent by then depends on the machine */

/* Opens a set, waits in vain or not, and closes it. */
static int wait_with_waitset(struct actor *actor) {
    tarn_waitset *waitset;
    tarn_ready ready;
    tarn_waitset_options options = {.struct_bytes = sizeof options, .wait_strategy = TARN_WAIT_SLEEP};
    int result = tarn_waitset_open(&waitset, &options);
    if (result < 0)
        return result;
    result = tarn_waitset_add(waitset, actor->subscriber, NULL);
    for (int i = 0; i < 2 && result >= 0; i++) {
        result = tarn_waitset_wait(waitset, &ready, 1, MS);
        if (result == 1)
            result = take_and_hold(actor, HELD_BY_DEFAULT - actor->held_count);
    }
    if (result >= 0)
        result = tarn_waitset_remove(waitset, actor->subscriber);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    return result;
}

static void prepare_pipe(struct actor *actor) {
    prepare_subscriber(actor);
    CHECK_INT(pipe(actor->pipe), ==, 0);
}

/* Opens a set with that, is interrupted, asks for its descriptor, and closes it. */
static int interrupt_waitset(struct actor *actor) {
    tarn_waitset *waitset;
    tarn_ready ready;
    int result = tarn_waitset_open(&waitset, NULL);
    if (result < 0)
        return result;
    result = tarn_waitset_add(waitset, actor->subscriber, NULL);
    if (result >= 0)
        result = tarn_waitset_add_fd(waitset, actor->pipe[0], POLLIN, NULL);
    if (result >= 0)
        result = tarn_waitset_fd(waitset);
    if (result >= 0)
        result = tarn_waitset_interrupt(waitset);
    if (result >= 0)
        result = tarn_waitset_wait(waitset, &ready, 1, MS);
    if (result == TARN_ERROR_INTERRUPTED)
        result = tarn_waitset_remove_fd(waitset, actor->pipe[0]);
    CHECK_STATUS(tarn_waitset_close(waitset), 0);
    return result;
}

static int interrupt(struct actor *actor) {
    int result = tarn_subscriber_interrupt(actor->subscriber);
    if (result < 0)
        return result;
    result = tarn_subscriber_wait(actor->subscriber, 0);
    return result == TARN_ERROR_INTERRUPTED ? 0 : result;
}

static int count_peers(struct actor *actor) {
    return tarn_subscriber_publishers(actor->subscriber);
}

/*
 * ---- leaving ------------------------------------------------------------------------------------------------------
 */

static int close_publisher(struct actor *actor) {
    int result = tarn_publisher_close(actor->publisher);
    actor->publisher = NULL;
    return result;
}

static int close_subscriber(struct actor *actor) {
    int result = tarn_subscriber_close(actor->subscriber);
    actor->subscriber = NULL;
    return result;
}

static void prepare_unread(struct actor *actor) {
    CHECK_STATUS(open_publisher_with(actor, (tarn_publisher_options){.linger_ns = MS}), 0);
    CHECK_STATUS(send_next(actor, 100), 1);
}

static int flush_in_vain(struct actor *actor) {
    return tarn_publisher_flush(actor->publisher, MS);
}

static int register_process(struct actor *actor) {
    (void)actor;
    return tarn_process_register();
}

/*
 * ---- keeping ------------------------------------------------------------------------------------------------------
 */

static int open_keeper_with(struct actor *actor, tarn_keeper_options options) {
    options.struct_bytes = sizeof options;
    return tarn_keeper_open(&actor->keeper, TOPIC, &options);
}

static int open_keeper(struct actor *actor) {
    return open_keeper_with(actor, (tarn_keeper_options){0});
}

static void prepare_keeper(struct actor *actor) {
    CHECK_STATUS(open_keeper(actor), 0);
}

/* Attaches what came since. */
static int keep_more(struct actor *actor) {
    int result = tarn_keeper_wait(actor->keeper, 0);
    return result < 0 ? result : 0;
}

/* It is a publisher, too, that leaves what it keeps from then on. */
static void prepare_keeping(struct actor *actor) {
    prepare_unread(actor);
    prepare_keeper(actor);
}

static void prepare_keeping_little(struct actor *actor) {
    prepare_unread(actor);
    CHECK_STATUS(open_keeper_with(actor, (tarn_keeper_options){.memory_max_bytes = 1}), 0);
}

static int open_keepers_descriptor(struct actor *actor) {
    return tarn_keeper_fd(actor->keeper);
}

/* Its bell may say yet that somebody sleeps. */
static void prepare_keeper_that_slept(struct actor *actor) {
    prepare_keeper(actor);
    CHECK_STATUS(tarn_keeper_wait(actor->keeper, MS), 0);
}

static int interrupt_keeper(struct actor *actor) {
    int result = tarn_keeper_interrupt(actor->keeper);
    if (result < 0)
        return result;
    result = tarn_keeper_wait(actor->keeper, 0);
    return result == TARN_ERROR_INTERRUPTED ? 0 : result;
}

static int close_and_keep(struct actor *actor) {
    int result = actor->publisher ? close_publisher(actor) : 0;
    return result < 0 ? result : keep_more(actor);
}

static int close_keeper(struct actor *actor) {
    int result = tarn_keeper_close(actor->keeper);
    actor->keeper = NULL;
    return result;
}

static void prepare_kept(struct actor *actor) {
    prepare_keeping(actor);
    CHECK_STATUS(close_and_keep(actor), 0);
}

static void be_kept(void *is_ready) {
    tarn_publisher *publisher = PUBLISHER(TOPIC);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, NULL, 0), 1);
    nap_ns(10 * MS); /* the keeper has attached it, most probably */
    *(_Atomic bool *)is_ready = true;
    sleep_until_killed();
}

static void somebody_who_is_kept_dies(struct survivors *survivors) {
    begin_keeper(survivors);
    somebody_dies_as(be_kept);
}

static int open_with_history(struct actor *actor) {
    return open_subscriber_with(actor, (tarn_subscriber_options){.history = 3});
}

/*
 * ---- repairing ----------------------------------------------------------------------------------------------------
 */

/* A publisher and a subscriber, with messages sent, held, a descriptor, and room for more. */
static void be_there(void *is_ready) {
    tarn_subscriber *subscriber = SUBSCRIBER(TOPIC, .reliable = 1, .max_held = 100);
    tarn_publisher *publisher = PUBLISHER(TOPIC, .type = &type);
    tarn_message message;
    CHECK_INT(tarn_subscriber_fd(subscriber), >=, 0);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 0);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, NULL, 0), 1);
    CHECK_STATUS(tarn_subscriber_take(subscriber, &message), 1);
    *(_Atomic bool *)is_ready = true;
    sleep_until_killed();
}

static void somebody_dies(struct survivors *survivors) {
    (void)survivors;
    somebody_dies_as(be_there);
}

/* Its memory holds what a dead reliable subscriber has not read: it is repaired before anybody waits for it. */
static int fill_up(struct actor *actor) {
    int result = 1;
    for (int i = 0; i < 12 && result == 1; i++)
        result = send_next(actor, 60000);
    return result == TARN_ERROR_FULL ? 0 : result; /* the living reliable one reads nothing meanwhile */
}

static void prepare_little_memory(struct actor *actor) {
    CHECK_STATUS(
        open_publisher_with(actor, (tarn_publisher_options){.memory_limit_bytes = 1 << 19, .full_timeout_ns = 2 * MS}),
        0);
}

/*
 * ---- the table ----------------------------------------------------------------------------------------------------
 */

const struct operation messages_operations[MESSAGES_OPERATIONS] = {
    {.name = "create_as_publisher", .operate = open_publisher, .alone = true},
    {.name = "create_as_subscriber", .operate = open_subscriber, .alone = true},
    {.name = "create_domain", .before = remove_domain, .operate = open_publisher, .alone = true},
    {.name = "create_typed", .operate = open_typed_publisher, .alone = true},
    {.name = "open_publisher", .operate = open_publisher},
    {.name = "open_typed_publisher", .operate = open_typed_publisher},
    {.name = "open_realtime_publisher", .operate = open_realtime_publisher},
    {.name = "open_subscriber", .operate = open_subscriber},
    {.name = "open_typed_subscriber", .operate = open_typed_subscriber},
    {.name = "open_realtime_subscriber", .operate = open_realtime_subscriber},
    {.name = "open_reliable_with_history", .operate = open_reliable_with_history, .holds_back = true},
    {.name = "register_process", .operate = register_process},
    {.name = "publish_first", .prepare = prepare_publisher, .operate = publish_lines},
    {.name = "publish_word", .prepare = prepare_sent, .operate = publish_word_sized},
    {.name = "publish_lines", .prepare = prepare_sent, .operate = publish_lines},
    {.name = "publish_into_next_extent", .prepare = prepare_nearly_full_extent, .operate = publish_three},
    {.name = "publish_into_used_extent", .prepare = prepare_rotating, .operate = publish_three},
    {.name = "publish_large", .prepare = prepare_sent, .operate = publish_large, .lets_lose = true},
    {.name = "publish_larges", .prepare = prepare_sent, .operate = publish_larges, .lets_lose = true},
    {.name = "publish_until_dropped", .prepare = prepare_dropping, .operate = publish_until_dropped, .lets_lose = true},
    {.name = "publish_in_vain", .prepare = prepare_waiting, .operate = publish_in_vain},
    {.name = "publish_and_wake", .prepare = prepare_sent, .before = begin_sleeper, .operate = publish_lines},
    {.name = "publish_and_ring", .prepare = prepare_sent, .before = arm_descriptor, .operate = publish_lines},
    {.name = "publish_and_wake_and_ring", .prepare = prepare_sent, .before = arm_and_sleep, .operate = publish_lines},
    {.name = "loan", .prepare = prepare_publisher, .operate = make_loan},
    {.name = "loan_large", .prepare = prepare_publisher, .operate = make_large_loan},
    {.name = "loan_send", .prepare = prepare_loan, .operate = send_loan},
    {.name = "loan_send_less", .prepare = prepare_loan, .operate = send_less},
    {.name = "loan_drop", .prepare = prepare_loan, .operate = drop_and_publish},
    {.name = "loan_overtake", .prepare = prepare_open_loan, .operate = publish_lines},
    {.name = "loan_send_overtaken", .prepare = prepare_overtaken, .operate = send_loan},
    {.name = "loan_drop_overtaken", .prepare = prepare_overtaken, .operate = drop_and_publish},
    {.name = "loan_send_late", .prepare = prepare_late, .operate = send_late_and_more},
    {.name = "take_first", .prepare = prepare_subscriber, .before = send_five, .operate = take_one},
    {.name = "take_and_release", .prepare = prepare_subscriber, .before = send_five, .operate = take_all},
    {.name = "take_reliably",
     .prepare = prepare_reliable,
     .before = send_five,
     .operate = take_all,
     .holds_back = true},
    {.name = "take_many", .prepare = prepare_reliable, .before = send_five, .operate = take_many, .holds_back = true},
    {.name = "take_from_extents", .prepare = prepare_subscriber, .before = send_extents, .operate = take_all},
    {.name = "hold_many", .prepare = prepare_many, .operate = hold_many},
    {.name = "take_when_overrun", .prepare = prepare_subscriber, .before = overrun, .operate = take_all},
    {.name = "release", .prepare = prepare_held, .operate = let_all_go},
    {.name = "release_after_close", .prepare = prepare_held_after_close, .operate = let_all_go},
    {.name = "wait", .prepare = prepare_sleeper, .operate = wait_in_vain},
    {.name = "receive", .prepare = prepare_sleeper, .before = send_five, .operate = receive_one},
    {.name = "interrupt", .prepare = prepare_sleeper, .before = begin_sleeper, .operate = interrupt},
    {.name = "descriptor_open", .prepare = prepare_subscriber, .operate = open_descriptor},
    {.name = "descriptor_arm", .prepare = prepare_descriptor, .operate = take_nothing},
    {.name = "descriptor_take", .prepare = prepare_descriptor, .before = send_five, .operate = take_all},
    {.name = "waitset_in_vain", .prepare = prepare_subscriber, .operate = wait_with_waitset},
    {.name = "interrupt_waitset", .prepare = prepare_pipe, .operate = interrupt_waitset},
    {.name = "waitset", .prepare = prepare_subscriber, .before = send_five, .operate = wait_with_waitset},
    {.name = "count_peers", .prepare = prepare_subscriber, .operate = count_peers},
    {.name = "flush", .prepare = prepare_unread, .operate = flush_in_vain},
    {.name = "close_publisher", .prepare = prepare_unread, .operate = close_publisher},
    {.name = "close_subscriber", .prepare = prepare_subscriber, .before = send_five, .operate = close_subscriber},
    {.name = "close_with_descriptor", .prepare = prepare_descriptor, .operate = close_subscriber},
    {.name = "close_holding", .prepare = prepare_held, .operate = close_subscriber},
    {.name = "close_last", .prepare = prepare_subscriber, .operate = close_subscriber, .alone = true},
    {.name = "create_as_keeper", .operate = open_keeper, .alone = true},
    {.name = "open_keeper", .operate = open_keeper},
    {.name = "keep_more", .prepare = prepare_keeper, .before = overrun, .operate = keep_more},
    {.name = "descriptor_of_keeper", .prepare = prepare_keeper, .operate = open_keepers_descriptor},
    {.name = "interrupt_keeper", .prepare = prepare_keeper_that_slept, .operate = interrupt_keeper},
    {.name = "close_and_keep", .prepare = prepare_keeping, .operate = close_and_keep},
    {.name = "let_go", .prepare = prepare_keeping_little, .operate = close_and_keep},
    {.name = "close_keeper", .prepare = prepare_kept, .operate = close_keeper},
    {.name = "publish_kept", .prepare = prepare_sent, .before = begin_keeper, .operate = publish_lines},
    {.name = "close_kept", .prepare = prepare_unread, .before = begin_keeper, .operate = close_publisher},
    {.name = "repair_kept_by_opening",
     .before = somebody_who_is_kept_dies,
     .operate = open_with_history,
     .repairs = true},
    {.name = "repair_kept_by_sweeping", .before = somebody_who_is_kept_dies, .operate = sweep, .repairs = true},
    {.name = "repair_by_opening", .before = somebody_dies, .operate = open_subscriber, .repairs = true},
    {.name = "repair_by_publisher", .before = somebody_dies, .operate = open_publisher, .repairs = true},
    {.name = "repair_by_waiting",
     .prepare = prepare_sleeper,
     .before = somebody_dies,
     .operate = wait_and_look,
     .repairs = true},
    {.name = "repair_when_full",
     .prepare = prepare_little_memory,
     .before = somebody_dies,
     .operate = fill_up,
     .repairs = true,
     .lets_lose = true},
    {.name = "repair_by_sweeping", .before = somebody_dies, .operate = sweep, .repairs = true},
    {.name = "create_after_death", .before = somebody_dies, .operate = open_publisher, .alone = true, .repairs = true},
    {.name = "sweep_after_death", .before = somebody_dies, .operate = sweep, .alone = true, .repairs = true},
};
