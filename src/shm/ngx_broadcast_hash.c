
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include "shm/ngx_broadcast_zone_layout.h"


#define ngx_broadcast_rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))

#define ngx_broadcast_sip_round(v)                                            \
    do {                                                                      \
        v[0] += v[1];                                                         \
        v[1] = ngx_broadcast_rotl(v[1], 13) ^ v[0];                           \
        v[0] = ngx_broadcast_rotl(v[0], 32);                                  \
        v[2] += v[3];                                                         \
        v[3] = ngx_broadcast_rotl(v[3], 16) ^ v[2];                           \
        v[0] += v[3];                                                         \
        v[3] = ngx_broadcast_rotl(v[3], 21) ^ v[0];                           \
        v[2] += v[1];                                                         \
        v[1] = ngx_broadcast_rotl(v[1], 17) ^ v[2];                           \
        v[2] = ngx_broadcast_rotl(v[2], 32);                                  \
    } while (0)


uint64_t
ngx_broadcast_hash(ngx_broadcast_zone_t *zone, uint64_t tag, const u_char *p,
    size_t len)
{
    size_t    n;
    uint64_t  m, v[4];

    v[0] = zone->seed[0] ^ 0x736f6d6570736575ULL;
    v[1] = zone->seed[1] ^ 0x646f72616e646f6dULL;
    v[2] = zone->seed[0] ^ 0x6c7967656e657261ULL;
    v[3] = zone->seed[1] ^ 0x7465646279746573ULL;

    v[3] ^= tag;
    ngx_broadcast_sip_round(v);
    v[0] ^= tag;

    for (n = len; n >= 8; n -= 8) {
        ngx_memcpy(&m, p, 8);
        p += 8;

        v[3] ^= m;
        ngx_broadcast_sip_round(v);
        v[0] ^= m;
    }

    m = (uint64_t) (len + 8) << 56;

    while (n--) {
        m |= (uint64_t) p[n] << (8 * n);
    }

    v[3] ^= m;
    ngx_broadcast_sip_round(v);
    v[0] ^= m;

    v[2] ^= 0xff;
    ngx_broadcast_sip_round(v);
    ngx_broadcast_sip_round(v);
    ngx_broadcast_sip_round(v);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
