
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_BROADCAST_METHOD_H_INCLUDED_
#define _NGX_BROADCAST_METHOD_H_INCLUDED_


#include "pg/ngx_broadcast_call.h"
#include "pg/ngx_broadcast_pg_text.h"


/*
 * What a client's invocation may call: a copy of broadcast.methods() in this
 * worker, read when the database is up and again when the version of the
 * bindings in the zone is another one.  A name comes from the client and is
 * looked for here; what is executed comes from the database.
 *
 *    NONE  --tick-->  loading  -->  a generation, in a pool of its own, which
 *                        ^          lives until the last call by it has ended
 *                        +-- version changed; "ask" finds that it has
 */

#define NGX_BROADCAST_METHODS_MAX  4096     /* rows; more are left out */
#define NGX_BROADCAST_METHOD_ARGS  100      /* of a function of PostgreSQL's */


typedef struct ngx_broadcast_methods_s  ngx_broadcast_methods_t;   /* opaque */
typedef struct ngx_broadcast_method_s   ngx_broadcast_method_t;

/* a row of broadcast.methods(), borrowed until return to the event loop */

struct ngx_broadcast_method_s {
    ngx_str_t                   hub;        /* lower case; empty: any */
    ngx_str_t                   name;       /* lower case; empty: any that has
                                               no row of its own */
    ngx_str_t                   function;   /* for logs: a method with the
                                               types of its arguments */
    ngx_str_t                   params;     /* a letter a parameter: t, j */
    ngx_str_t                   shape;      /* JSON, of the result; or empty */
    ngx_str_t                   statement;  /* zero terminated behind len */
    ngx_uint_t                  count;      /* of params, upload streams among
                                               them */
    ngx_uint_t                  arrays;     /* so many of the last ones may be
                                               upload streams */
    unsigned                    message:1;  /* a bound function: takes the
                                               event, and any arguments */
    unsigned                    rest:1;     /* the last one takes all that is
                                               left, as one JSON array */
    unsigned                    stream:1;
    unsigned                    cursor:1;
    unsigned                    plain:1;    /* the result is a text that is to
                                               become a JSON string */
    unsigned                    ambiguous:1;
    unsigned                    context:1;  /* the statement asks for it */

    /* private to the catalogue */

    ngx_broadcast_pg_text_t    *text;       /* counted; NULL: of a stream */
    ngx_broadcast_methods_t    *methods;    /* the generation it is part of */
    ngx_broadcast_method_t     *next;       /* of the same hash */
};


typedef enum {
    NGX_BROADCAST_METHOD_FOUND = 0,
    NGX_BROADCAST_METHOD_NONE,              /* of the name */
    NGX_BROADCAST_METHOD_COUNT,             /* *method: its count is nearest */
    NGX_BROADCAST_METHOD_STREAMS,           /* *method takes only `arrays` */
    NGX_BROADCAST_METHOD_AMBIGUOUS,
    NGX_BROADCAST_METHOD_UNREAD             /* the catalogue is not there yet */
} ngx_broadcast_method_found_e;

/*
 * What an invocation with nargs arguments and nstreams upload streams behind
 * them calls.  name ignores the case of A-Z.  A bound function of the name goes
 * first, the hub's own before any hub's, then the methods of the name, then a
 * bound function for any name.
 */
ngx_uint_t ngx_broadcast_method_find(ngx_str_t *hub, ngx_str_t *name,
    ngx_uint_t nargs, ngx_uint_t nstreams, ngx_broadcast_method_t **method);


/*
 * Asks the database whether the catalogue has changed, and reads it again if
 * so; then the handler is called, once, from the event loop.  data is copied,
 * size <= NGX_BROADCAST_CALL_DATA.  status: NGX_BROADCAST_CALL_OK, or why it
 * is not known.
 *
 * NGX_DECLINED: the database is away.  NGX_BUSY: too many wait for it.  What
 * find() says counts then.
 */
typedef void (*ngx_broadcast_method_asked_pt)(ngx_uint_t status, void *data);

ngx_int_t ngx_broadcast_method_ask(ngx_broadcast_method_asked_pt handler,
    const void *data, size_t size);


/*
 * A call on its way to the database: made with room for its parameters, filled
 * by the caller, then sent, once, or discarded.  It holds its method.
 */

typedef struct {
    ngx_broadcast_method_t     *method;
    const char                 *context;    /* who calls, JSON; for logs, too */
    const char                **params;     /* text, zero terminated; NULL: SQL
                                               null; the first is the context,
                                               or NULL if nobody asks for it */
    ngx_uint_t                  nparams;
    u_char                     *text;       /* room for their bytes */
    size_t                      size;
    ngx_str_t                   raw;        /* the caller's, comes back with
                                               the result */
} ngx_broadcast_method_call_t;


typedef struct {
    ngx_uint_t                  status;     /* NGX_BROADCAST_CALL_… */
    ngx_broadcast_method_t     *method;
    ngx_str_t                   raw;        /* as it was given */

    /* OK */

    ngx_str_t                   value;      /* JSON text; of a plain method a
                                               text.  data NULL: SQL null */
    ngx_uint_t                  staged;     /* 1: a DONE record of the call
                                               comes by the log */

    /* FAILED; may be empty */

    ngx_str_t                   message;    /* primary, in one line */
    ngx_str_t                   datatype;   /* the name that a RAISE gave it */
    unsigned                    raised:1;   /* meant for the caller */
    unsigned                    binding:1;  /* an argument is not of its type */
    unsigned                    denied:1;   /* the caller may not call it */
    unsigned                    gone:1;     /* the function itself is: ask() */
} ngx_broadcast_method_result_t;

/* result and all in it is borrowed until return */
typedef void (*ngx_broadcast_method_pt)(ngx_broadcast_method_result_t *result,
    void *data);


/* nparams with the context, size with a zero for each; NULL: no memory */
ngx_broadcast_method_call_t *ngx_broadcast_method_prepare(
    ngx_broadcast_method_t *method, ngx_uint_t nparams, size_t size);

/* the call is gone after both; as ngx_broadcast_call() */
ngx_int_t ngx_broadcast_method_call(ngx_broadcast_method_call_t *call,
    ngx_broadcast_method_pt handler, const void *data, size_t size);
void ngx_broadcast_method_discard(ngx_broadcast_method_call_t *call);


/*
 * What sets the role of a stream's caller, behind BEGIN, with the context as
 * $1; NULL: there is no role claim
 */
const char *ngx_broadcast_method_before(void);


/* worker life; for pg/ only */

void ngx_broadcast_method_start(ngx_log_t *log);
/* reads the catalogue if there is a reason to */
void ngx_broadcast_method_tick(void);
void ngx_broadcast_method_stop(void);


#endif /* _NGX_BROADCAST_METHOD_H_INCLUDED_ */
