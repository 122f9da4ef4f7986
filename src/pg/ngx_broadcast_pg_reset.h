
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_PG_RESET_H_INCLUDED_
#define _NGX_BROADCAST_PG_RESET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* room for the text, beside the settings */
#define NGX_BROADCAST_PG_RESET_ROOM  256


/*
 * Writes, zero terminated, the statement that takes back what functions left
 * in a session, and makes the session's own settings: calls of set_config().
 */
u_char *ngx_broadcast_pg_reset_text(u_char *text, size_t size,
    const char *settings);


#endif /* _NGX_BROADCAST_PG_RESET_H_INCLUDED_ */
