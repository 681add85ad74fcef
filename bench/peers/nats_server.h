/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* A NATS server of the run's own, and a connection for each process. */
#ifndef TARN_BENCH_NATS_SERVER_H
#define TARN_BENCH_NATS_SERVER_H

#include <inttypes.h>
#include <nats/nats.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "ready.h"
#include "server.h"
#include "threads.h"

#define MESSAGE_BYTES_MAX (64u << 20)
#define BUFFER_BYTES (256 << 10)
#define WAIT_MS 1000
#define READY_SECONDS 20

static struct server server;
static uint32_t server_users, server_port;
static natsConnection *connection; /* one per process */
static uint32_t connection_users;

static inline void check(natsStatus status, const char *what) {
    if (status != NATS_OK) {
        peer_fail("nats: %s: %s", what, natsStatus_GetText(status));
    }
}

static inline const char *version(void) {
    static char text[64];
    snprintf(text, sizeof(text), "%s", nats_GetVersion());
    return text;
}

/* ---- server ----------------------------------------------------------------------------------------------------- */

/* more: of the configuration. */
static inline void prepare_server(struct peer_channel *channel, const char *more) {
    threads_prepare();
    ready_prepare(channel);
    if (server_users++ > 0) {
        return;
    }
    server_port = channel->port;
    char text[1024], path[256];
    snprintf(text, sizeof(text),
             "listen: \"127.0.0.1:%" PRIu32 "\"\nmax_payload: %u\nmax_pending: %u\nwrite_deadline: \"60s\"\n%s",
             server_port, MESSAGE_BYTES_MAX, 1u << 30, more);
    server_write_file(channel->folder, "nats.conf", text);
    snprintf(path, sizeof(path), "%s/nats.conf", channel->folder);
    const char *const command[] = {"nats-server", "--config", path, NULL};
    server = server_start(command, SIGKILL, channel->folder);
    server_wait_ready(&server, "nats-server", READY_SECONDS, server_port_answers, server_port);
}

static inline void prepare(struct peer_channel *channel) {
    prepare_server(channel, "");
}

static inline void release(struct peer_channel *channel) {
    ready_release(channel);
    if (--server_users == 0) {
        server_stop(&server);
    }
}

static inline uint32_t servers(int pids[8]) {
    pids[0] = server.pid;
    return 1;
}

/* ---- connections ------------------------------------------------------------------------------------------------ */

/* at_once: what is sent goes out at once, else a thread collects it for a moment, which is better for streams. */
static inline void use_connection(bool at_once) {
    if (connection_users++ > 0) {
        return;
    }
    natsOptions *options;
    char url[64];
    snprintf(url, sizeof(url), "nats://127.0.0.1:%" PRIu32, server_port);
    cpu_set_t own = threads_leave_cpu();
    check(natsOptions_Create(&options), "natsOptions_Create");
    check(natsOptions_SetURL(options, url), "natsOptions_SetURL");
    check(natsOptions_SetAllowReconnect(options, false), "natsOptions_SetAllowReconnect");
    check(natsOptions_SetSendAsap(options, at_once), "natsOptions_SetSendAsap");
    check(natsOptions_SetIOBufSize(options, BUFFER_BYTES), "natsOptions_SetIOBufSize");
    check(natsConnection_Connect(&connection, options), "natsConnection_Connect");
    natsOptions_Destroy(options);
    threads_return(own);
}

static inline void leave_connection(void) {
    if (--connection_users == 0) {
        natsConnection_Destroy(connection);
        connection = NULL;
    }
}

/* The server knows of it when this returns. */
static inline natsSubscription *subscribe(const char *subject) {
    natsSubscription *subscription;
    check(natsConnection_SubscribeSync(&subscription, connection, subject), "natsConnection_SubscribeSync");
    check(natsSubscription_SetPendingLimits(subscription, -1, -1), "natsSubscription_SetPendingLimits");
    check(natsConnection_Flush(connection), "natsConnection_Flush");
    return subscription;
}

#endif
