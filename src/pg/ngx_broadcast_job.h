
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_JOB_H_INCLUDED_
#define _NGX_BROADCAST_JOB_H_INCLUDED_


#include "pg/ngx_broadcast_call.h"
#include "pg/ngx_broadcast_pg_conn.h"


/*
 * What a caller holds and may cancel.  Everything that is asked for through
 * call.h and outbox.h begins with it.
 */

struct ngx_broadcast_call_s {
    void                      (*cancel)(ngx_broadcast_call_t *call);
    uint64_t                    data[NGX_BROADCAST_CALL_DATA / 8];
                                            /* the caller's, a copy */
};


/*
 * A call that is one query of the pool, with a time limit.  It owns itself:
 * it is freed when it ended and its query is not in flight any more.
 */

typedef struct ngx_broadcast_job_s  ngx_broadcast_job_t;

/*
 * Tells the caller; called once, unless it was cancelled.  status is one of
 * NGX_BROADCAST_CALL_…, result is borrowed, NULL unless OK or FAILED.
 */
typedef void (*ngx_broadcast_job_pt)(ngx_broadcast_job_t *job,
    ngx_uint_t status, PGresult *result);

struct ngx_broadcast_job_s {
    ngx_broadcast_call_t        call;
    ngx_broadcast_pg_query_t    query;
    ngx_pool_t                 *pool;       /* owned, holds the job, too */
    ngx_queue_t                 queue;      /* of those that are waited for */
    ngx_msec_t                  due;        /* when the caller gives up */
    ngx_broadcast_job_pt        end;
    uint64_t                    started;    /* microseconds, wall clock */
    ngx_uint_t                  watched;    /* 1: it is in that queue */
    ngx_uint_t                  finished;   /* 1: the caller was told, or does
                                               not want to be */
};


/*
 * A zeroed object of size bytes that begins with a job, in a pool of its own;
 * data is the caller's, its size at most NGX_BROADCAST_CALL_DATA.  NULL: no
 * memory, or the data is too large.
 */
void *ngx_broadcast_job_create(size_t size, ngx_broadcast_job_pt end,
    const void *data, size_t len);
/* before it was started */
void ngx_broadcast_job_destroy(ngx_broadcast_job_t *job);

/* as ngx_broadcast_pg_pool_send(); unless NGX_OK the job is destroyed */
ngx_int_t ngx_broadcast_job_start(ngx_broadcast_job_t *job,
    ngx_uint_t urgency, ngx_broadcast_call_t **call);

/* zero terminated copy, in the job's pool; NULL: no memory */
char *ngx_broadcast_job_text(ngx_broadcast_job_t *job, ngx_str_t *text);
char *ngx_broadcast_job_number(ngx_broadcast_job_t *job, int64_t n);

/* microseconds of the wall clock */
uint64_t ngx_broadcast_now(void);


#endif /* _NGX_BROADCAST_JOB_H_INCLUDED_ */
