
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_note.h"
#include "shm/ngx_broadcast_zone_layout.h"


/*
 * A death in the middle leaves a part of one text and the rest of another:
 * the last byte is never written, so it ends.
 */

void
ngx_broadcast_note_set(ngx_broadcast_zone_t *zone, ngx_uint_t note,
    const u_char *text)
{
    ngx_broadcast_zone_lock(zone);

    (void) ngx_cpystrn(zone->note[note], (u_char *) text,
                       NGX_BROADCAST_NOTE_SIZE - 1);

    ngx_broadcast_zone_unlock(zone);
}


void
ngx_broadcast_note_get(ngx_broadcast_zone_t *zone, ngx_uint_t note,
    u_char *text)
{
    ngx_broadcast_zone_lock(zone);

    ngx_memcpy(text, zone->note[note], NGX_BROADCAST_NOTE_SIZE);

    ngx_broadcast_zone_unlock(zone);
}
