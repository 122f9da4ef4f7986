
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_JWK_H_INCLUDED_
#define _NGX_BROADCAST_JWK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* 1 if a text is a JSON object with the marks of a JWK or a JWK set. */
ngx_uint_t ngx_broadcast_jwk_looks_like(ngx_str_t *content);


#endif /* _NGX_BROADCAST_JWK_H_INCLUDED_ */
