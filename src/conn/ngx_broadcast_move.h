
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_MOVE_H_INCLUDED_
#define _NGX_BROADCAST_MOVE_H_INCLUDED_


#include "conn/ngx_broadcast_conn.h"


/*
 * A connection goes to the worker at which a request of it has landed.  The
 * row's owner word is the one truth about whose it is; the two records only
 * tell that it has changed, and bring the state.
 *
 *      old owner A                log                      new owner B
 *                                            <-- 1  row: owner is B
 *                              MOVE(id)      <-- 2  the request waits
 *   3  reads MOVE; as soon as
 *      no call is under way  --> STATE(id, B,
 *      drops the connection       matched)   --> 4  makes the connection,
 *                                                   re-reads the log from
 *                                                   `matched` to here for it,
 *                                                   serves the request
 *
 * Until 3 A goes on matching and holds all of the state, behind 4 B does: no
 * record is matched twice or by nobody.  If the owner has changed again when
 * STATE is sent it goes to the newest; who gets one and is not the owner any
 * more forwards it.  While a call holds the connection A tells B to wait.  A
 * dead B: the sweep ends the row.  A dead or silent A: B ends it itself.
 */

typedef struct ngx_broadcast_move_s  ngx_broadcast_move_t;

/*
 * NGX_OK: bc is here; else bc is NULL and NGX_DECLINED: it has ended (404);
 * NGX_ABORT: a newer request has taken it (204); NGX_BUSY: this worker ends
 * (503).  The move is over, its handle must not be used any more.
 */
typedef void (*ngx_broadcast_move_pt)(ngx_broadcast_conn_t *bc, ngx_int_t rc,
    void *data);


typedef struct {
    ngx_str_t                  id;
    ngx_broadcast_row_info_t  *row;         /* as it was found just now */
    ngx_broadcast_limits_t    *limits;      /* of the request's location */
    ngx_broadcast_transport_t *transport;   /* attached without a request; NULL
                                               for a WebSocket */
    ngx_broadcast_move_pt      handler;
    void                      *data;
} ngx_broadcast_move_in_t;


/*
 * Makes the connection of a LIVE row this worker's.  NGX_OK: it is here, *bc;
 * NGX_AGAIN: the handler is called once, later, *move is good until then;
 * NGX_DECLINED: it has ended; NGX_BUSY: too many wait, or this worker has no
 * slot; NGX_ERROR: no memory.  A request that waited for the same connection
 * gets NGX_ABORT before this returns.
 */
ngx_int_t ngx_broadcast_move(ngx_broadcast_move_in_t *in,
    ngx_broadcast_move_t **move, ngx_broadcast_conn_t **bc);

/* the request is gone; the connection still comes */
void ngx_broadcast_move_cancel(ngx_broadcast_move_t *move);


/* for this room: the records, and what a move waits for */

void ngx_broadcast_move_asked(ngx_broadcast_record_t *rec);
void ngx_broadcast_move_arrived(ngx_broadcast_record_t *rec);
void ngx_broadcast_move_overrun(void);

/*
 * Called with each tick.  A worker that took a row may have died before it
 * told so: when one is gone, who has connections looks whose they are.
 */
void ngx_broadcast_move_look(void);

/*
 * Sends bc to the row's owner, if nothing holds it here.  NGX_OK: bc is gone
 * and must not be touched; NGX_AGAIN: not yet; NGX_DECLINED: it stays, this
 * worker is the owner again.
 */
ngx_int_t ngx_broadcast_move_go(ngx_broadcast_conn_t *bc);

/* a connection ended here whose row is another's: who waits for it is told */
void ngx_broadcast_move_gone(ngx_uint_t hub, ngx_str_t *id);

/*
 * MOVE for a connection of this worker, or (NULL) for one that has ended and
 * whose row a call holds: it goes, or its owner (0: nobody) is told to wait.
 */
void ngx_broadcast_move_wanted(ngx_broadcast_conn_t *bc,
    ngx_broadcast_record_t *rec, ngx_broadcast_owner_t owner);

/* the next tick looks whose each connection is */
void ngx_broadcast_move_doubt(void);

/* one of the two records */
ngx_int_t ngx_broadcast_move_publish(ngx_uint_t type, ngx_uint_t hub,
    ngx_str_t *id, ngx_str_t *arguments);

void ngx_broadcast_move_start(ngx_cycle_t *cycle);
void ngx_broadcast_move_stop(void);


#endif /* _NGX_BROADCAST_MOVE_H_INCLUDED_ */
