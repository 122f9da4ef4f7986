
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_CHECK_H_INCLUDED_
#define _NGX_BROADCAST_CHECK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* What must be true of the source: fails the compilation, costs nothing. */

#define ngx_broadcast_check(expr, text)  _Static_assert(expr, text)


/*
 * What cannot happen, and did: one [alert] line, on which every test fails,
 * and the debugger's chance (directive "debug_points").  The code behind it
 * goes on and copes; it must not rely on the process being stopped.
 */

#define ngx_broadcast_alert(log, ...)                                         \
                                                                              \
    do {                                                                      \
        ngx_log_error(NGX_LOG_ALERT, log, 0, __VA_ARGS__);                    \
        ngx_debug_point();                                                    \
    } while (0)


#endif /* _NGX_BROADCAST_CHECK_H_INCLUDED_ */
