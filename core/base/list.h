/*
 * base/list.h - intrusive doubly linked list
 *
 * A `struct list` is a head or is embedded in an element. No locking, no allocation.
 */
#ifndef WARREN_BASE_LIST_H
#define WARREN_BASE_LIST_H

#include <stdbool.h>

#include "base/util.h"

struct list {
	struct list *prev, *next;
};

#define LIST_INIT(name) { &(name), &(name) }

void list_init(struct list *head);
bool list_empty(const struct list *head);
/* Inserts @item at the end, at the start, before @at. It must not be in a list. */
void list_add_tail(struct list *head, struct list *item);
void list_add_head(struct list *head, struct list *item);
void list_add_before(struct list *at, struct list *item);
/* Takes @item out and makes it an empty list of its own, so that a second call does no harm. */
void list_del(struct list *item);
/* Moves all elements of @from to the end of @to. */
void list_splice_tail(struct list *to, struct list *from);

#define list_entry(item, type, member) CONTAINER_OF(item, type, member)
#define list_first(head, type, member) \
	(list_empty(head) ? NULL : list_entry((head)->next, type, member))
/* Loops over elements; the second form allows to take the current one out and free it. */
#define list_for_each(pos, head, member)						\
	for (pos = list_entry((head)->next, __typeof__(*pos), member);			\
	     &pos->member != (head);							\
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))
#define list_for_each_safe(pos, tmp, head, member)					\
	for (pos = list_entry((head)->next, __typeof__(*pos), member),			\
	     tmp = list_entry(pos->member.next, __typeof__(*pos), member);		\
	     &pos->member != (head);							\
	     pos = tmp, tmp = list_entry(pos->member.next, __typeof__(*pos), member))

#endif
