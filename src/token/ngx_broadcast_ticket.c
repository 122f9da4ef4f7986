
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "base/ngx_broadcast_check.h"
#include "base/ngx_broadcast_name.h"
#include "token/ngx_broadcast_hmac.h"
#include "token/ngx_broadcast_ticket.h"


#define NGX_BROADCAST_TICKET_SIGNED  20     /* id and expiry                 */
#define NGX_BROADCAST_TICKET_MAC     16


ngx_broadcast_check(NGX_BROADCAST_TICKET_SIGNED + NGX_BROADCAST_TICKET_MAC
                    == NGX_BROADCAST_TICKET_BYTES, "parts of a ticket");
ngx_broadcast_check(ngx_broadcast_base64url_len(NGX_BROADCAST_TICKET_BYTES)
                    == NGX_BROADCAST_TICKET_LEN, "length of a ticket");


static ngx_int_t ngx_broadcast_ticket_mac(u_char *mac, const u_char *key,
    const u_char *head, ngx_str_t *hub, ngx_str_t *user);
static u_char *ngx_broadcast_ticket_field(u_char *p, ngx_str_t *text);


ngx_int_t
ngx_broadcast_ticket_key(u_char *key, ngx_broadcast_keys_t *keys,
    const u_char *seed)
{
    ngx_int_t  rc;

    rc = ngx_broadcast_ticket_key_at(key, keys, 0);

    if (rc == NGX_DECLINED) {
        ngx_memcpy(key, seed, NGX_BROADCAST_TICKET_KEY);
        return NGX_OK;
    }

    return rc;
}


/* Another use of the secret than to sign tokens, so another key of it. */

ngx_int_t
ngx_broadcast_ticket_key_at(u_char *key, ngx_broadcast_keys_t *keys,
    ngx_uint_t n)
{
    static const u_char  label[] = "ngx_broadcast connection token 1";

    u_char                full[NGX_BROADCAST_HMAC_MAX];
    ngx_uint_t            i;
    ngx_broadcast_key_t  *k;

    if (keys == NULL) {
        return NGX_DECLINED;
    }

    k = keys->keys.elts;

    for (i = 0; i < keys->keys.nelts; i++) {

        if (k[i].secret.len == 0 || n-- > 0) {
            continue;
        }

        if (ngx_broadcast_hmac(full, NGX_BROADCAST_HMAC_SHA256, &k[i].secret,
                               label, sizeof(label) - 1)
            == 0)
        {
            return NGX_ERROR;
        }

        ngx_memcpy(key, full, NGX_BROADCAST_TICKET_KEY);

        return NGX_OK;
    }

    return NGX_DECLINED;
}


/* Each field behind its length: no two sets of them read alike. */

static u_char *
ngx_broadcast_ticket_field(u_char *p, ngx_str_t *text)
{
    *p++ = (u_char) (text->len >> 8);
    *p++ = (u_char) text->len;

    return text->len ? ngx_cpymem(p, text->data, text->len) : p;
}


static ngx_int_t
ngx_broadcast_ticket_mac(u_char *mac, const u_char *key, const u_char *head,
    ngx_str_t *hub, ngx_str_t *user)
{
    u_char     input[NGX_BROADCAST_TICKET_SIGNED + 2 + NGX_BROADCAST_HUB_MAX
                     + 2 + NGX_BROADCAST_USER_MAX];
    u_char     full[NGX_BROADCAST_HMAC_MAX], *p;
    ngx_str_t  secret;

    if (hub->len > NGX_BROADCAST_HUB_MAX
        || user->len > NGX_BROADCAST_USER_MAX)
    {
        return NGX_ERROR;
    }

    p = ngx_cpymem(input, head, NGX_BROADCAST_TICKET_SIGNED);
    p = ngx_broadcast_ticket_field(p, hub);
    p = ngx_broadcast_ticket_field(p, user);

    secret.data = (u_char *) key;
    secret.len = NGX_BROADCAST_TICKET_KEY;

    if (ngx_broadcast_hmac(full, NGX_BROADCAST_HMAC_SHA256, &secret, input,
                           p - input)
        == 0)
    {
        return NGX_ERROR;
    }

    ngx_memcpy(mac, full, NGX_BROADCAST_TICKET_MAC);

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_ticket_make(u_char *dst, const u_char *key, const u_char *id,
    ngx_str_t *hub, ngx_str_t *user, time_t expires)
{
    u_char  ticket[NGX_BROADCAST_TICKET_BYTES], *p;

    p = ngx_cpymem(ticket, id, NGX_BROADCAST_ID_BYTES);

    *p++ = (u_char) (expires >> 24);
    *p++ = (u_char) (expires >> 16);
    *p++ = (u_char) (expires >> 8);
    *p++ = (u_char) expires;

    if (ngx_broadcast_ticket_mac(p, key, ticket, hub, user) != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ngx_broadcast_base64url(dst, ticket, NGX_BROADCAST_TICKET_BYTES);

    return NGX_OK;
}


/* The bytes of a ticket; NGX_DECLINED: it cannot be one. */

static ngx_int_t
ngx_broadcast_ticket_decode(ngx_str_t *token, u_char *ticket, u_char *id,
    time_t *expires)
{
    size_t   len;
    u_char  *p;

    if (token->len != NGX_BROADCAST_TICKET_LEN
        || ngx_broadcast_unbase64url(ticket, &len, token) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(id, ticket, NGX_BROADCAST_ID_BYTES);

    p = ticket + NGX_BROADCAST_ID_BYTES;

    *expires = (time_t) ((uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8
                         | p[3]);

    return NGX_OK;
}


ngx_int_t
ngx_broadcast_ticket_read(ngx_str_t *token, u_char *id, time_t *expires)
{
    u_char  ticket[NGX_BROADCAST_TICKET_BYTES];

    return ngx_broadcast_ticket_decode(token, ticket, id, expires);
}


ngx_int_t
ngx_broadcast_ticket_verify(ngx_str_t *token, const u_char *key,
    ngx_str_t *hub, ngx_str_t *user, time_t now, u_char *id, time_t *expires)
{
    u_char  ticket[NGX_BROADCAST_TICKET_BYTES];
    u_char  mac[NGX_BROADCAST_TICKET_MAC];

    if (ngx_broadcast_ticket_decode(token, ticket, id, expires) != NGX_OK
        || ngx_broadcast_ticket_mac(mac, key, ticket, hub, user) != NGX_OK
        || !ngx_broadcast_memeq(mac, ticket + NGX_BROADCAST_TICKET_SIGNED,
                                NGX_BROADCAST_TICKET_MAC))
    {
        return NGX_DECLINED;
    }

    return (now > *expires) ? NGX_BUSY : NGX_OK;
}
