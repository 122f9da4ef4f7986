
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_COMPAT_H_INCLUDED_
#define _NGX_BROADCAST_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * What differs between nginx 1.18 and the newest mainline.  Nothing else in
 * the module asks for nginx_version.
 */


/* 1.23.0: header elements of the same name are linked */

#if (nginx_version >= 1023000)

#define ngx_broadcast_header_single(h)  (h)->next = NULL

#else

#define ngx_broadcast_header_single(h)

#endif


/* 1.21.2: the macro is new, the tree is not */

#ifndef ngx_rbtree_data
#define ngx_rbtree_data(node, type, link)                                     \
    (type *) ((u_char *) (node) - offsetof(type, link))
#endif


#endif /* _NGX_BROADCAST_COMPAT_H_INCLUDED_ */
