
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "bus/ngx_broadcast_bus.h"
#include "bus/ngx_broadcast_reader.h"


/*
 * A stretch of the log once more, beside the reader: the records that a
 * connection's former worker has not matched, for the one that has it now.
 */

#define NGX_BROADCAST_REREAD_BUFFER  65536      /* bytes */


ngx_int_t
ngx_broadcast_reread(uint64_t from, uint64_t upto,
    ngx_broadcast_reread_pt handler, void *data)
{
    u_char                  *buf, *pos;
    size_t                   size, len;
    ngx_int_t                rc;
    ngx_broadcast_record_t   rec;

    if (from >= upto) {
        return NGX_OK;
    }

    size = NGX_BROADCAST_REREAD_BUFFER;

    for ( ;; ) {

        buf = ngx_alloc(size, ngx_broadcast_bus.log);
        if (buf == NULL) {
            return NGX_ERROR;
        }

        do {
            rc = ngx_broadcast_log_read(ngx_broadcast_bus.zone, &from, buf,
                                        size, &len);
            if (rc != NGX_OK) {
                break;
            }

            pos = buf;

            while (ngx_broadcast_log_next(&pos, buf + len, &rec) == NGX_OK) {

                if (rec.log >= upto) {
                    break;
                }

                handler(&rec, data);
            }

        } while (from < upto);

        ngx_free(buf);

        if (rc != NGX_BUSY) {
            return rc == NGX_OK ? NGX_OK : NGX_DECLINED;
        }

        /* a record that is larger than the buffer */

        size = len;
    }
}
