
/*
 * Copyright (C) The nginx-broadcast authors
 */


#include <string.h>

#include "client.h"


/*
 * An event stream in chunks: between the bodies of messages, which begin with
 * #, eight digits, #, neither chunks nor events have a number sign.
 */

size_t
load_client_stream(load_client_t *c, u_char *buf, size_t len)
{
    u_char  *p, *end;

    p = buf;
    end = buf + len;

    while ((p = memchr(p, '#', end - p)) != NULL) {

        if (end - p < 10) {
            return p - buf;
        }

        load_client_number(c, p);
        p += 10;
    }

    return len;
}
