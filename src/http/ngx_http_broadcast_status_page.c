
/*
 * Copyright (C) The nginx-broadcast authors
 */

/* The status page for people: one file, nothing fetched from elsewhere. */


#include "http/ngx_http_broadcast_status.h"


static void ngx_http_broadcast_page_row(ngx_broadcast_buf_t *b,
    const char *name, uint64_t n);
static void ngx_http_broadcast_page_rows(ngx_broadcast_buf_t *b,
    const char *name, const char **reason, uint64_t *n);
static void ngx_http_broadcast_page_word(ngx_broadcast_buf_t *b,
    const char *name, const char *word);
static void ngx_http_broadcast_page_cell(ngx_broadcast_buf_t *b, uint64_t n);
static void ngx_http_broadcast_page_hub(ngx_broadcast_buf_t *b,
    ngx_broadcast_hub_info_t *hub);


static const char  ngx_http_broadcast_page_head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta http-equiv=\"refresh\" content=\"5\">\n"
    "<title>nginx broadcast</title>\n"
    "<style>\n"
    "body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; }\n"
    "table { border-collapse: collapse; margin-bottom: 2em; }\n"
    "th, td { padding: .2em 1em .2em 0; text-align: left; }\n"
    "td.n { text-align: right; font-variant-numeric: tabular-nums; }\n"
    "tr { border-bottom: 1px solid #ddd; }\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<h1>nginx broadcast " NGX_HTTP_BROADCAST_VERSION "</h1>\n";


void
ngx_http_broadcast_status_html(ngx_http_broadcast_status_t *st,
    ngx_broadcast_buf_t *b)
{
    uint64_t    *n;
    ngx_uint_t   i;

    n = st->counter;

    ngx_broadcast_buf_literal(b, ngx_http_broadcast_page_head);

    ngx_broadcast_buf_literal(b, "<table>\n<tr><th>Hub</th><th>WebSocket</th>"
                              "<th>SSE</th><th>Long poll</th><th>Users</th>"
                              "<th>Groups</th><th>Published</th>"
                              "<th>Delivered</th><th>Position</th></tr>\n");

    for (i = 0; i < st->nhubs; i++) {
        ngx_http_broadcast_page_hub(b, &st->hubs[i]);
    }

    ngx_broadcast_buf_literal(b, "</table>\n<table>\n<tr><th>Worker</th>"
                              "<th>Connections</th></tr>\n");

    for (i = 0; i < st->nworkers; i++) {
        ngx_broadcast_buf_literal(b, "<tr>");
        ngx_http_broadcast_page_cell(b, st->workers[i].pid);
        ngx_http_broadcast_page_cell(b, st->workers[i].connections);
        ngx_broadcast_buf_literal(b, "</tr>\n");
    }

    ngx_broadcast_buf_literal(b, "</table>\n<table>\n");

    ngx_http_broadcast_page_word(b, "Database", st->state);
    ngx_http_broadcast_page_word(b, "Relay", st->relay);
    ngx_http_broadcast_page_word(b, "Source", st->wal ? "wal" : "outbox");
    ngx_http_broadcast_page_row(b, "Bytes of WAL behind", st->behind);
    ngx_http_broadcast_page_row(b, "Messages of the WAL left out",
                                n[NGX_BROADCAST_WAL_LEFT_OUT]);

    if (st->session) {
        ngx_http_broadcast_page_row(b, "Seconds since it answered",
                                    st->heard / 1000);

    } else {
        ngx_http_broadcast_page_row(b, "Failed tries to connect",
                                    st->failures);
    }

    ngx_http_broadcast_page_row(b, "Function calls", n[NGX_BROADCAST_DB_CALLS]);
    ngx_http_broadcast_page_row(b, "Function calls refused", st->calls);
    ngx_http_broadcast_page_row(b, "Database errors",
                                n[NGX_BROADCAST_DB_ERRORS]);
    ngx_http_broadcast_page_row(b, "Function errors without a row",
                                n[NGX_BROADCAST_ERRORS_DROPPED]);
    ngx_http_broadcast_page_row(b, "Methods left out",
                                n[NGX_BROADCAST_METHODS_OVER]);
    ngx_http_broadcast_page_row(b, "Database reconnects",
                                n[NGX_BROADCAST_DB_RECONNECTS]);
    ngx_http_broadcast_page_row(b, "Streams", st->streams);
    ngx_http_broadcast_page_row(b, "Disconnected: waiting", st->unsettled);
    ngx_http_broadcast_page_row(b, "Disconnected: given up",
                                n[NGX_BROADCAST_DB_ABANDONED]);
    ngx_http_broadcast_page_row(b, "Zone bytes", st->zone.size);
    ngx_http_broadcast_page_row(b, "Zone bytes used", st->zone.used);
    ngx_http_broadcast_page_row(b, "Log overruns", st->zone.log_overruns);
    ngx_http_broadcast_page_row(b, "Workers beyond the zone's places",
                                n[NGX_BROADCAST_UNPLACED]);
    ngx_http_broadcast_page_row(b, "Reconnects", n[NGX_BROADCAST_RECONNECTS]);
    ngx_http_broadcast_page_row(b, "Connections without a socket", st->away);
    ngx_http_broadcast_page_row(b, "Resumes", n[NGX_BROADCAST_RESUMES]);
    ngx_http_broadcast_page_row(b, "Resumes: reads of the history",
                                n[NGX_BROADCAST_RESUME_READS]);
    ngx_http_broadcast_page_row(b, "Gaps told", n[NGX_BROADCAST_GAPS]);
    ngx_http_broadcast_page_rows(b, "Closed: ", ngx_http_broadcast_closed,
                                 &n[NGX_BROADCAST_CLOSED_SLOW]);
    ngx_http_broadcast_page_rows(b, "Refused: ", ngx_http_broadcast_refused,
                                 &n[NGX_BROADCAST_REFUSED_TOKEN]);

    for (i = 0; i < st->nhealth; i++) {

        /* a host that was found has no character of HTML's own */

        ngx_broadcast_buf_literal(b, "<tr><th>Endpoint ");
        ngx_broadcast_buf_str(b, &st->health[i]->url);

        if (st->health[i]->down) {
            ngx_broadcast_buf_literal(b, "</th><td>down</td></tr>\n");

        } else {
            ngx_broadcast_buf_literal(b, "</th><td>up</td></tr>\n");
        }
    }

    ngx_broadcast_buf_literal(b, "</table>\n</body>\n</html>\n");
}


static void
ngx_http_broadcast_page_row(ngx_broadcast_buf_t *b, const char *name,
    uint64_t n)
{
    ngx_broadcast_buf_literal(b, "<tr><th>");
    ngx_broadcast_buf_append(b, (u_char *) name, ngx_strlen(name));
    ngx_broadcast_buf_literal(b, "</th>");
    ngx_http_broadcast_page_cell(b, n);
    ngx_broadcast_buf_literal(b, "</tr>\n");
}


/* name and reason, for each of them; n is the first of the counters */

static void
ngx_http_broadcast_page_rows(ngx_broadcast_buf_t *b, const char *name,
    const char **reason, uint64_t *n)
{
    ngx_uint_t  i;

    for (i = 0; reason[i]; i++) {
        ngx_broadcast_buf_literal(b, "<tr><th>");
        ngx_broadcast_buf_append(b, (u_char *) name, ngx_strlen(name));
        ngx_broadcast_buf_append(b, (u_char *) reason[i],
                                 ngx_strlen(reason[i]));
        ngx_broadcast_buf_literal(b, "</th>");
        ngx_http_broadcast_page_cell(b, n[i]);
        ngx_broadcast_buf_literal(b, "</tr>\n");
    }
}


static void
ngx_http_broadcast_page_word(ngx_broadcast_buf_t *b, const char *name,
    const char *word)
{
    ngx_broadcast_buf_literal(b, "<tr><th>");
    ngx_broadcast_buf_append(b, (u_char *) name, ngx_strlen(name));
    ngx_broadcast_buf_literal(b, "</th><td class=\"n\">");
    ngx_broadcast_buf_append(b, (u_char *) word, ngx_strlen(word));
    ngx_broadcast_buf_literal(b, "</td></tr>\n");
}


static void
ngx_http_broadcast_page_cell(ngx_broadcast_buf_t *b, uint64_t n)
{
    ngx_broadcast_buf_literal(b, "<td class=\"n\">");
    ngx_broadcast_buf_uint(b, n);
    ngx_broadcast_buf_literal(b, "</td>");
}


static void
ngx_http_broadcast_page_hub(ngx_broadcast_buf_t *b,
    ngx_broadcast_hub_info_t *hub)
{
    u_char      position[NGX_BROADCAST_POSITION_LEN];
    uint64_t    published, delivered;
    ngx_uint_t  i;

    published = 0;
    delivered = 0;

    /* a hub's name has no character that HTML would take for its own */

    ngx_broadcast_buf_literal(b, "<tr><th>");
    ngx_broadcast_buf_append(b, hub->name, hub->len);
    ngx_broadcast_buf_literal(b, "</th>");

    for (i = 0; i < NGX_BROADCAST_TRANSPORTS; i++) {
        ngx_http_broadcast_page_cell(b, hub->connections[i]);
        delivered += hub->delivered[i];
    }

    for (i = 0; i < NGX_BROADCAST_SOURCES; i++) {
        published += hub->published[i];
    }

    ngx_http_broadcast_page_cell(b, hub->users);
    ngx_http_broadcast_page_cell(b, hub->groups);
    ngx_http_broadcast_page_cell(b, published);
    ngx_http_broadcast_page_cell(b, delivered);

    ngx_broadcast_buf_literal(b, "<td>");

    if (hub->position.epoch) {
        ngx_broadcast_buf_append(b, position,
                  ngx_broadcast_position_print(position, &hub->position)
                  - position);
    }

    ngx_broadcast_buf_literal(b, "</td></tr>\n");
}
