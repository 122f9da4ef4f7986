
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H


#include <stddef.h>


#define FLOOR_PROCESSES  64


/* floor.c */

void floor_die(const char *what);


/*
 * floor_answer.c.  Who cannot take all that is sent is waited for; a key is that
 * of the opening handshake, 24 characters; /hop is answered as nginx does
 * beside Nchan, a text of a subscriber as the handshake of a hub's client.
 */

void floor_send(int fd, const char *p, size_t len);
void floor_answer_upgrade(int fd, const char *key);
void floor_answer_hop(int fd);
void floor_answer_hello(int fd);


/*
 * floor_shared.c: the processes, and what they share where there are several.
 * A message is at the same place for all, so all send in one order.
 */

typedef void (*floor_handler_pt)(int group, const char *body, size_t len);

int floor_start(int port, int processes);   /* returns in each, with its
                                               listening socket */
int floor_bell(void);           /* descriptor: readable, there is a message */
void floor_add(int group, const char *body, size_t len,
    floor_handler_pt handler);  /* to the others, and to this process */
void floor_heed(floor_handler_pt handler);      /* each that is new to this
                                                   process */


#endif /* BENCH_FLOOR_H */
