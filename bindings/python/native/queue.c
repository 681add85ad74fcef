/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Producers and workers. */
#include "binding.h"

/*
 * ---- producers ------------------------------------------------------------------------------------------------------
 */

static int producer_open(void **ret, const char *topic, const void *options) {
    return tarn_producer_open((tarn_producer **)ret, topic, options);
}
static int producer_close(void *tarn) {
    return tarn_producer_close(tarn);
}
static int producer_flush(void *tarn, int64_t timeout_ns) {
    return tarn_producer_flush(tarn, timeout_ns);
}
static int producer_kept(void *tarn, int64_t timeout_ns) {
    return tarn_producer_kept(tarn, timeout_ns);
}
static int producer_workers(void *tarn) {
    return tarn_producer_workers(tarn);
}
static int push_data(void *tarn, const void *data, size_t bytes) {
    return tarn_producer_push(tarn, data, bytes);
}

static const struct option producer_options[] = {
    OPTION(OPTION_TEXT, tarn_producer_options, directory),
    OPTION(OPTION_TEXT, tarn_producer_options, domain),
    OPTION(OPTION_TYPE, tarn_producer_options, type),
    OPTION(OPTION_U64, tarn_producer_options, memory_limit_bytes),
    OPTION(OPTION_U32, tarn_producer_options, capacity),
    OPTION(OPTION_U32, tarn_producer_options, when_full),
    OPTION(OPTION_U32, tarn_producer_options, alignment),
    OPTION(OPTION_U32, tarn_producer_options, attempts_max),
    OPTION_SECONDS(tarn_producer_options, full_timeout),
    OPTION_SECONDS(tarn_producer_options, linger),
    OPTION_SECONDS(tarn_producer_options, claim_limit),
    {NULL, 0, 0},
};

static const struct kind producer_kind = {
    .name = "producer",
    .options = producer_options,
    .options_bytes = sizeof(tarn_producer_options),
    .open = producer_open,
    .close = producer_close,
    .linger = producer_kept,
    .linger_ns = TARN_FOREVER,
};

static int producer_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &producer_kind, arguments, options);
}

static PyObject *push(PyObject *self, PyObject *object) {
    Handle *handle = (Handle *)self;
    Buffer data;
    if (!handle_enter(handle) || data_get(object, handle->type, &data) < 0)
        return NULL;
    int pushed = handle_enter(handle) ? send_data(handle, &data, push_data, handle->tarn) : 0;
    PyBuffer_Release(&data);
    if (pushed < 0 || PyErr_Occurred())
        return raise_sent(pushed);
    Py_RETURN_NONE;
}

static PyObject *producer_loan(PyObject *self, PyObject *number) {
    Handle *handle = (Handle *)self;
    tarn_loan loan;
    Py_ssize_t bytes;
    if (loan_bytes(number, &bytes) < 0 || !handle_enter(handle))
        return NULL;
    struct patience patience = {0};
    int lent;
    do {
        PyThreadState *state = handle_unlock(handle);
        lent = tarn_producer_loan(handle->tarn, (size_t)bytes, &loan);
        handle_lock(handle, state);
    } while (handle_goes_on(handle, lent, &patience));
    if (lent < 0)
        return raise_sent(lent);
    return payload_new(&loan_payload, classes.loan, handle, handle->type, &loan);
}

static PyObject *flush(PyObject *self, PyObject *arguments, PyObject *names) {
    return handle_until(self, arguments, names, producer_flush);
}

static PyObject *kept(PyObject *self, PyObject *arguments, PyObject *names) {
    return handle_until(self, arguments, names, producer_kept);
}

static PyObject *workers(PyObject *self, PyObject *unused) {
    (void)unused;
    return handle_count(self, producer_workers);
}

static PyObject *unacknowledged(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tarn_producer_unacknowledged(((Handle *)self)->tarn));
}

static PyObject *rejected(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tarn_producer_rejected(((Handle *)self)->tarn));
}

static PyObject *producer_identity(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(tarn_producer_identity(((Handle *)self)->tarn));
}

static PyMethodDef producer_methods[] = {
    {"push", push, METH_O, "push(data)\n--\n\nCopies data into the queue."},
    {"loan", producer_loan, METH_O, "loan(bytes)\n--\n\nA place to write a job to."},
    METHOD_WITH_NAMES("flush", flush, "flush(timeout=None)\n--\n\nWhether all are acknowledged or rejected in time."),
    METHOD_WITH_NAMES("kept", kept, "kept(timeout=None)\n--\n\nWhether, in time, all would outlive this producer."),
    {"workers", workers, METH_NOARGS, "workers()\n--\n\nHow many live ones the topic has."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef producer_getters[] = {
    {"unacknowledged", unacknowledged, NULL, "Messages neither acknowledged nor rejected.", NULL},
    {"rejected", rejected, NULL, "Messages rejected so far.", NULL},
    {"identity", producer_identity, NULL, "As its jobs carry it; 0 when closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot producer_slots[] = {
    {Py_tp_doc, "Puts messages into a work queue, each of which goes to one worker."},
    {Py_tp_init, producer_init},
    {Py_tp_methods, producer_methods},
    {Py_tp_getset, producer_getters},
    {0, NULL},
};

/*
 * ---- workers --------------------------------------------------------------------------------------------------------
 */

static int worker_open(void **ret, const char *topic, const void *options) {
    return tarn_worker_open((tarn_worker **)ret, topic, options);
}
static int worker_close(void *tarn) {
    return tarn_worker_close(tarn);
}
static int worker_wait(void *tarn, int64_t timeout_ns) {
    return tarn_worker_wait(tarn, timeout_ns);
}
static int worker_interrupt(void *tarn) {
    return tarn_worker_interrupt(tarn);
}
static int worker_fd(void *tarn) {
    return tarn_worker_fd(tarn);
}

static int worker_take(Handle *handle, PyObject **ret) {
    tarn_job job;
    int taken = tarn_worker_take(handle->tarn, &job);
    if (taken <= 0)
        return taken < 0 ? fail_status(taken) : 0;
    *ret = payload_new(&job_payload, classes.job, handle, handle->type, &job);
    return *ret ? 1 : -1;
}

static const struct option worker_options[] = {
    OPTION(OPTION_TEXT, tarn_worker_options, directory),
    OPTION(OPTION_TEXT, tarn_worker_options, domain),
    OPTION(OPTION_TYPE, tarn_worker_options, type),
    OPTION(OPTION_U32, tarn_worker_options, prefetch),
    OPTION(OPTION_U32, tarn_worker_options, wait_strategy),
    OPTION_SECONDS(tarn_worker_options, spin),
    {NULL, 0, 0},
};

static const struct kind worker_kind = {
    .name = "worker",
    .options = worker_options,
    .options_bytes = sizeof(tarn_worker_options),
    .open = worker_open,
    .close = worker_close,
    .wait = worker_wait,
    .interrupt = worker_interrupt,
    .fd = worker_fd,
    .take = worker_take,
};

static int worker_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &worker_kind, arguments, options);
}

static PyMethodDef worker_methods[] = {
    HANDLE_WAITING_METHODS,
    {NULL, NULL, 0, NULL},
};

static PyType_Slot worker_slots[] = {
    {Py_tp_doc, "Takes jobs from a work queue."},
    {Py_tp_init, worker_init},
    {Py_tp_methods, worker_methods},
    {0, NULL},
};

int queue_add_types(PyObject *module) {
    const unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE;
    PyType_Spec producer = {"tarn_ipc._tarn.Producer", sizeof(Handle), 0, flags, producer_slots};
    PyType_Spec worker = {"tarn_ipc._tarn.Worker", sizeof(Handle), 0, flags, worker_slots};
    int status = add_type(module, &producer, handle_base, NULL);
    return status ? status : add_type(module, &worker, handle_base, NULL);
}
