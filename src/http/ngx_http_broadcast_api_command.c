
/*
 * Copyright (C) The nginx-broadcast authors
 */

/*
 * The body of :execute, signalr.md 8.4: an array of
 *
 *     {"type":"SendMessage","message":{"target":"t","arguments":[1]}}
 *     {"type":"JoinGroup","group":"g"}
 *     {"type":"LeaveGroup","group":"g"}
 *     {"type":"CloseConnection","reason":"r"}
 *
 * Names ignore case, as everywhere in bodies; what is not known is passed
 * over.
 */


#include "http/ngx_http_broadcast_api.h"
#include "proto/ngx_broadcast_scan.h"


#define NGX_HTTP_BROADCAST_COMMANDS_MAX  100


typedef struct {
    ngx_str_t                  type;
    ngx_str_t                  message;    /* JSON text */
    ngx_str_t                  group;
    ngx_str_t                  reason;
} ngx_http_broadcast_command_t;


static ngx_int_t ngx_http_broadcast_command_parse(
    ngx_http_broadcast_batch_t *batch, ngx_str_t *text,
    ngx_http_broadcast_command_t *command);
static ngx_int_t ngx_http_broadcast_command_record(
    ngx_http_broadcast_batch_t *batch, ngx_http_broadcast_command_t *command);
static ngx_int_t ngx_http_broadcast_command_push(
    ngx_http_broadcast_batch_t *batch, ngx_uint_t type, ngx_str_t *group,
    ngx_str_t *reason);
static ngx_int_t ngx_http_broadcast_command_wrong(
    ngx_http_broadcast_batch_t *batch, const char *error);


ngx_int_t
ngx_http_broadcast_api_commands(ngx_http_broadcast_batch_t *batch)
{
    ngx_int_t                      rc;
    ngx_broadcast_scan_t           s;
    ngx_http_broadcast_ctx_t      *ctx;
    ngx_broadcast_scan_value_t     value;
    ngx_http_broadcast_command_t   command;

    ctx = ngx_http_get_module_ctx(batch->r, ngx_http_broadcast_module);

    batch->line = 0;
    batch->error = NULL;

    if (ngx_array_init(&batch->records, batch->r->pool, 4,
                       sizeof(ngx_broadcast_record_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->body.len == 0) {
        return ngx_http_broadcast_command_wrong(batch,
                                    "Commands in request body are required.");
    }

    ngx_broadcast_scan_init(&s, &ctx->body);

    if (ngx_broadcast_scan_open(&s, '[') != NGX_OK) {
        return ngx_http_broadcast_command_wrong(batch,
                                    "The body must be an array of commands.");
    }

    while ((rc = ngx_broadcast_scan_element(&s, &value)) == NGX_OK) {

        if (batch->line++ == NGX_HTTP_BROADCAST_COMMANDS_MAX) {
            return ngx_http_broadcast_command_wrong(batch,
                                    "There are more than 100 commands.");
        }

        rc = ngx_http_broadcast_command_parse(batch, &value.text, &command);

        if (rc == NGX_OK) {
            rc = ngx_http_broadcast_command_record(batch, &command);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    batch->line = 0;

    if (rc == NGX_DONE) {
        rc = ngx_broadcast_scan_end(&s);
    }

    if (rc != NGX_OK) {
        return ngx_http_broadcast_command_wrong(batch,
                                      s.error ? s.error : "broken JSON");
    }

    if (batch->records.nelts == 0) {
        return ngx_http_broadcast_command_wrong(batch,
                                    "There must be a command at least.");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_command_wrong(ngx_http_broadcast_batch_t *batch,
    const char *error)
{
    batch->error = error;

    return NGX_DECLINED;
}


/* its text was checked by the scan of the array */

static ngx_int_t
ngx_http_broadcast_command_parse(ngx_http_broadcast_batch_t *batch,
    ngx_str_t *text, ngx_http_broadcast_command_t *command)
{
    ngx_str_t                   *string;
    ngx_broadcast_scan_t         s;
    ngx_broadcast_scan_value_t   key, value;

    ngx_memzero(command, sizeof(ngx_http_broadcast_command_t));

    ngx_broadcast_scan_init(&s, text);

    if (ngx_broadcast_scan_open(&s, '{') != NGX_OK) {
        return ngx_http_broadcast_command_wrong(batch,
                                         "A command must be an object.");
    }

    while (ngx_broadcast_scan_member(&s, &key, &value) == NGX_OK) {

        if (ngx_broadcast_scan_is_nocase(&key, "message")) {
            command->message = value.text;
            continue;
        }

        string = ngx_broadcast_scan_is_nocase(&key, "type")
                 ? &command->type
               : ngx_broadcast_scan_is_nocase(&key, "group")
                 ? &command->group
               : ngx_broadcast_scan_is_nocase(&key, "reason")
                 ? &command->reason : NULL;

        if (string == NULL || value.type == NGX_BROADCAST_SCAN_NULL) {
            continue;
        }

        if (value.type != NGX_BROADCAST_SCAN_STRING) {
            return ngx_http_broadcast_command_wrong(batch,
                                         "\"type\", \"group\" and \"reason\" "
                                         "must be strings.");
        }

        if (ngx_broadcast_scan_string(&value, batch->r->pool, string)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_broadcast_command_record(ngx_http_broadcast_batch_t *batch,
    ngx_http_broadcast_command_t *command)
{
    ngx_uint_t  join;

    if (ngx_http_broadcast_api_is(&command->type, "SendMessage")) {

        if (command->message.len == 0 || command->message.data[0] != '{') {
            return ngx_http_broadcast_command_wrong(batch,
                                         "SendMessage needs a \"message\", an "
                                         "object.");
        }

        return ngx_http_broadcast_batch_message(batch, &command->message, 0);
    }

    join = ngx_http_broadcast_api_is(&command->type, "JoinGroup");

    if (join || ngx_http_broadcast_api_is(&command->type, "LeaveGroup")) {

        if (ngx_broadcast_group_name(&command->group) != NGX_OK) {
            return ngx_http_broadcast_command_wrong(batch,
                                         "Invalid group name. Valid group "
                                         "name should be in between 1 and "
                                         "1024 characters long.");
        }

        return ngx_http_broadcast_command_push(batch,
                                               join ? NGX_BROADCAST_REC_JOIN
                                                    : NGX_BROADCAST_REC_LEAVE,
                                               &command->group, NULL);
    }

    if (ngx_http_broadcast_api_is(&command->type, "CloseConnection")) {

        if (ngx_strlchr(command->reason.data,
                        command->reason.data + command->reason.len, '\0'))
        {
            return ngx_http_broadcast_command_wrong(batch,
                                         "Invalid value of 'reason'.");
        }

        return ngx_http_broadcast_command_push(batch,
                                               NGX_BROADCAST_REC_CLOSE, NULL,
                                               &command->reason);
    }

    return ngx_http_broadcast_command_wrong(batch,
                                         "\"type\" must be SendMessage, "
                                         "JoinGroup, LeaveGroup or "
                                         "CloseConnection.");
}


static ngx_int_t
ngx_http_broadcast_command_push(ngx_http_broadcast_batch_t *batch,
    ngx_uint_t type, ngx_str_t *group, ngx_str_t *reason)
{
    ngx_broadcast_record_t  *rec;

    rec = ngx_array_push(&batch->records);
    if (rec == NULL) {
        return NGX_ERROR;
    }

    *rec = batch->scope;

    rec->type = type;
    rec->flags = NGX_BROADCAST_REC_UNNUMBERED;

    if (group) {
        rec->group = *group;
    }

    if (reason) {
        rec->arguments = *reason;
    }

    return NGX_OK;
}
