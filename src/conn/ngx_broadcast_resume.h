
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_RESUME_H_INCLUDED_
#define _NGX_BROADCAST_RESUME_H_INCLUDED_


#include "conn/ngx_broadcast_index.h"


/* The inside of a resume: for those who replay. */


#define NGX_BROADCAST_RESUME_PAGE  64           /* messages of the log */
#define NGX_BROADCAST_RESUME_ROWS  1024         /* of the database, or for a
                                                   poll, at most */
#define NGX_BROADCAST_RESUME_FULL  (64 * 1024)  /* bytes queued: wait */
#define NGX_BROADCAST_RESUME_POLL  (256 * 1024) /* the same of a poll: each
                                                   answer costs its client the
                                                   way to here and back */


/* messages of the log in one page, and bytes queued before a page waits */

#define ngx_broadcast_resume_messages(bc)                                     \
    ((bc)->type == NGX_BROADCAST_LONGPOLL ? NGX_BROADCAST_RESUME_ROWS         \
                                          : NGX_BROADCAST_RESUME_PAGE)

#define ngx_broadcast_resume_full(bc)                                         \
    ((bc)->type == NGX_BROADCAST_LONGPOLL ? NGX_BROADCAST_RESUME_POLL         \
                                          : NGX_BROADCAST_RESUME_FULL)

#define ngx_broadcast_resume_room(bc)                                         \
    ngx_min(ngx_broadcast_resume_full(bc), (bc)->limits->queue / 2)

/* bytes that the client has not got: queued, or without a number yet */

#define ngx_broadcast_resume_queued(bc)                                       \
    ((bc)->outq.bytes                                                         \
     + ((bc)->sequence ? (bc)->sequence->waiting.bytes : 0))


/* with memory of its own for the texts; NULL: no memory */
ngx_broadcast_resume_t *ngx_broadcast_resume_new(ngx_str_t *requested,
    size_t suffix);

/* live messages up to there are not for it, also those that are held */
void ngx_broadcast_resume_skip(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *position);

/* what comes next of what is missing; from the log if it has it */
void ngx_broadcast_resume_page(ngx_broadcast_conn_t *bc);

/* the same from the database */
void ngx_broadcast_resume_ask(ngx_broadcast_conn_t *bc);

/* all of it was queued, or told as a gap; may leave bc without a resume */
void ngx_broadcast_resume_finish(ngx_broadcast_conn_t *bc);
void ngx_broadcast_resume_gap(ngx_broadcast_conn_t *bc,
    ngx_broadcast_position_t *oldest);
void ngx_broadcast_resume_local_gap(ngx_broadcast_conn_t *bc);


#endif /* _NGX_BROADCAST_RESUME_H_INCLUDED_ */
