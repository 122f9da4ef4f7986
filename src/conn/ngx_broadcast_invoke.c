
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_invoke_local.h"
#include "base/ngx_broadcast_id.h"
#include "conn/ngx_broadcast_afar.h"


/*
 * The table of this worker's questions.  An id is
 *
 *     owner.random.serial     all hexadecimal
 *
 * where owner is the worker's owner word, random 8 bytes of the process (two
 * workers without a slot have the same owner word, and so may those of two
 * nodes), and the low bits of serial are the place in the table.  In the id of
 * a question to another node '~' stands behind the owner.
 */

#define NGX_BROADCAST_INVOKE_MARK  16       /* place of '.' or '~' */
#define NGX_BROADCAST_INVOKE_HEAD  (16 + 1 + 16 + 1)
#define NGX_BROADCAST_INVOKE_ID    (NGX_BROADCAST_INVOKE_HEAD + 16)


static ngx_int_t ngx_broadcast_invoke_start(void);
static size_t ngx_broadcast_invoke_id(ngx_broadcast_invoke_t *invoke,
    u_char *id);
static ngx_uint_t ngx_broadcast_invoke_is_afar(ngx_str_t *id);
static ngx_int_t ngx_broadcast_invoke_send(ngx_broadcast_record_t *rec,
    uint64_t serial);
static void ngx_broadcast_invoke_drop(ngx_broadcast_invoke_t *invoke);


ngx_broadcast_invoke_t  **ngx_broadcast_invokes;
ngx_uint_t                ngx_broadcast_invoke_count;

static uint64_t                 ngx_broadcast_invoke_serial;
static u_char                   ngx_broadcast_invoke_head[
                                               NGX_BROADCAST_INVOKE_ID + 1];
static ngx_event_t              ngx_broadcast_invoke_event;
static ngx_connection_t         ngx_broadcast_invoke_dumb;


/* words of the log for what became of an invocation */

static ngx_str_t  ngx_broadcast_invoke_words[NGX_BROADCAST_INVOKE_STATUSES] = {
    ngx_string("result"),
    ngx_string("error"),
    ngx_string("gone"),
    ngx_string("busy"),
    ngx_string("large"),
    ngx_string("plain"),
    ngx_string("early")
};


static ngx_int_t
ngx_broadcast_invoke_start(void)
{
    uint64_t  random;

    if (ngx_broadcast_invokes) {
        return NGX_OK;
    }

    if (ngx_broadcast_id_random((u_char *) &random, sizeof(random)) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_broadcast_bus.log, 0,
                      "broadcast: no random bytes for ids of invocations");
        return NGX_ERROR;
    }

    ngx_broadcast_invokes = ngx_calloc(NGX_BROADCAST_INVOKES
                                       * sizeof(ngx_broadcast_invoke_t *),
                                       ngx_broadcast_bus.log);
    if (ngx_broadcast_invokes == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(ngx_broadcast_invoke_head, "%016xL.%016xL.",
                (int64_t) ngx_broadcast_bus.owner, (int64_t) random);

    ngx_broadcast_invoke_dumb.fd = (ngx_socket_t) -1;

    ngx_memzero(&ngx_broadcast_invoke_event, sizeof(ngx_event_t));

    /* not cancelable: what clients wait for holds a worker that exits */

    ngx_broadcast_invoke_event.handler = ngx_broadcast_invoke_handler;
    ngx_broadcast_invoke_event.data = &ngx_broadcast_invoke_dumb;
    ngx_broadcast_invoke_event.log = ngx_broadcast_bus.log;

    return NGX_OK;
}


void
ngx_broadcast_invoke_stop(void)
{
    ngx_uint_t  i;

    if (ngx_broadcast_invokes == NULL) {
        return;
    }

    if (ngx_broadcast_invoke_event.timer_set) {
        ngx_del_timer(&ngx_broadcast_invoke_event);
    }

    for (i = 0; i < NGX_BROADCAST_INVOKES; i++) {
        if (ngx_broadcast_invokes[i]) {
            ngx_free(ngx_broadcast_invokes[i]);
        }
    }

    ngx_free(ngx_broadcast_invokes);
    ngx_broadcast_invokes = NULL;
    ngx_broadcast_invoke_count = 0;
}


static size_t
ngx_broadcast_invoke_id(ngx_broadcast_invoke_t *invoke, u_char *id)
{
    u_char  *last;

    last = ngx_sprintf(id, "%s%xL", ngx_broadcast_invoke_head,
                       (int64_t) invoke->serial);

    if (invoke->afar) {
        id[NGX_BROADCAST_INVOKE_MARK] = '~';
    }

    return last - id;
}


static ngx_uint_t
ngx_broadcast_invoke_is_afar(ngx_str_t *id)
{
    return id->len > NGX_BROADCAST_INVOKE_HEAD
           && id->data[NGX_BROADCAST_INVOKE_MARK] == '~';
}


/* a record by the way that its id says; returns as ngx_broadcast_invoke() */

static ngx_int_t
ngx_broadcast_invoke_send(ngx_broadcast_record_t *rec, uint64_t serial)
{
    if (ngx_broadcast_invoke_is_afar(&rec->group)) {
        return ngx_broadcast_afar_send(rec, serial);
    }

    return ngx_broadcast_publish(rec, 1) == NGX_OK ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_broadcast_invoke(ngx_broadcast_record_t *rec, ngx_uint_t afar,
    ngx_msec_t timeout, ngx_broadcast_invoke_pt handler, void *data,
    ngx_broadcast_invoke_t **invokep)
{
    u_char                   id[NGX_BROADCAST_INVOKE_ID + 1];
    uint64_t                 serial;
    ngx_int_t                rc;
    ngx_broadcast_invoke_t  *invoke, **place;

    if (ngx_broadcast_invoke_start() != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_broadcast_invoke_count == NGX_BROADCAST_INVOKES) {
        ngx_broadcast_count(NGX_BROADCAST_REFUSED_INVOCATION, 1);
        return NGX_BUSY;
    }

    do {
        serial = ++ngx_broadcast_invoke_serial;
        place = &ngx_broadcast_invokes[serial % NGX_BROADCAST_INVOKES];
    } while (*place);

    invoke = ngx_calloc(sizeof(ngx_broadcast_invoke_t), ngx_broadcast_bus.log);
    if (invoke == NULL) {
        return NGX_ERROR;
    }

    invoke->serial = serial;
    invoke->deadline = ngx_current_msec + timeout;
    invoke->handler = handler;
    invoke->data = data;
    invoke->afar = afar;
    invoke->looked = ngx_current_msec;
    invoke->hub = rec->hub;
    invoke->len = rec->name.len;
    ngx_memcpy(invoke->connection, rec->name.data, rec->name.len);

    rec->type = NGX_BROADCAST_REC_INVOKE;
    rec->scope = NGX_BROADCAST_CONNECTION;
    rec->flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec->group.data = id;
    rec->group.len = ngx_broadcast_invoke_id(invoke, id);

    rc = ngx_broadcast_invoke_send(rec, serial);

    if (rc != NGX_OK) {
        ngx_free(invoke);
        return rc;
    }

    *place = invoke;

    if (ngx_broadcast_invoke_count++ == 0) {
        ngx_add_timer(&ngx_broadcast_invoke_event, NGX_BROADCAST_INVOKE_LOOK);
    }

    *invokep = invoke;

    return NGX_OK;
}


void
ngx_broadcast_invoke_cancel(ngx_broadcast_invoke_t *invoke)
{
    ngx_broadcast_invoke_forget(invoke);
    ngx_broadcast_invoke_drop(invoke);
}


void
ngx_broadcast_invoke_forget(ngx_broadcast_invoke_t *invoke)
{
    u_char                  id[NGX_BROADCAST_INVOKE_ID + 1];
    ngx_broadcast_record_t  rec;

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_FORGET;
    rec.scope = NGX_BROADCAST_CONNECTION;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec.hub = invoke->hub;
    rec.name.data = invoke->connection;
    rec.name.len = invoke->len;
    rec.group.data = id;
    rec.group.len = ngx_broadcast_invoke_id(invoke, id);

    (void) ngx_broadcast_invoke_send(&rec, 0);
}


static void
ngx_broadcast_invoke_drop(ngx_broadcast_invoke_t *invoke)
{
    ngx_broadcast_invokes[invoke->serial % NGX_BROADCAST_INVOKES] = NULL;
    ngx_free(invoke);

    if (--ngx_broadcast_invoke_count == 0
        && ngx_broadcast_invoke_event.timer_set)
    {
        ngx_del_timer(&ngx_broadcast_invoke_event);
    }
}


void
ngx_broadcast_invoke_end(ngx_broadcast_invoke_t *invoke, ngx_uint_t status,
    ngx_str_t *text)
{
    void                     *data;
    ngx_str_t                 none = ngx_null_string;
    ngx_broadcast_invoke_pt   handler;

    handler = invoke->handler;
    data = invoke->data;

    ngx_broadcast_invoke_drop(invoke);

    handler(status, text ? text : &none, data);
}


ngx_broadcast_invoke_t *
ngx_broadcast_invoke_find(uint64_t serial)
{
    ngx_broadcast_invoke_t  *invoke;

    if (ngx_broadcast_invoke_count == 0) {
        return NULL;
    }

    invoke = ngx_broadcast_invokes[serial % NGX_BROADCAST_INVOKES];

    return (invoke && invoke->serial == serial) ? invoke : NULL;
}


void
ngx_broadcast_invoke_answer(ngx_broadcast_record_t *rec)
{
    u_char                   id[NGX_BROADCAST_INVOKE_ID + 1];
    uint64_t                 serial;
    ngx_uint_t               i, status;
    ngx_broadcast_invoke_t  *invoke;

    if (rec->group.len <= NGX_BROADCAST_INVOKE_HEAD) {
        return;
    }

    serial = (uint64_t) ngx_hextoi(rec->group.data + NGX_BROADCAST_INVOKE_HEAD,
                                   rec->group.len - NGX_BROADCAST_INVOKE_HEAD);

    invoke = ngx_broadcast_invoke_find(serial);

    if (invoke == NULL
        || ngx_broadcast_invoke_id(invoke, id) != rec->group.len
        || ngx_memcmp(rec->group.data, id, rec->group.len) != 0)
    {
        return;
    }

    status = NGX_BROADCAST_INVOKE_MISSED;

    for (i = 0; i < NGX_BROADCAST_INVOKE_STATUSES; i++) {

        if (rec->target.len == ngx_broadcast_invoke_words[i].len
            && ngx_memcmp(rec->target.data, ngx_broadcast_invoke_words[i].data,
                          rec->target.len)
               == 0)
        {
            status = i;
        }
    }

    ngx_broadcast_invoke_end(invoke, status, &rec->arguments);
}


void
ngx_broadcast_invoke_overrun(void)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_BROADCAST_INVOKES && ngx_broadcast_invoke_count; i++) {

        if (ngx_broadcast_invokes[i]) {
            ngx_broadcast_invoke_forget(ngx_broadcast_invokes[i]);
            ngx_broadcast_invoke_end(ngx_broadcast_invokes[i],
                                     NGX_BROADCAST_INVOKE_MISSED, NULL);
        }
    }
}


void
ngx_broadcast_invoke_unsent(uint64_t serial, ngx_uint_t status)
{
    ngx_broadcast_invoke_t  *invoke;

    invoke = ngx_broadcast_invoke_find(serial);

    if (invoke == NULL) {
        return;
    }

    if (status == NGX_BROADCAST_INVOKE_UNKNOWN) {
        ngx_broadcast_invoke_forget(invoke);
    }

    ngx_broadcast_invoke_end(invoke, status, NULL);
}


void
ngx_broadcast_invoke_reply(ngx_uint_t hub, ngx_str_t *connection,
    ngx_str_t *id, ngx_uint_t status, ngx_str_t *text)
{
    ngx_broadcast_record_t  rec;

    ngx_memzero(&rec, sizeof(ngx_broadcast_record_t));

    rec.type = NGX_BROADCAST_REC_ANSWER;
    rec.scope = NGX_BROADCAST_CONNECTION;
    rec.flags = NGX_BROADCAST_REC_UNNUMBERED;
    rec.source = NGX_BROADCAST_SRC_CLIENT;
    rec.hub = hub;
    rec.name = *connection;
    rec.group = *id;
    rec.target = ngx_broadcast_invoke_words[status];

    if (text) {
        rec.arguments = *text;
    }

    if (ngx_broadcast_invoke_send(&rec, 0) != NGX_DECLINED || text == NULL) {
        return;
    }

    rec.target = ngx_broadcast_invoke_words[NGX_BROADCAST_INVOKE_LARGE];
    ngx_str_null(&rec.arguments);

    (void) ngx_broadcast_invoke_send(&rec, 0);
}


ngx_uint_t
ngx_broadcast_invoke_awaited(ngx_str_t *id)
{
    uint64_t  owner;

    /* of another node's workers time alone tells */

    if (id->len <= NGX_BROADCAST_INVOKE_HEAD
        || ngx_broadcast_invoke_is_afar(id))
    {
        return 1;
    }

    owner = (uint64_t) ngx_hextoi(id->data, 16);

    return owner == 0
           || ngx_broadcast_slot_alive(ngx_broadcast_bus.zone, owner);
}
