/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Keyword arguments to the library's options. None is the default, as is leaving one out. */
#include "binding.h"

static const struct option *option_find(const struct kind *kind, const char *name) {
    for (const struct option *option = kind->options; option->name; option++)
        if (strcmp(option->name, name) == 0)
            return option;
    return NULL;
}

/*
 * ---- one value of each form -----------------------------------------------------------------------------------------
 */

static int parse_u64(const struct option *option, PyObject *value, uint64_t max, uint64_t *ret) {
    PyObject *number = PyNumber_Index(value);
    *ret = number ? PyLong_AsUnsignedLongLong(number) : 0;
    Py_XDECREF(number);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError))
        return -1;
    if (PyErr_Occurred() || *ret > max) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s is out of range", option->name);
        return -1;
    }
    return 0;
}

/* 0 seconds are said by another word than the default is. */
static int parse_time(const struct option *option, PyObject *value, int64_t *ret_ns) {
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds >= 0)) {
        PyErr_Format(PyExc_ValueError, "%s is a number of seconds, 0 or more", option->name);
        return -1;
    }
    *ret_ns = seconds >= 9e9 ? TARN_FOREVER : (int64_t)(seconds * 1e9);
    if (*ret_ns == 0)
        *ret_ns = TARN_IMMEDIATELY;
    return 0;
}

static int keep(struct parsed *ret, PyObject *object) {
    return ret->kept ? PyList_Append(ret->kept, object) : -1;
}

static int parse_text(struct parsed *ret, PyObject *value, const char **ret_text) {
    PyObject *bytes = NULL;
    if (!PyUnicode_FSConverter(value, &bytes))
        return -1;
    int status = keep(ret, bytes);
    *ret_text = PyBytes_AsString(bytes);
    Py_DECREF(bytes);
    return status;
}

/* A tarn_ipc.Type: its _parts are what tarn_type has. */
static int parse_type(struct parsed *ret, PyObject *value, bool is_second, const tarn_type **ret_type) {
    tarn_type *type = &ret->types[is_second];
    PyObject *parts = PyObject_GetAttrString(value, "_parts");
    if (!parts || keep(ret, parts) < 0) {
        Py_XDECREF(parts);
        return -1;
    }
    unsigned long long bytes;
    unsigned int alignment;
    Py_ssize_t schema_bytes;
    type->struct_bytes = sizeof(*type);
    int is_fine = PyArg_ParseTuple(parts, "sKIzz#", &type->name, &bytes, &alignment, &type->encoding, &type->schema,
                                   &schema_bytes);
    Py_DECREF(parts);
    if (!is_fine)
        return -1;
    type->bytes = bytes;
    type->alignment = alignment;
    type->schema_bytes = (size_t)schema_bytes;
    ret->type_objects[is_second] = value;
    *ret_type = type;
    return 0;
}

/* ids and ids_count of a listener. */
static int parse_ids(struct parsed *ret, const struct option *option, PyObject *value) {
    uint64_t number = 0;
    PyObject *ids = PySequence_Tuple(value);
    Py_ssize_t count = ids ? PyTuple_Size(ids) : -1;
    ret->ids = count < 0 ? NULL : PyMem_Malloc(sizeof(*ret->ids) * ((size_t)count + 1));
    if (count >= 0 && !ret->ids)
        PyErr_NoMemory();
    int status = ret->ids ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < count; i++) {
        status = parse_u64(option, PyTuple_GetItem(ids, i), UINT32_MAX, &number);
        ret->ids[i] = (uint32_t)number;
    }
    Py_XDECREF(ids);
    ret->listener.ids = ret->ids;
    ret->listener.ids_count = (uint32_t)count;
    return status;
}

static int option_set(struct parsed *ret, const struct option *option, PyObject *value) {
    void *at = (char *)ret + option->offset;
    uint64_t number = 0;
    int status = 0;
    switch (option->form) {
    case OPTION_U32:
        status = parse_u64(option, value, UINT32_MAX, &number);
        *(uint32_t *)at = (uint32_t)number;
        return status;
    case OPTION_AFTER:
        status = parse_u64(option, value, UINT32_MAX - 1, &number);
        *(uint32_t *)at = (uint32_t)number + 1;
        return status;
    case OPTION_U64:
        return parse_u64(option, value, UINT64_MAX, at);
    case OPTION_TIME:
        return parse_time(option, value, at);
    case OPTION_FLAG:
        status = PyObject_IsTrue(value);
        *(uint32_t *)at = status > 0;
        return status < 0 ? -1 : 0;
    case OPTION_TEXT:
        return parse_text(ret, value, at);
    case OPTION_TYPE:
        return parse_type(ret, value, strcmp(option->name, "response_type") == 0, at);
    case OPTION_IDS:
        return parse_ids(ret, option, value);
    }
    return 0;
}

/*
 * ---- all of them ----------------------------------------------------------------------------------------------------
 */

int options_parse(struct parsed *ret, const struct kind *kind, PyObject *given) {
    PyObject *name, *value;
    memset(ret, 0, sizeof(*ret));
    ret->struct_bytes = kind->options_bytes;
    ret->kept = PyList_New(0);
    if (!ret->kept)
        return -1;
    for (Py_ssize_t at = 0; given && PyDict_Next(given, &at, &name, &value);) {
        PyObject *text = PyUnicode_AsUTF8String(name);
        if (!text)
            return -1;
        const struct option *option = option_find(kind, PyBytes_AsString(text));
        Py_DECREF(text);
        if (!option) {
            PyErr_Format(PyExc_TypeError, "a %s has no option %R", kind->name, name);
            return -1;
        }
        if (value != Py_None && option_set(ret, option, value) < 0)
            return -1;
    }
    return 0;
}

void options_free(struct parsed *parsed) {
    Py_XDECREF(parsed->kept);
    PyMem_Free(parsed->ids);
}
