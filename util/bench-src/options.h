
/*
 * Copyright (C) The nginx-broadcast authors
 */


#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H


/* where an option's value goes, and as what */

typedef enum {
    OPTION_FLAG = 0,            /* int: 1 if it is there */
    OPTION_INT,                 /* int */
    OPTION_TEXT,                /* const char *, borrowed from argv */
    OPTION_LIST                 /* option_list_t: numbers with commas between */
} option_kind_e;


typedef struct {
    int           *numbers;
    int           *n;
    int            max;         /* more are not looked at */
} option_list_t;


typedef struct {
    const char    *name;        /* NULL: the table's end */
    option_kind_e  kind;
    void          *value;
} option_t;


/*
 * Options of both load generators, which are about `conf`, and a program's own.
 * What is no option ends the program with its usage.
 */

void options_read(int argc, char **argv, const option_t *own,
    const char *usage);
void options_wrong(const char *usage) __attribute__((noreturn));

/* as many descriptors as the hard limit allows; fails if these are too few */

void options_descriptors(int needed);


#endif /* BENCH_OPTIONS_H */
