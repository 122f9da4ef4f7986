
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_AUDIENCE_H_INCLUDED_
#define _NGX_BROADCAST_AUDIENCE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* One value of "aud": what ngx_broadcast_jwt.h says of the whole claim. */

/* NGX_BROADCAST_JWT_CLIENT or NGX_BROADCAST_JWT_REST */
ngx_uint_t ngx_broadcast_audience_kind(ngx_str_t *aud);


#endif /* _NGX_BROADCAST_AUDIENCE_H_INCLUDED_ */
