
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef _NGX_HTTP_BROADCAST_API_H_INCLUDED_
#define _NGX_HTTP_BROADCAST_API_H_INCLUDED_


#include "http/ngx_http_broadcast_message.h"


#define NGX_HTTP_BROADCAST_API_NAME_RULE                                      \
    " name should be in between 1 and 128 characters long. The first "       \
    "character must be a letter, other characters can be letters, digits or " \
    "the following symbols _`,.[]"


/* what an operation of the REST API is about: the path without its verb */

typedef enum {
    NGX_HTTP_BROADCAST_API_NOTHING = 0,
    NGX_HTTP_BROADCAST_API_HEALTH,         /* health */
    NGX_HTTP_BROADCAST_API_ACCESS_KEY,     /* auth/accessKey */
    NGX_HTTP_BROADCAST_API_HUB,            /* hubs/{hub} */
    NGX_HTTP_BROADCAST_API_CONNECTIONS,    /* …/connections */
    NGX_HTTP_BROADCAST_API_CONNECTION,     /* …/connections/{c} */
    NGX_HTTP_BROADCAST_API_CONNECTION_GROUPS,  /* …/connections/{c}/groups */
    NGX_HTTP_BROADCAST_API_STREAM,         /* …/connections/{c}/streams/{s} */
    NGX_HTTP_BROADCAST_API_GROUPS,         /* …/groups */
    NGX_HTTP_BROADCAST_API_GROUP,          /* …/groups/{g} */
    NGX_HTTP_BROADCAST_API_GROUP_CONNECTIONS,  /* …/groups/{g}/connections */
    NGX_HTTP_BROADCAST_API_MEMBER,         /* …/groups/{g}/connections/{c},
                                              …/connections/{c}/groups/{g} */
    NGX_HTTP_BROADCAST_API_USER,           /* …/users/{u} */
    NGX_HTTP_BROADCAST_API_USER_CONNECTIONS,   /* …/users/{u}/connections */
    NGX_HTTP_BROADCAST_API_USER_GROUPS,    /* …/users/{u}/groups */
    NGX_HTTP_BROADCAST_API_USER_GROUP      /* …/users/{u}/groups/{g},
                                              …/groups/{g}/users/{u} */
} ngx_http_broadcast_api_what_e;

typedef enum {
    NGX_HTTP_BROADCAST_API_NO_VERB = 0,
    NGX_HTTP_BROADCAST_API_SEND,           /* :send */
    NGX_HTTP_BROADCAST_API_CLOSE,          /* :closeConnections */
    NGX_HTTP_BROADCAST_API_INVOKE,         /* :invoke */
    NGX_HTTP_BROADCAST_API_COMPLETE,       /* :complete */
    NGX_HTTP_BROADCAST_API_EXECUTE,        /* :execute */
    NGX_HTTP_BROADCAST_API_GENERATE,       /* :generateToken */
    NGX_HTTP_BROADCAST_API_UNKNOWN
} ngx_http_broadcast_api_verb_e;


typedef struct ngx_http_broadcast_api_s  ngx_http_broadcast_api_t;

/* an operation; returns what a content handler returns */
typedef ngx_int_t (*ngx_http_broadcast_api_pt)(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);

/* told whether what was looked for is there; returns the same */
typedef ngx_int_t (*ngx_http_broadcast_api_found_pt)(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t found);


/* in r->pool, as ctx->data; the strings are decoded */

struct ngx_http_broadcast_api_s {
    ngx_uint_t                 what;
    ngx_uint_t                 verb;
    ngx_uint_t                 v1;         /* below v1/ */

    ngx_str_t                  hub;        /* lower case, with application */
    ngx_str_t                  connection; /* data is NULL where the path has
                                              no such name */
    ngx_str_t                  group;
    ngx_str_t                  user;
    ngx_str_t                  stream;     /* invocationId of its client */

    ngx_str_t                  excluded;   /* ids joined by ',' */
    ngx_str_t                  reason;
    uint32_t                   ttl;        /* of a rule: seconds, or
                                              NGX_BROADCAST_TTL_… */
    ngx_uint_t                 status;     /* of the answer, if all is well */

    void                      *data;       /* the operation's own */
    ngx_http_broadcast_api_found_pt   found;
};


/* ngx_http_broadcast_api_path.c, _query.c */

/*
 * NGX_OK; NGX_DECLINED: no such path (404); NGX_ABORT: a bad name, *error is
 * the sentence; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_broadcast_api_parse(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error);

/* query: application, excluded, reason; returns as parse does */
ngx_int_t ngx_http_broadcast_api_query(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, const char **error);

/*
 * A number of the query, 1 to NGX_MAX_INT32_VALUE, or value as it was if the
 * key is not there; NGX_ABORT: no such number.
 */
ngx_int_t ngx_http_broadcast_api_number(ngx_http_request_t *r,
    const char *name, ngx_uint_t *value);

/* 1 if the words are the same but for the case of A-Z */
ngx_uint_t ngx_http_broadcast_api_is(ngx_str_t *text, const char *word);


/* ngx_http_broadcast_api.c: answers that are errors */

/* by a return of parse or query */
ngx_int_t ngx_http_broadcast_api_refuse(ngx_http_request_t *r, ngx_int_t rc,
    const char *error);

/* 400 that names what is wrong */
ngx_int_t ngx_http_broadcast_api_bad(ngx_http_request_t *r, const char *target,
    const char *error);

/* 404 with the code that a client of the cloud service waits for */
ngx_int_t ngx_http_broadcast_api_missing(ngx_http_request_t *r,
    const char *code, const char *message);


/* ngx_http_broadcast_api_run.c */

/* the operation of the path, or 404 or 405 */
ngx_int_t ngx_http_broadcast_api_run(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);

/* 415 that names the type of the body; error: which it may have */
ngx_int_t ngx_http_broadcast_api_type(ngx_http_request_t *r,
    const char *error);

/* :send, and POST without a verb */
ngx_int_t ngx_http_broadcast_api_send(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);

/*
 * Sends a join, leave or close to the operation's scope; api->status is the
 * answer when it was kept.
 */
ngx_int_t ngx_http_broadcast_api_command(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api, ngx_uint_t type);

/*
 * The answer to what was sent: api->status, or what went wrong.  To commands:
 * as soon as this node's workers have carried them out.
 */
ngx_int_t ngx_http_broadcast_api_sent(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent);
ngx_int_t ngx_http_broadcast_api_commanded(ngx_http_request_t *r,
    ngx_broadcast_sent_t *sent);


/* ngx_http_broadcast_api_presence.c: who is there, and in which groups */

/* a LIVE connection of the hub: NGX_OK with its row, or NGX_DECLINED */
ngx_int_t ngx_http_broadcast_api_row(ngx_http_broadcast_api_t *api,
    ngx_broadcast_row_info_t *row);

/* 1 if the hub's connections stand in the database, for all nodes */
ngx_uint_t ngx_http_broadcast_api_cluster(ngx_http_broadcast_api_t *api);

ngx_int_t ngx_http_broadcast_api_exists(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
ngx_int_t ngx_http_broadcast_api_delete(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
ngx_int_t ngx_http_broadcast_api_join(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
ngx_int_t ngx_http_broadcast_api_leave(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
ngx_int_t ngx_http_broadcast_api_rule(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);


/* ngx_http_broadcast_api_list.c: pages of connections and of groups */
ngx_int_t ngx_http_broadcast_api_list(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);


/* ngx_http_broadcast_api_invoke.c, _stream.c */

ngx_int_t ngx_http_broadcast_api_invoke(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
ngx_int_t ngx_http_broadcast_api_stream_send(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);
ngx_int_t ngx_http_broadcast_api_stream_complete(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);

/* JSON, or no type at all; else 415 is the answer */
ngx_int_t ngx_http_broadcast_api_json(ngx_http_request_t *r,
    ngx_http_broadcast_body_pt handler);


/* ngx_http_broadcast_api_execute.c, _command.c */

ngx_int_t ngx_http_broadcast_api_execute(ngx_http_request_t *r,
    ngx_http_broadcast_api_t *api);

/*
 * Records of ctx->body, an array of commands, into batch->records, in order;
 * none has a name yet.  NGX_OK; NGX_DECLINED: batch->error is the sentence,
 * batch->line the command, from 1 (0: none of them); NGX_ERROR.
 */
ngx_int_t ngx_http_broadcast_api_commands(ngx_http_broadcast_batch_t *batch);


#endif /* _NGX_HTTP_BROADCAST_API_H_INCLUDED_ */
