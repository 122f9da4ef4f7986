
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "conn/ngx_broadcast_resume.h"
#include "conn/ngx_broadcast_state.h"


/*
 * What a connection that is told its position takes with it to another worker:
 * the last one told and, during a replay, how far that is.  The database is
 * not being asked then: a move waits for the answer.
 */

#define NGX_BROADCAST_RESUME_BEGUN    0x01
#define NGX_BROADCAST_RESUME_FRESH    0x02
#define NGX_BROADCAST_RESUME_WAITING  0x04
#define NGX_BROADCAST_RESUME_CHECKED  0x08
#define NGX_BROADCAST_RESUME_AWAY     0x10
#define NGX_BROADCAST_RESUME_KEPT     0x20
#define NGX_BROADCAST_RESUME_CHANGED  0x40
#define NGX_BROADCAST_RESUME_THROUGH  0x80
#define NGX_BROADCAST_RESUME_AHEAD    0x100
#define NGX_BROADCAST_RESUME_SETTLED  0x200
#define NGX_BROADCAST_RESUME_UNHEARD  0x400


static void ngx_broadcast_resume_put_position(ngx_broadcast_buf_t *b,
    ngx_broadcast_position_t *position);
static void ngx_broadcast_resume_get_position(ngx_broadcast_state_in_t *in,
    ngx_broadcast_position_t *position);
static uint64_t ngx_broadcast_resume_flags(ngx_broadcast_resume_t *r);
static void ngx_broadcast_resume_set_flags(ngx_broadcast_resume_t *r,
    uint64_t flags);


ngx_broadcast_resume_t *
ngx_broadcast_resume_new(ngx_str_t *requested, size_t suffix)
{
    ngx_broadcast_resume_t  *r;

    r = ngx_calloc(sizeof(ngx_broadcast_resume_t) + requested->len
                   + NGX_BROADCAST_POSITION_LEN + suffix,
                   ngx_broadcast_bus.log);
    if (r == NULL) {
        return NULL;
    }

    r->requested.len = requested->len;
    r->requested.data = (u_char *) (r + 1);
    ngx_memcpy(r->requested.data, requested->data, requested->len);

    r->suffix.len = suffix;
    r->suffix.data = r->requested.data + requested->len - suffix;

    r->place = r->requested.data + requested->len;
    r->page = NGX_BROADCAST_RESUME_PAGE;

    return r;
}


void
ngx_broadcast_resume_free(ngx_broadcast_conn_t *bc)
{
    if (bc->resume) {
        ngx_broadcast_outq_clear(&bc->resume->early, 0);
        ngx_broadcast_outq_clear(&bc->resume->held, 0);
        ngx_free(bc->resume);
        bc->resume = NULL;
    }
}


void
ngx_broadcast_resume_put(ngx_broadcast_buf_t *b, ngx_broadcast_conn_t *bc)
{
    ngx_broadcast_resume_t  *r;

    if (!bc->tells) {
        return;
    }

    ngx_broadcast_resume_put_position(b, bc->told);

    r = bc->resume;

    if (r == NULL) {
        return;
    }

    ngx_broadcast_state_put_bytes(b, r->requested.data, r->requested.len);
    ngx_broadcast_state_put(b, r->suffix.len);
    ngx_broadcast_state_put(b, ngx_broadcast_resume_flags(r));

    ngx_broadcast_resume_put_position(b, &r->after);
    ngx_broadcast_resume_put_position(b, &r->upto);
    ngx_broadcast_resume_put_position(b, &r->skip);

    ngx_broadcast_state_put(b, r->page);
    ngx_broadcast_state_put(b, r->delay);
    ngx_broadcast_state_put(b, ngx_current_msec - r->deadline);
    ngx_broadcast_state_put(b, ngx_current_msec - r->again);

    ngx_broadcast_state_put(b, r->early.count);

    ngx_broadcast_state_put_frames(b, &r->early);
    ngx_broadcast_state_put_frames(b, &r->held);
}


ngx_int_t
ngx_broadcast_resume_get(ngx_broadcast_state_in_t *in,
    ngx_broadcast_conn_t *bc)
{
    uint64_t                 n, suffix;
    ngx_int_t                rc;
    ngx_str_t                requested;
    ngx_broadcast_frame_t   *frame;
    ngx_broadcast_resume_t  *r;

    if (in->pos == in->last) {
        return NGX_OK;
    }

    bc->told = ngx_calloc(sizeof(ngx_broadcast_position_t),
                          ngx_broadcast_bus.log);
    if (bc->told == NULL) {
        return NGX_ERROR;
    }

    bc->tells = 1;

    ngx_broadcast_resume_get_position(in, bc->told);

    if (in->pos == in->last) {
        return NGX_OK;
    }

    ngx_broadcast_state_get_bytes(in, &requested);
    suffix = ngx_broadcast_state_get(in);

    if (in->failed || suffix > requested.len) {
        return NGX_DECLINED;
    }

    r = ngx_broadcast_resume_new(&requested, (size_t) suffix);
    if (r == NULL) {
        return NGX_ERROR;
    }

    bc->resume = r;

    ngx_broadcast_resume_set_flags(r, ngx_broadcast_state_get(in));

    ngx_broadcast_resume_get_position(in, &r->after);
    ngx_broadcast_resume_get_position(in, &r->upto);
    ngx_broadcast_resume_get_position(in, &r->skip);

    r->page = (ngx_uint_t) ngx_broadcast_state_get(in);
    r->delay = (ngx_msec_t) ngx_broadcast_state_get(in);
    r->deadline = ngx_current_msec - (ngx_msec_t) ngx_broadcast_state_get(in);
    r->again = ngx_current_msec - (ngx_msec_t) ngx_broadcast_state_get(in);

    n = ngx_broadcast_state_get(in);

    if (in->failed || r->page == 0 || r->page > NGX_BROADCAST_RESUME_ROWS) {
        return NGX_DECLINED;
    }

    rc = ngx_broadcast_state_get_frames(in, &r->held);

    for ( /* void */ ; rc == NGX_OK && n; n--) {

        if (r->held.count == 0) {
            return NGX_DECLINED;
        }

        frame = ngx_broadcast_outq_shift(&r->held);
        rc = ngx_broadcast_outq_push(&r->early, frame);
        ngx_broadcast_frame_free(frame);
    }

    return rc;
}


static void
ngx_broadcast_resume_put_position(ngx_broadcast_buf_t *b,
    ngx_broadcast_position_t *position)
{
    ngx_broadcast_state_put(b, position->epoch);
    ngx_broadcast_state_put(b, position->seq);
}


static void
ngx_broadcast_resume_get_position(ngx_broadcast_state_in_t *in,
    ngx_broadcast_position_t *position)
{
    position->epoch = ngx_broadcast_state_get(in);
    position->seq = ngx_broadcast_state_get(in);
}


static uint64_t
ngx_broadcast_resume_flags(ngx_broadcast_resume_t *r)
{
    return (r->begun ? NGX_BROADCAST_RESUME_BEGUN : 0)
           | (r->fresh ? NGX_BROADCAST_RESUME_FRESH : 0)
           | (r->waiting ? NGX_BROADCAST_RESUME_WAITING : 0)
           | (r->checked ? NGX_BROADCAST_RESUME_CHECKED : 0)
           | (r->away ? NGX_BROADCAST_RESUME_AWAY : 0)
           | (r->kept ? NGX_BROADCAST_RESUME_KEPT : 0)
           | (r->changed ? NGX_BROADCAST_RESUME_CHANGED : 0)
           | (r->through ? NGX_BROADCAST_RESUME_THROUGH : 0)
           | (r->ahead ? NGX_BROADCAST_RESUME_AHEAD : 0)
           | (r->settled ? NGX_BROADCAST_RESUME_SETTLED : 0)
           | (r->unheard ? NGX_BROADCAST_RESUME_UNHEARD : 0);
}


static void
ngx_broadcast_resume_set_flags(ngx_broadcast_resume_t *r, uint64_t flags)
{
    r->begun = (flags & NGX_BROADCAST_RESUME_BEGUN) ? 1 : 0;
    r->fresh = (flags & NGX_BROADCAST_RESUME_FRESH) ? 1 : 0;
    r->waiting = (flags & NGX_BROADCAST_RESUME_WAITING) ? 1 : 0;
    r->checked = (flags & NGX_BROADCAST_RESUME_CHECKED) ? 1 : 0;
    r->away = (flags & NGX_BROADCAST_RESUME_AWAY) ? 1 : 0;
    r->kept = (flags & NGX_BROADCAST_RESUME_KEPT) ? 1 : 0;
    r->changed = (flags & NGX_BROADCAST_RESUME_CHANGED) ? 1 : 0;
    r->through = (flags & NGX_BROADCAST_RESUME_THROUGH) ? 1 : 0;
    r->ahead = (flags & NGX_BROADCAST_RESUME_AHEAD) ? 1 : 0;
    r->settled = (flags & NGX_BROADCAST_RESUME_SETTLED) ? 1 : 0;
    r->unheard = (flags & NGX_BROADCAST_RESUME_UNHEARD) ? 1 : 0;
}
