
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_NOTE_H_INCLUDED_
#define _NGX_BROADCAST_NOTE_H_INCLUDED_


#include "shm/ngx_broadcast_zone.h"


/* short texts about the node, the last writer's word counts */

typedef enum {
    NGX_BROADCAST_NOTE_SERVER = 0,      /* where the relay's session is */
    NGX_BROADCAST_NOTE_REASON,          /* why it was lost, or not made */
    NGX_BROADCAST_NOTE_SOURCE,          /* what hinders broadcast_source wal */
    NGX_BROADCAST_NOTES
} ngx_broadcast_note_e;

#define NGX_BROADCAST_NOTE_SIZE  256    /* with the zero behind it */


/* text is zero terminated and may be cut */
void ngx_broadcast_note_set(ngx_broadcast_zone_t *zone, ngx_uint_t note,
    const u_char *text);
/* into NGX_BROADCAST_NOTE_SIZE bytes; empty if nothing was said yet */
void ngx_broadcast_note_get(ngx_broadcast_zone_t *zone, ngx_uint_t note,
    u_char *text);


#endif /* _NGX_BROADCAST_NOTE_H_INCLUDED_ */
