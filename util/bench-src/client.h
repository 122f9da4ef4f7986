
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H


#include "load.h"


#define LOAD_MAX_FRAME     131072

/* the key and answer of RFC 6455, section 1.3 */
#define LOAD_WS_KEY        "dGhlIHNhbXBsZSBub25jZQ=="
#define LOAD_WS_ACCEPT     "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


typedef enum {
    LOAD_NEGOTIATE = 0,         /* POST sent on another connection */
    LOAD_UPGRADE,
    LOAD_HANDSHAKE,
    LOAD_OPEN
} load_state_e;


typedef struct {
    load_io_t      io;
    load_state_e   state;
    int            number;
    int            sent;        /* the request of this state is on its way */
    u_char        *held;        /* owned: a frame's beginning, or NULL */
    size_t         nheld;
    size_t         nplain;      /* NATS: bytes of held that have no frame, */
    uint64_t       left;        /* and what is to come of the frame behind */
    uint32_t       count;       /* messages of this phase */
    uint64_t       order;       /* hash over them in order of arrival */
    char           id[512];     /* connection token */
} load_client_t;


/* client.c */

void load_client_opened(load_client_t *c);
load_client_t *load_client(int number);


/* request.c: what a client of this state asks for */

void load_client_request(load_client_t *c);
void load_tokens_read(void);


/* stream.c: what comes in an event stream */

size_t load_client_stream(load_client_t *c, u_char *buf, size_t len);


/* frame.c: the WebSocket side of a client */

size_t load_client_frame(load_client_t *c, u_char *buf, size_t len);
void load_client_number(load_client_t *c, u_char *p);   /* a message's, and
                                       it is received */
void load_client_send(load_client_t *c, int opcode, const void *data,
    size_t len);


/* nats.c: a client's stream, as much of it as is whole */

size_t load_client_nats(load_client_t *c, u_char *buf, size_t len);


#endif /* BENCH_CLIENT_H */
