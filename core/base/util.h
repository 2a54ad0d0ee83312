/*
 * base/util.h - what C lacks: array sizes, scope-bound clean-up, checked sizes
 */
#ifndef WARREN_BASE_UTIL_H
#define WARREN_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/*
 * AUTO(fn): calls fn(&variable) when the variable's block is left.
 *	AUTO(auto_close) int fd = -1;
 *	AUTO(auto_free) char *text = NULL;
 *	AUTO(str_free) struct str s = STR_INIT;
 */
#define AUTO(fn) __attribute__((cleanup(fn)))

/* For AUTO: frees a pointer; closes a descriptor (-1 is left alone). errno is preserved. */
void auto_free(void *pointer_to_pointer);
void auto_close(int *fd);

/* Moves a value out of an AUTO variable, so that it survives the block. */
#define TAKE_PTR(p) ({ __typeof__(p) take_ptr_ = (p); (p) = NULL; take_ptr_; })
#define TAKE_FD(fd) ({ int take_fd_ = (fd); (fd) = -1; take_fd_; })

/* Checked arithmetic on lengths: false, and @out untouched, when the result does not fit. */
bool size_add(size_t a, size_t b, size_t *out);
bool size_mul(size_t a, size_t b, size_t *out);

#endif
