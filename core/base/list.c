/*
 * Intrusive doubly linked list, circular with its head, so that no operation has a special case.
 */
#include "base/list.h"

void list_init(struct list *head)
{
	head->prev = head->next = head;
}

bool list_empty(const struct list *head)
{
	return head->next == head;
}

void list_add_before(struct list *at, struct list *item)
{
	item->prev = at->prev;
	item->next = at;
	at->prev->next = item;
	at->prev = item;
}

void list_add_tail(struct list *head, struct list *item)
{
	list_add_before(head, item);
}

void list_add_head(struct list *head, struct list *item)
{
	list_add_before(head->next, item);
}

void list_del(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

void list_splice_tail(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev->next = from->next;
	to->prev = from->prev;
	list_init(from);
}
