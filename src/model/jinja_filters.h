/* What the files of the template library share: argument readers and the filters on sequences. */
#ifndef HEARTH_MODEL_JINJA_FILTERS_H
#define HEARTH_MODEL_JINJA_FILTERS_H

#include "model/jinja_internal.h"

bool jinja_given(struct val v);
enum status jinja_int_arg(const struct invocation *v, int at, int64_t missing, int64_t *out);
enum status jinja_bool_arg(const struct invocation *v, int at, bool *out); /* missing: false */
enum status jinja_str_arg(const struct invocation *v, int at, struct str missing, struct str *out);
/* s with `fill` around it up to `width` code points; align is '<', '>' or '^' (as str.center) */
enum status jinja_pad(struct run *r, struct str s, int64_t width, struct str fill, char align,
                      struct val *out);
/* "separator".join(items), each item as str() when `soft`, else it must be a string */
enum status jinja_join(struct run *r, struct str separator, const struct val *items, size_t n,
                       bool soft, struct val *out);

enum { SELECT_REJECT = 1, SELECT_ATTR = 2 }; /* tags of jinja_f_select */

enum status jinja_f_batch(const struct invocation *v);
enum status jinja_f_dictsort(const struct invocation *v);
enum status jinja_f_extreme(const struct invocation *v);
enum status jinja_f_first(const struct invocation *v);
enum status jinja_f_groupby(const struct invocation *v);
enum status jinja_f_items(const struct invocation *v);
enum status jinja_f_join(const struct invocation *v);
enum status jinja_f_last(const struct invocation *v);
enum status jinja_f_length(const struct invocation *v);
enum status jinja_f_list(const struct invocation *v);
enum status jinja_f_map(const struct invocation *v);
enum status jinja_f_reverse(const struct invocation *v);
enum status jinja_f_select(const struct invocation *v);
enum status jinja_f_slice(const struct invocation *v);
enum status jinja_f_sort(const struct invocation *v);
enum status jinja_f_sum(const struct invocation *v);
enum status jinja_f_unique(const struct invocation *v);
#endif
