/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Keepers. */
#include "binding.h"

static int keeper_open(void **ret, const char *topic, const void *options) {
    return tarn_keeper_open((tarn_keeper **)ret, topic, options);
}
static int keeper_close(void *tarn) {
    return tarn_keeper_close(tarn);
}
static int keeper_wait(void *tarn, int64_t timeout_ns) {
    return tarn_keeper_wait(tarn, timeout_ns);
}
static int keeper_interrupt(void *tarn) {
    return tarn_keeper_interrupt(tarn);
}
static int keeper_fd(void *tarn) {
    return tarn_keeper_fd(tarn);
}

static const struct option keeper_options[] = {
    OPTION(OPTION_TEXT, tarn_keeper_options, directory),
    OPTION(OPTION_TEXT, tarn_keeper_options, domain),
    OPTION(OPTION_U64, tarn_keeper_options, memory_max_bytes),
    OPTION(OPTION_U32, tarn_keeper_options, left_max),
    OPTION(OPTION_U32, tarn_keeper_options, wait_strategy),
    OPTION_SECONDS(tarn_keeper_options, spin),
    {NULL, 0, 0},
};

static const struct kind keeper_kind = {
    .name = "keeper",
    .options = keeper_options,
    .options_bytes = sizeof(tarn_keeper_options),
    .open = keeper_open,
    .close = keeper_close,
    .wait = keeper_wait,
    .interrupt = keeper_interrupt,
    .fd = keeper_fd,
};

static int keeper_init(PyObject *self, PyObject *arguments, PyObject *options) {
    return handle_open((Handle *)self, &keeper_kind, arguments, options);
}

static PyObject *keeper_left(PyObject *self, PyObject *unused) {
    (void)unused;
    Handle *handle = (Handle *)self;
    return handle_enter(handle) ? PyLong_FromUnsignedLongLong(tarn_keeper_left(handle->tarn)) : NULL;
}

static PyObject *keeper_let_go(PyObject *self, PyObject *unused) {
    (void)unused;
    Handle *handle = (Handle *)self;
    return handle_enter(handle) ? PyLong_FromUnsignedLongLong(tarn_keeper_let_go(handle->tarn)) : NULL;
}

static PyMethodDef keeper_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))handle_ready, METH_VARARGS | METH_KEYWORDS,
     "wait(timeout=None)\n--\n\nKeeps what comes, for timeout seconds (None: for ever). True, early: publishers were "
     "let go."},
    {"interrupt", handle_interrupt, METH_NOARGS,
     "interrupt()\n--\n\nEnds the wait under way, or the next one, with WaitInterrupted. From any thread."},
    {"fileno", handle_fileno, METH_NOARGS,
     "fileno()\n--\n\nA descriptor for event loops: readable when wait(0) has something to do."},
    {"left", keeper_left, METH_NOARGS, "left()\n--\n\nPublishers of messages that left or died, and are kept."},
    {"let_go", keeper_let_go, METH_NOARGS, "let_go()\n--\n\nHow many of these were let go so far."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot keeper_slots[] = {
    {Py_tp_doc, "Keeps what is in a topic beyond the lives of those who sent it."},
    {Py_tp_init, keeper_init},
    {Py_tp_methods, keeper_methods},
    {0, NULL},
};

int keeper_add_types(PyObject *module) {
    PyType_Spec spec = {"tarn_ipc._tarn.Keeper", sizeof(Handle), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                        keeper_slots};
    return add_type(module, &spec, handle_base, NULL);
}
