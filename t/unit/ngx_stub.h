
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_STUB_H_INCLUDED_
#define _NGX_STUB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* For ngx_create_pool() and whatever wants a log; prints to stderr. */

extern ngx_log_t   ngx_stub_log;

/* Lines at [alert] and above; done() fails unless they are taken off. */

extern ngx_uint_t  ngx_stub_alerts;

/* The last line that was logged, at most 2047 bytes of it. */

extern char        ngx_stub_line[2048];


#endif /* _NGX_STUB_H_INCLUDED_ */
