
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_LOG_H_INCLUDED_
#define _NGX_BROADCAST_LOG_H_INCLUDED_


#include "shm/ngx_broadcast_record.h"


/*
 * Appends n records in one critical section, all or none.  Numbers them
 * (position, log) unless they bring their number or take none; a record whose
 * `relay` is not above the zone's relay cursor was appended before and is
 * skipped (position stays as given, log is 0).
 *
 * NGX_OK; NGX_BUSY: cannot fit (507 to the publisher); the older messages
 * make room for anything that can.  NGX_ABORT: no room for the rules that the
 * records make (507, too).  NGX_DONE: appended, but there was no room for a
 * rule of the relay's, whom nobody can refuse.
 */
ngx_int_t ngx_broadcast_log_append(ngx_broadcast_zone_t *zone,
    ngx_broadcast_record_t *recs, ngx_uint_t n);

/* offset behind the newest record; no lock */
uint64_t ngx_broadcast_log_head(ngx_broadcast_zone_t *zone);

/*
 * Copies whole records from *cursor on into buf, without the lock, checks
 * afterwards that they were not overrun meanwhile, and moves the cursor.
 * NGX_OK with *len bytes; NGX_AGAIN: nothing new; NGX_BUSY: the next record
 * is larger than size, *len tells its size; NGX_DECLINED: overrun, *cursor is
 * moved to the oldest record that is left.
 */
ngx_int_t ngx_broadcast_log_read(ngx_broadcast_zone_t *zone, uint64_t *cursor,
    u_char *buf, size_t size, size_t *len);

/* next record of a copied batch; NGX_DONE at its end */
ngx_int_t ngx_broadcast_log_next(u_char **pos, u_char *last,
    ngx_broadcast_record_t *rec);

/*
 * Offset of the first record of the hub behind the position, for a replay:
 * NGX_OK with *cursor; NGX_DECLINED if the log does not reach back to it or
 * the epoch is another.
 */
ngx_int_t ngx_broadcast_log_seek(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_broadcast_position_t *after, uint64_t *cursor);

/* oldest position of the hub that the log still holds, epoch 0 if none */
void ngx_broadcast_log_oldest(ngx_broadcast_zone_t *zone, ngx_uint_t hub,
    ngx_broadcast_position_t *oldest);

/* the relay's cursor in the database's order: set only where it starts anew */
uint64_t ngx_broadcast_log_relay(ngx_broadcast_zone_t *zone);
void ngx_broadcast_log_set_relay(ngx_broadcast_zone_t *zone, uint64_t relay);


#endif /* _NGX_BROADCAST_LOG_H_INCLUDED_ */
