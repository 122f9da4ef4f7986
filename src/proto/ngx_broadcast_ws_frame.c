
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "proto/ngx_broadcast_ws.h"

#include <ngx_sha1.h>


#define NGX_BROADCAST_WS_KEY_LEN  24       /* base64 of 16 bytes */
#define NGX_BROADCAST_WS_GUID     "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


size_t
ngx_broadcast_ws_header_len(uint64_t len)
{
    if (len <= 125) {
        return 2;
    }

    return (len <= 0xffff) ? 4 : 10;
}


size_t
ngx_broadcast_ws_header(u_char *dst, ngx_uint_t opcode, ngx_uint_t fin,
    uint64_t len)
{
    ngx_uint_t  i;

    dst[0] = (u_char) (opcode | (fin ? NGX_BROADCAST_WS_FIN : 0));

    if (len <= 125) {
        dst[1] = (u_char) len;
        return 2;
    }

    if (len <= 0xffff) {
        dst[1] = 126;
        dst[2] = (u_char) (len >> 8);
        dst[3] = (u_char) len;
        return 4;
    }

    dst[1] = 127;

    for (i = 0; i < 8; i++) {
        dst[2 + i] = (u_char) (len >> (56 - 8 * i));
    }

    return 10;
}


size_t
ngx_broadcast_ws_close(u_char *dst, ngx_uint_t code, const ngx_str_t *reason)
{
    size_t  len;

    if (code == 0 || code == NGX_BROADCAST_WS_NO_STATUS) {
        return ngx_broadcast_ws_header(dst, NGX_BROADCAST_WS_CLOSE, 1, 0);
    }

    len = reason ? reason->len : 0;

    if (len > NGX_BROADCAST_WS_CONTROL_MAX - 2) {
        len = NGX_BROADCAST_WS_CONTROL_MAX - 2;

        while (len && (reason->data[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    (void) ngx_broadcast_ws_header(dst, NGX_BROADCAST_WS_CLOSE, 1, len + 2);

    dst[2] = (u_char) (code >> 8);
    dst[3] = (u_char) code;

    if (len) {
        ngx_memcpy(&dst[4], reason->data, len);
    }

    return 4 + len;
}


ngx_uint_t
ngx_broadcast_ws_code_valid(ngx_uint_t code)
{
    if (code >= 3000) {
        return code <= 4999;
    }

    return (code >= 1000 && code <= 1014)
           && code != 1004 && code != 1005 && code != 1006;
}


ngx_int_t
ngx_broadcast_ws_accept(const ngx_str_t *key, u_char *dst)
{
    u_char      nonce[18], digest[20];
    ngx_str_t   src, out;
    ngx_sha1_t  sha1;

    if (key->len != NGX_BROADCAST_WS_KEY_LEN) {
        return NGX_DECLINED;
    }

    src = *key;
    out.data = nonce;

    if (ngx_decode_base64(&out, &src) != NGX_OK || out.len != 16) {
        return NGX_DECLINED;
    }

    if (dst == NULL) {
        return NGX_OK;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->data, key->len);
    ngx_sha1_update(&sha1, NGX_BROADCAST_WS_GUID,
                    sizeof(NGX_BROADCAST_WS_GUID) - 1);
    ngx_sha1_final(digest, &sha1);

    src.data = digest;
    src.len = sizeof(digest);
    out.data = dst;

    ngx_encode_base64(&out, &src);

    return NGX_OK;
}
