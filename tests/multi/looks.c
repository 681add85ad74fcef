/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * How often the kernel is asked whether peers live. It does not grow with the number of those who ask: with three
 * servers and 100 clients, each of which asked for all locks, they did nothing else. Counted by an fcntl of this
 * program's own.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static long questions;

int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    questions += command == F_OFD_GETLK;
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

#define TOPIC "multi/looks"
#define CLIENTS_MAX 64
#define WAIT_NS (350 * 1000000LL)

struct page {
    struct gate answered, over;
    int clients; /* or jobs */
};

/* In another process, as nobody asks whether he lives himself. */
static void call_and_stay(void *arg) {
    struct page *page = arg;
    tarn_client *clients[CLIENTS_MAX];
    for (int i = 0; i < page->clients; i++) {
        tarn_client_options how = {.struct_bytes = sizeof(how), .server_timeout_ns = GENEROUS};
        tarn_message answer;
        CHECK_STATUS(tarn_client_open(&clients[i], TOPIC, &how), 0);
        CHECK_STATUS(tarn_client_call(clients[i], "?", 1, &answer, GENEROUS), 1);
        CHECK_STATUS(tarn_message_release(&answer), 0);
    }
    gate_signal(page->answered);
    gate_wait(page->over, 20);
    for (int i = 0; i < page->clients; i++)
        CHECK_STATUS(tarn_client_close(clients[i]), 0);
}

/* While a server waits for requests, with so many clients that have connected to it. */
static long questions_with(int clients) {
    struct page page = {gate_open(), gate_open(), clients};
    pid_t child = spawn(call_and_stay, &page);
    tarn_server *server;
    CHECK_STATUS(tarn_server_open(&server, TOPIC, NULL), 0);
    for (int i = 0; i < clients; i++) {
        tarn_request request;
        CHECK_STATUS(tarn_server_receive(server, &request, GENEROUS), 1);
        CHECK_STATUS(tarn_request_reply(&request, "!", 1), 1);
    }
    gate_wait(page.answered, 20);
    CHECK_STATUS(tarn_server_wait(server, 0), 0); /* has seen who came */
    questions = 0;
    CHECK_STATUS(tarn_server_wait(server, WAIT_NS), 0);
    long asked = questions;
    gate_signal(page.over);
    CHECK_INT(wait_child(child, 20), ==, 0);
    CHECK_STATUS(tarn_server_close(server), 0);
    gate_close(page.answered);
    gate_close(page.over);
    return asked;
}

TEST(an_idle_server_asks_no_more_with_many_clients) {
    long few = questions_with(8), many = questions_with(CLIENTS_MAX);
    CHECK_INT(few, >, 0);
    CHECK_INT(many, <=, 2 * few);
}

/* Takes a job, and acknowledges it, or keeps it. */
static void take_and_stay(void *arg) {
    struct page *page = arg;
    tarn_worker *worker;
    tarn_job job;
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC "/jobs", NULL), 0);
    CHECK_STATUS(tarn_worker_receive(worker, &job, GENEROUS), 1);
    if (page->clients == 0)
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    gate_signal(page->answered);
    gate_wait(page->over, 20);
    if (page->clients == 1)
        CHECK_STATUS(tarn_job_acknowledge(&job), 0);
    CHECK_STATUS(tarn_worker_close(worker), 0);
}

/* While a worker waits for jobs, and another process holds so many: none, or the only one. */
static long questions_while_held(int jobs) {
    struct page page = {gate_open(), gate_open(), jobs};
    pid_t child = spawn(take_and_stay, &page);
    tarn_producer *producer;
    tarn_worker *worker;
    tarn_job job;
    CHECK_STATUS(tarn_producer_open(&producer, TOPIC "/jobs", NULL), 0);
    CHECK_STATUS(tarn_producer_push(producer, "job", 3), 1);
    gate_wait(page.answered, 20);
    CHECK_STATUS(tarn_worker_open(&worker, TOPIC "/jobs", NULL), 0);
    questions = 0;
    CHECK_STATUS(tarn_worker_receive(worker, &job, WAIT_NS), 0);
    long asked = questions;
    gate_signal(page.over);
    CHECK_INT(wait_child(child, 20), ==, 0);
    CHECK_STATUS(tarn_worker_close(worker), 0);
    CHECK_STATUS(tarn_producer_close(producer), 0);
    gate_close(page.answered);
    gate_close(page.over);
    return asked;
}

TEST(a_worker_looks_more_often_while_another_holds_a_job) {
    long idle = questions_while_held(0), waiting = questions_while_held(1);
    CHECK_INT(idle, >, 0);
    CHECK_INT(waiting, >, 3 * idle);
}

enum { LARGE = 100 << 10, HOLDERS = 64 };

static void hold_and_stay(void *arg) {
    struct page *page = arg;
    tarn_message message;
    for (int i = 0; i < HOLDERS; i++) {
        tarn_subscriber *subscriber = SUBSCRIBER(TOPIC "/held", .history = 1);
        CHECK_STATUS(tarn_subscriber_receive(subscriber, &message, GENEROUS), 1);
    }
    gate_signal(page->answered);
    gate_wait(page->over, 20);
    _exit(0);
}

/*
 * Who needs no space asks for some of those who hold something for seconds, as it would be late for its next message.
 */
TEST(a_publisher_with_space_asks_for_a_few_of_many_holders) {
    static char data[LARGE];
    struct page page = {gate_open(), gate_open(), 0};
    tarn_publisher *publisher = PUBLISHER(TOPIC "/held", .depth = 1, .linger_ns = TARN_IMMEDIATELY);
    CHECK_STATUS(tarn_publisher_publish(publisher, data, LARGE), 1);
    pid_t child = spawn(hold_and_stay, &page);
    gate_wait(page.answered, 20);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(tarn_publisher_publish(publisher, data, LARGE), 1);
    questions = 0;
    int seconds = 0;
    for (int64_t start = now_ns(); seconds < 20 && (questions == 0 || seconds < 4);
         seconds = (int)((now_ns() - start) / SECOND)) {
        CHECK_STATUS(tarn_publisher_publish(publisher, data, 1000), 1);
        nap_ns(MS);
    }
    CHECK_INT(questions, >, 0);
    CHECK_INT(questions, <=, 4 * (seconds + 1));
    gate_signal(page.over);
    CHECK_INT(wait_child(child, 20), ==, 0);
    CHECK_INT(tarn_publisher_close(publisher), >=, 0);
    gate_close(page.answered);
    gate_close(page.over);
}
