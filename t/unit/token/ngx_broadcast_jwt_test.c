
/*
 * Copyright (C) The nginx-broadcast authors
 */


/*
 * links: src/token/ngx_broadcast_jwt.c src/token/ngx_broadcast_audience.c
 *        src/token/ngx_broadcast_jws.c src/token/ngx_broadcast_hmac.c
 *        src/token/ngx_broadcast_key.c
 *        src/token/ngx_broadcast_jwk.c src/base/ngx_broadcast_json.c
 *        src/base/ngx_broadcast_id.c src/base/ngx_broadcast_buf.c
 *        src/base/ngx_broadcast_name.c src/base/ngx_broadcast_utf8.c
 *        -ljansson -lcrypto
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "token/ngx_broadcast_jws.h"
#include "token/ngx_broadcast_jwt.h"

#include "tap.h"
#include "token/token.h"


#define NOW  1700000000
#define EXP  "\"exp\":1700003600"


static ngx_pool_t            *pool;
static ngx_broadcast_keys_t  *keys;
static const char            *reason;


/* A token with these members beside "exp"; NULL: refused, see reason. */

static ngx_broadcast_jwt_t *
claims(const char *members)
{
    char                  payload[4000];
    ngx_str_t             token;
    ngx_broadcast_jwt_t  *jwt;

    sprintf(payload, "{%s%s%s}", EXP, *members ? "," : "", members);

    token = token_sign(pool, "{\"alg\":\"HS256\"}", payload, strlen(payload),
                       ACCESS_KEY, sizeof(ACCESS_KEY) - 1, EVP_sha256());

    jwt = NULL;

    (void) ngx_broadcast_jwt_verify(pool, keys, &token, NOW, &jwt, &reason);

    return jwt;
}


static void
whole(const char *payload, time_t now, const char *want, const char *name)
{
    ngx_str_t             token, s;
    ngx_broadcast_jwt_t  *jwt;

    reason = NULL;

    token = token_sign(pool, "{\"alg\":\"HS256\"}", payload, strlen(payload),
                       ACCESS_KEY, sizeof(ACCESS_KEY) - 1, EVP_sha256());

    (void) ngx_broadcast_jwt_verify(pool, keys, &token, now, &jwt, &reason);

    s = tap_str(reason ? reason : "");
    is_str(&s, want, name);
}


static void
test_vectors(void)
{
    ngx_int_t             rc;
    ngx_str_t             token, s;
    ngx_broadcast_jwt_t  *jwt;

    token = tap_str(TOKEN_A1);
    rc = ngx_broadcast_jwt_verify(pool, keys, &token, NOW, &jwt, &reason);

    if (is_int(rc, NGX_OK, "signalr.md A1 is valid")) {
        is_str(&jwt->user, "alice", "its user");
        is_int(jwt->exp, 1700003600, "its end");
        is_int(jwt->kind, NGX_BROADCAST_JWT_CLIENT, "it is for clients");
        s = tap_str("CHAT");
        is_int(ngx_broadcast_jwt_for_hub(jwt, &s), 1, "of its hub, any case");
        s = tap_str("chat2");
        is_int(ngx_broadcast_jwt_for_hub(jwt, &s), 0, "not of a longer one");
        s = tap_str("cha");
        is_int(ngx_broadcast_jwt_for_hub(jwt, &s), 0, "nor of a shorter one");
        s = tap_str("/client");
        is_int(ngx_broadcast_jwt_for_path(jwt, &s), 0, "and not for REST");
    }

    token = tap_str(TOKEN_A2);
    rc = ngx_broadcast_jwt_verify(pool, keys, &token, NOW, &jwt, &reason);

    if (is_int(rc, NGX_OK, "signalr.md A2 is valid")) {
        is_int(jwt->user.len, 0, "it has no user");
        is_int(jwt->kind, NGX_BROADCAST_JWT_REST, "it is for REST");
        is_int(ngx_broadcast_jwt_is_client(jwt), 0, "not for clients");
        s = tap_str("/api/hubs/chat/:send?api-version=2022-06-01");
        is_int(ngx_broadcast_jwt_for_path(jwt, &s), 1, "for its path");
        s = tap_str("chat");
        is_int(ngx_broadcast_jwt_for_hub(jwt, &s), 0, "for no hub");
    }
}


static void
test_times(void)
{
    whole("{}", NOW, "the token has no \"exp\"", "exp is required");
    whole("{\"exp\":null}", NOW, "the token's \"exp\" is no time",
          "null is none");
    whole("{\"exp\":\"1700003600\"}", NOW, "the token's \"exp\" is no time",
          "a string is none");
    whole("{\"exp\":1700003600.5}", NOW, "", "a NumericDate has fractions");
    whole("{\"exp\":1700000000.9}", NOW + 60, "the token has expired",
          "they give no time");
    whole("{\"exp\":17000036e2}", NOW, "", "so is an exponent");
    whole("{\"exp\":99999999999999999999999}", NOW, "",
          "and an end beyond 64 bits");
    whole("{\"exp\":1e300}", NOW, "", "or beyond all");
    whole("{\"exp\":-99999999999999999999999}", NOW, "the token has expired",
          "or before all");
    whole("{\"exp\":9223372036854775807}", NOW, "",
          "the largest integer does not run over");
    whole("{\"exp\":-9223372036854775808}", NOW, "the token has expired",
          "nor does the least");
    whole("{\"exp\":1700000000}", NOW + 59, "", "59 s late are forgiven");
    whole("{\"exp\":1700000000}", NOW + 60, "the token has expired",
          "60 s are not");

    whole("{" EXP ",\"nbf\":1700000060}", NOW, "", "60 s early are forgiven");
    whole("{" EXP ",\"nbf\":1700000061}", NOW, "the token is not valid yet",
          "61 s are not");
    whole("{" EXP ",\"nbf\":\"x\"}", NOW, "the token's \"nbf\" is no time",
          "nbf must be a time");
    whole("{" EXP ",\"iat\":1800000000}", NOW, "", "iat may be anything");
    whole("{" EXP ",\"iat\":true}", NOW, "the token's \"iat\" is no time",
          "that is a time");

    is_int(claims("")->exp, 1700003600, "exp is kept");
}


static void
test_payload(void)
{
    ngx_str_t             token;
    ngx_broadcast_jwt_t  *jwt;

    whole("[]", NOW, "the token's payload is no object", "a list");
    whole("\"x\"", NOW, "the token's payload is no object", "a string");
    whole("x", NOW, "not JSON", "no JSON");
    whole("", NOW, "JSON ends too early", "nothing");
    whole("{" EXP ",\"a\":1,\"a\":2}", NOW,
          "a name is repeated in an object", "a name twice");
    whole("{" EXP ",\"a\":{\"b\":1,\"b\":2}}", NOW,
          "a name is repeated in an object", "further in too");
    whole("{" EXP ",\"a\":\"\xff\"}", NOW, "JSON is not UTF-8", "no UTF-8");
    whole("{" EXP ",\"a\":99999999999999999999}", NOW, "",
          "a big number does no harm");
    whole("{" EXP ",\"a\":\"x\\u0000y\"}", NOW, "", "nor does U+0000");

    token = tap_str(TOKEN_A1 "x");
    is_int(ngx_broadcast_jwt_verify(pool, keys, &token, NOW, &jwt, &reason),
           NGX_DECLINED, "a broken token is declined");

    token.len = NGX_BROADCAST_TOKEN_MAX + 1;
    token.data = ngx_pcalloc(pool, token.len);
    is_int(ngx_broadcast_jwt_verify(pool, keys, &token, NOW, &jwt, &reason),
           NGX_BUSY, "one too long is told apart");

    jwt = claims("\"a\":\"b\"");
    is_str(&jwt->payload, "{" EXP ",\"a\":\"b\"}", "the payload is kept");
}


static void
user(const char *members, const char *want, const char *name)
{
    ngx_str_t             s;
    ngx_broadcast_jwt_t  *jwt;

    jwt = claims(members);
    s = jwt ? jwt->user : tap_str(reason);
    is_str(&s, want, name);
}


static void
test_user(void)
{
    user("\"nameid\":\"a\"", "a", "nameid is the user");
    user("\"sub\":\"a\"", "a", "so is sub");
    user("\"" NGX_BROADCAST_JWT_NAMEIDENTIFIER "\":\"a\"", "a",
         "and .NET's long name");
    user("\"sub\":\"b\",\"nameid\":\"a\"", "a", "nameid wins over sub");
    user("\"sub\":\"b\",\"" NGX_BROADCAST_JWT_NAMEIDENTIFIER "\":\"a\"", "a",
         "the long name too");
    user("\"nameid\":\"b\",\"asrs.s.uid\":\"a\"", "a", "asrs.s.uid over all");
    user("", "", "without any it is anonymous");
    user("\"nameid\":\"\",\"sub\":\"a\"", "a", "an empty one is none");
    user("\"nameid\":null,\"sub\":\"a\"", "a", "null is none");
    user("\"sub\":4711", "4711", "an integer is its digits");
    user("\"sub\":99999999999999999999", "the token's user is no string",
         "a rounded one is refused: two users would be one");
    user("\"sub\":true", "the token's user is no string", "true is refused");
    user("\"nameid\":[\"a\"]", "the token's user is no string",
         "a list is refused");
    user("\"nameid\":\"a\\r\\nb\"", "the token's user is no user id",
         "a line's end is refused");
    user("\"nameid\":\"a\\u0000\"", "the token's user is no user id",
         "U+0000 is refused");
    user("\"Nameid\":\"a\"", "", "names of claims do not ignore case here");
}


static ngx_uint_t
hub(const char *aud, const char *name)
{
    char                  members[1000];
    ngx_str_t             s;
    ngx_broadcast_jwt_t  *jwt;

    sprintf(members, "\"aud\":%s", aud);
    s = tap_str(name);
    jwt = claims(members);

    return jwt ? ngx_broadcast_jwt_for_hub(jwt, &s) : 99;
}


static void
test_hub(void)
{
    ngx_str_t             s;
    ngx_broadcast_jwt_t  *jwt;

    is_int(hub("\"http://h/client/?hub=chat\"", "chat"), 1, "a client's aud");
    is_int(hub("\"https://x:1/any/path?a=b&HUB=Chat&c#d\"", "chat"), 1,
           "host, path, case and the rest of the query do not count");
    is_int(hub("\"http://h/?hub=ch%61t\"", "chat"), 1,
           "percent-encoding does not count");
    is_int(hub("\"http://h/?hub=a&hub=chat\"", "chat"), 0,
           "the first hub counts");
    is_int(hub("\"http://h/?hub=\"", "chat"), 0, "no name is no hub");
    is_int(hub("\"http://h/?hub=\"", ""), 0, "not even an empty one");
    is_int(hub("\"http://h/#?hub=chat\"", "chat"), 0,
           "a fragment is no query");
    is_int(hub("\"http://h/?hubs=chat\"", "chat"), 0, "nor is another key");
    is_int(hub("[\"http://h/?hub=a\",\"http://h/?hub=chat\"]", "chat"), 1,
           "one of a list is enough");
    is_int(hub("[]", "chat"), 0, "an empty list is for no hub");
    is_int(hub("7", "chat"), 99, "aud as a number is refused");
    is_int(hub("null", "chat"), 99, "as null too");
    is_int(hub("[7]", "chat"), 99, "and in a list");
    is_int(hub("\"?hub=chat\"", "chat"), 1, "a query alone will do");

    jwt = claims("");
    s = tap_str("chat");
    is_int(ngx_broadcast_jwt_is_client(jwt), 1, "no aud is a client's token");
    is_int(ngx_broadcast_jwt_for_hub(jwt, &s), 0, "for no hub");
    s = tap_str("/");
    is_int(ngx_broadcast_jwt_for_path(jwt, &s), 0, "and no path");

    jwt = claims("\"aud\":[]");
    is_int(jwt->kind, 0, "an empty list is for nothing at all");
    jwt = claims("\"aud\":\"account\"");
    is_int(jwt->kind, NGX_BROADCAST_JWT_REST, "a bare word is no client's");
    jwt = claims("\"aud\":[\"http://h/api\",\"http://h/?hub=chat\"]");
    is_int(jwt->kind, NGX_BROADCAST_JWT_REST|NGX_BROADCAST_JWT_CLIENT,
           "a list may be both");

    is_int(ngx_broadcast_jwt_is_client(NULL), 0, "no token is no client's");
    is_int(ngx_broadcast_jwt_for_hub(NULL, &s), 0, "and for no hub");
    is_int(ngx_broadcast_jwt_for_path(NULL, &s), 0, "and no path");
}


static ngx_uint_t
path(const char *aud, const char *name)
{
    char                  members[1000];
    ngx_str_t             s;
    ngx_broadcast_jwt_t  *jwt;

    sprintf(members, "\"aud\":\"%s\"", aud);
    s = tap_str(name);
    jwt = claims(members);

    return jwt ? ngx_broadcast_jwt_for_path(jwt, &s) : 99;
}


static void
test_path(void)
{
    is_int(path("http://h/api/x", "/api/x"), 1, "the same path");
    is_int(path("https://other:8443/api/x", "/api/x"), 1,
           "scheme, host and port do not count");
    is_int(path("http://h/api/x?api-version=1", "/api/x?api-version=2"), 1,
           "nor does the query");
    is_int(path("http://h/api/x/", "/api/x"), 1, "nor a slash at aud's end");
    is_int(path("http://h/api/x", "/api/x/"), 1, "nor at the request's");
    is_int(path("http://h/API/x", "/api/X"), 1, "nor case");
    is_int(path("http://h/api/:send", "/api/%3Asend"), 1,
           "nor percent-encoding");
    is_int(path("http://h/api/%3asend", "/api/:send"), 1, "on either side");
    is_int(path("/api/x", "/api/x"), 1, "a bare path will do");
    is_int(path("http://h", "/"), 1, "no path is the root");

    is_int(path("http://h/api/x", "/api/y"), 0, "another path");
    is_int(path("http://h/api/x", "/api/x/y"), 0, "a longer one");
    is_int(path("http://h/api/x", "/api"), 0, "a shorter one");
    is_int(path("http://h/api/x//", "/api/x"), 0, "two slashes at the end");
    is_int(path("http://h/users/a%2Fgroups", "/users/a/groups"), 0,
           "an encoded slash is no slash");
    is_int(path("http://h/users/a%2fb", "/users/a%2Fb"), 1,
           "but the same as another");
    is_int(path("http://h/api/x?hub=chat", "/api/x"), 0, "a client's token");
    is_int(path("api", "api"), 0, "a bare word is no path");
    is_int(path("http://h/a%", "/a%"), 1, "a broken encoding is itself");
    is_int(path("http://h/a%zz", "/a%zz"), 1, "also with letters behind");
}


static void
test_rights(void)
{
    ngx_str_t             s, g;
    ngx_array_t          *groups;
    ngx_broadcast_jwt_t  *jwt;

    jwt = claims("\"role\":\"admin\",\"groups\":\"g\"");
    s = tap_str("admin");
    is_int(ngx_broadcast_jwt_has_role(jwt, &s), 1, "a role as a string");
    s = tap_str("Admin");
    is_int(ngx_broadcast_jwt_has_role(jwt, &s), 0, "its case counts");
    s = tap_str("adm");
    is_int(ngx_broadcast_jwt_has_role(jwt, &s), 0, "a part of it is none");
    s = tap_str("");
    is_int(ngx_broadcast_jwt_has_role(jwt, &s), 0, "nor is nothing");
    s = tap_str("g");
    is_int(ngx_broadcast_jwt_has_group(jwt, &s), 1, "a group as a string");
    is_int(ngx_broadcast_jwt_groups(pool, jwt)->nelts, 1, "is one group");

    jwt = claims("\"role\":[\"a\",7,\"b\",[\"c\"]],"
                 "\"groups\":[\"x\",\"\",7,\" \",\"y z\"]");
    s = tap_str("b");
    is_int(ngx_broadcast_jwt_has_role(jwt, &s), 1, "a role in a list");
    s = tap_str("c");
    is_int(ngx_broadcast_jwt_has_role(jwt, &s), 0, "not in a list in it");
    groups = ngx_broadcast_jwt_groups(pool, jwt);
    is_int(groups->nelts, 2, "of a list of groups the good names");
    is_str((ngx_str_t *) groups->elts + 1, "y z", "in their order");

    jwt = claims("\"role\":[\"broadcast.join\",\"broadcast.send.x\"],"
                 "\"groups\":[\"own\"]");
    g = tap_str("any");
    is_int(ngx_broadcast_jwt_may(jwt, "broadcast.join", &g), 1,
           "a role for all groups");
    is_int(ngx_broadcast_jwt_may(jwt, "broadcast.send", &g), 0,
           "is not one for another verb");
    g = tap_str("x");
    is_int(ngx_broadcast_jwt_may(jwt, "broadcast.send", &g), 1,
           "a role for one group");
    g = tap_str("xy");
    is_int(ngx_broadcast_jwt_may(jwt, "broadcast.send", &g), 0,
           "is not one for a longer one");
    g = tap_str("own");
    is_int(ngx_broadcast_jwt_may(jwt, "broadcast.send", &g), 1,
           "groups of the token may always");
    g = tap_str("");
    is_int(ngx_broadcast_jwt_may(claims(""), "broadcast.send", &g), 0,
           "without roles nothing may be done");
    g = tap_str("x");
    is_int(ngx_broadcast_jwt_may(NULL, "broadcast.send", &g), 0,
           "without a token neither");
    is_int(ngx_broadcast_jwt_groups(pool, claims(""))->nelts, 0,
           "and there are no groups");
}


static void
claim(const char *members, const char *name, const char *want,
    const char *fact)
{
    ngx_int_t   rc;
    ngx_str_t   n, value;

    n = tap_str(name);
    rc = ngx_broadcast_jwt_claim(pool, claims(members), &n, &value);

    if (rc == NGX_DECLINED) {
        value = tap_str("(none)");
    }

    is_str(&value, want, fact);
}


static void
test_claim(void)
{
    claim("\"a\":\"x y\"", "a", "x y", "a string is as it is");
    claim("\"a\":\"\"", "a", "", "an empty one too");
    claim("\"a\":42", "a", "42", "a number is JSON");
    claim("\"a\":[1,{\"b\":null}]", "a", "[1,{\"b\":null}]", "a list too");
    claim("\"a\":true", "a", "true", "and true");
    claim("", "a", "(none)", "none is none");
    claim("\"asrs.u.iss\":\"x\"", "iss", "x", "asrs.u. is taken off");
    claim("\"asrs.u.iss\":\"x\",\"iss\":\"y\"", "iss", "y",
          "unless there is one without");
    claim("\"Name\":\"x\"", "name", "x", "case is ignored");
    claim("\"NAME\":\"x\",\"name\":\"y\"", "name", "y",
          "unless there is one of that case");
    claim("\"asrs.u.name\":\"x\",\"Name\":\"y\"", "name", "x",
          "of that case comes before it without prefix");
    claim("\"a\":\"x\\r\\ny\"", "a", "\"x\\r\\ny\"",
          "a line's end stays escaped");
    claim("\"a\":\"x\\u0000\"", "a", "\"x\\u0000\"", "U+0000 too");
    claim("\"ab\":\"x\"", "a", "(none)", "a part of a name is none");
}


static void
test_system(void)
{
    ngx_broadcast_jwt_t  *jwt;

    jwt = claims("");
    is_int(jwt->transports, 7, "all transports unless said");
    is_int(jwt->close_at, 0, "no end of live connections");
    is_int(jwt->handshake, 0, "no time for the handshake");

    jwt = claims("\"asrs.s.htt\":\"3\",\"asrs.s.cht\":\"20\"");
    is_int(jwt->transports,
           NGX_BROADCAST_JWT_WEBSOCKET|NGX_BROADCAST_JWT_SSE,
           "two transports, as .NET writes it");
    is_int(jwt->handshake, 20, "20 s for the handshake");
    is_int(claims("\"asrs.s.htt\":4")->transports,
           NGX_BROADCAST_JWT_LONGPOLL, "one transport, as a number");
    is_int(claims("\"asrs.s.htt\":8")->transports, 7, "none of ours is all");
    is_int(claims("\"asrs.s.htt\":\"x\"")->transports, 7, "as is nonsense");
    is_int(claims("\"asrs.s.ttl\":\"20\"")->poll, 20, "a poll's longest time");
    is_int(claims("\"asrs.s.ttl\":0")->poll, 0, "0 s of it are none");
    is_int(claims("\"asrs.s.cht\":31")->handshake, 0, "31 s are too many");
    is_int(claims("\"asrs.s.cht\":0")->handshake, 0, "0 s too few");

    is_int(claims("\"asrs.s.coae\":\"true\"")->close_at, 1700003600,
           "to be closed at the token's end");
    is_int(claims("\"asrs.s.coae\":true,\"asrs.s.aeo\":\"1700001000\"")
           ->close_at, 1700001000, "or at an own one");
    is_int(claims("\"asrs.s.coae\":\"false\",\"asrs.s.aeo\":1700001000")
           ->close_at, 0, "if it says so");
}


int
main(void)
{
    pool = ngx_create_pool(4096, &ngx_stub_log);
    keys = token_keys(pool, ACCESS_KEY);

    test_vectors();
    test_times();
    test_payload();
    test_user();
    test_hub();
    test_path();
    test_rights();
    test_claim();
    test_system();

    ngx_destroy_pool(pool);

    return done();
}
