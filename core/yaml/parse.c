/*
 * libyaml events to tree nodes. libyaml expands nothing by itself; we refuse what would let a small
 * file become a large one or mean something else than it shows (aliases, merge keys, tags,
 * duplicate keys), count nodes and depth, and translate libyaml's complaints into sentences that
 * say what to do. Errors of the structure do not end the parse, so that one run names them all;
 * errors of the syntax do.
 */
#include "yaml/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/util.h"

enum { DUPLICATE_HASH_FROM = 16, SHOWN_BYTES = 60 };

struct frame {				/* a list or map that is open */
	struct ytree_node *node, *tail;
	const char *key;		/* map: read, its value is still to come */
	uint32_t key_line;
	uint16_t key_column;
	struct hash keys;		/* of a map that has many */
};

struct parse {
	struct ytree *tree;
	const char *text;		/* the whole file */
	size_t len;
	uint8_t file;
	struct warren_err *err;
	uint32_t errors;
	struct frame frames[YTREE_MAX_DEPTH];
	uint32_t depth;
	struct ytree_node *root;
	bool root_done, stop;
	int result;
};

static struct err_at place(const struct parse *p, yaml_mark_t mark)
{
	return (struct err_at){
		.file = p->tree->files[p->file], .order = p->file,
		.line = (uint32_t)mark.line + 1, .column = (uint32_t)mark.column + 1,
	};
}

static void fail(struct parse *p, yaml_mark_t mark, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fail(struct parse *p, yaml_mark_t mark, const char *fmt, ...)
{
	struct err_at at = place(p, mark);
	va_list ap;

	va_start(ap, fmt);
	p->result = err_vadd(p->err, &at, fmt, ap);
	va_end(ap);
	if (++p->errors == ERR_MAX)
		p->stop = true;
}

static void fail_memory(struct parse *p)
{
	p->result = -ENOMEM;
	p->stop = true;
	err_add(p->err, NULL, "no memory to read %s", p->tree->files[p->file]);
}

/* Adds a node for @event where the parse stands. NULL: told, and the parse ends. */
static struct ytree_node *add_node(struct parse *p, const yaml_event_t *event, uint8_t kind)
{
	struct frame *frame = p->depth > 0 ? &p->frames[p->depth - 1] : NULL;
	struct ytree_node *node;

	if (p->tree->n_nodes == YTREE_MAX_NODES) {
		fail(p, event->start_mark, "the configuration has more than %d values; split it "
		     "over several machines or leave some out", YTREE_MAX_NODES);
		p->stop = true;
		return NULL;
	}
	node = arena_alloc(&p->tree->arena, sizeof(*node));
	if (!node) {
		fail_memory(p);
		return NULL;
	}
	p->tree->n_nodes++;
	node->kind = kind;
	node->file = p->file;
	node->line = (uint32_t)event->start_mark.line + 1;
	node->column = (uint16_t)(event->start_mark.column < UINT16_MAX ?
				  event->start_mark.column + 1 : UINT16_MAX);
	if (!frame) {
		p->root = node;
		return node;
	}
	if (frame->key) {
		node->key = frame->key;
		node->key_line = frame->key_line;
		node->key_column = frame->key_column;
		frame->key = NULL;
	}
	if (frame->tail)
		frame->tail->next = node;
	else
		frame->node->first = node;
	frame->tail = node;
	frame->node->count++;
	return node;
}

static bool wants_key(const struct parse *p)
{
	const struct frame *frame = p->depth > 0 ? &p->frames[p->depth - 1] : NULL;

	return frame && frame->node->kind == YTREE_MAP && !frame->key;
}

/* The earlier node of this key; in a large map by a hash that grows with it. */
static const struct ytree_node *find_duplicate(struct parse *p, struct frame *frame,
					       const char *key)
{
	struct ytree_node *map = frame->node;

	if (map->count < DUPLICATE_HASH_FROM)
		return ytree_get(map, key);
	if (map->count == DUPLICATE_HASH_FROM) {
		hash_free(&frame->keys);
		for (struct ytree_node *n = map->first; n; n = n->next) {
			if (hash_put_str(&frame->keys, n->key, n, NULL) < 0)
				fail_memory(p);
		}
	} else if (hash_put_str(&frame->keys, frame->tail->key, frame->tail, NULL) < 0) {
		fail_memory(p);
	}
	return hash_get_str(&frame->keys, key);
}

static void take_key(struct parse *p, const yaml_event_t *event)
{
	struct frame *frame = &p->frames[p->depth - 1];
	const char *text = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	const struct ytree_node *twin;

	if (len > YTREE_MAX_KEY) {
		fail(p, event->start_mark, "this key has %zu bytes; at most %d are allowed", len,
		     YTREE_MAX_KEY);
		text = "?";
		len = 1;
	} else if (memchr(text, '\0', len)) {
		fail(p, event->start_mark, "this key holds a NUL byte; take out the \\0");
		len = strlen(text);
	}
	if (event->data.scalar.plain_implicit && strcmp(text, "<<") == 0)
		fail(p, event->start_mark, "merge keys (\"<<\") are not supported; write the "
		     "values out");
	frame->key = arena_text(&p->tree->arena, text, len);
	frame->key_line = (uint32_t)event->start_mark.line + 1;
	frame->key_column = (uint16_t)(event->start_mark.column < UINT16_MAX ?
				       event->start_mark.column + 1 : UINT16_MAX);
	if (!frame->key) {
		fail_memory(p);
		return;
	}
	twin = find_duplicate(p, frame, frame->key);
	if (twin)
		fail(p, event->start_mark, "\"%.*s\" is set twice, first in line %u; remove one "
		     "of the two", SHOWN_BYTES, frame->key, twin->key_line);
}

static bool is_null_text(const char *text)
{
	return strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
	       strcmp(text, "NULL") == 0;
}

static void take_scalar(struct parse *p, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	struct ytree_node *node;

	if (wants_key(p)) {
		take_key(p, event);
		return;
	}
	if (memchr(text, '\0', len))
		fail(p, event->start_mark, "this value holds a NUL byte; take out the \\0");
	if (plain && (len == 0 || is_null_text(text))) {
		node = add_node(p, event, YTREE_NULL);
		if (node)
			node->explicit_null = len > 0;
		return;
	}
	node = add_node(p, event, YTREE_SCALAR);
	if (!node)
		return;
	node->quoted = !plain;
	node->text = arena_text(&p->tree->arena, text, len);
	if (!node->text)
		fail_memory(p);
}

static void open_frame(struct parse *p, const yaml_event_t *event, uint8_t kind)
{
	struct ytree_node *node;

	if (wants_key(p)) {
		fail(p, event->start_mark, "a key must be a plain text, not a %s; quote it if it "
		     "begins with { or [", kind == YTREE_MAP ? "map" : "list");
		p->stop = true;
		return;
	}
	if (p->depth == YTREE_MAX_DEPTH) {
		fail(p, event->start_mark, "more than %d levels of maps and lists inside each "
		     "other; no option is that deep", YTREE_MAX_DEPTH);
		p->stop = true;
		return;
	}
	node = add_node(p, event, kind);
	if (!node)
		return;
	p->frames[p->depth] = (struct frame){ .node = node };
	hash_init(&p->frames[p->depth].keys);
	p->depth++;
}

static void close_frame(struct parse *p)
{
	hash_free(&p->frames[--p->depth].keys);
}

static void check_properties(struct parse *p, yaml_mark_t mark, const yaml_char_t *anchor,
			     const yaml_char_t *tag)
{
	if (anchor)
		fail(p, mark, "anchors (\"&%.*s\") are not supported; take it out, and write the "
		     "value again where it is used", SHOWN_BYTES, (const char *)anchor);
	if (tag)
		fail(p, mark, "tags (\"%.*s\") are not supported; take it out, the option knows "
		     "its type", SHOWN_BYTES, (const char *)tag);
}

static void take_event(struct parse *p, const yaml_event_t *event)
{
	struct ytree_node *null;

	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (p->root_done) {
			fail(p, event->start_mark, "a second document (\"---\") begins here; put "
			     "it into a file of its own in conf.d");
			p->stop = true;
		}
		break;
	case YAML_ALIAS_EVENT:
		fail(p, event->start_mark, "aliases (\"*%.*s\") are not supported; write the "
		     "value out, or quote it if it is a text", SHOWN_BYTES,
		     (const char *)event->data.alias.anchor);
		if (wants_key(p)) {
			p->stop = true;
			break;
		}
		null = add_node(p, event, YTREE_NULL);
		if (null)
			null->explicit_null = true;
		break;
	case YAML_SCALAR_EVENT:
		check_properties(p, event->start_mark, event->data.scalar.anchor,
				 event->data.scalar.tag);
		take_scalar(p, event);
		break;
	case YAML_SEQUENCE_START_EVENT:
		check_properties(p, event->start_mark, event->data.sequence_start.anchor,
				 event->data.sequence_start.tag);
		open_frame(p, event, YTREE_LIST);
		break;
	case YAML_MAPPING_START_EVENT:
		check_properties(p, event->start_mark, event->data.mapping_start.anchor,
				 event->data.mapping_start.tag);
		open_frame(p, event, YTREE_MAP);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		close_frame(p);
		break;
	case YAML_DOCUMENT_END_EVENT:
		p->root_done = true;
		break;
	case YAML_STREAM_END_EVENT:
		p->stop = true;
		break;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
		break;
	}
}

/* What libyaml says, and what it usually means. */
static const struct {
	const char *problem, *meaning;
} problems[] = {
	{ "mapping values are not allowed in this context",
	  "a \":\" is not expected here; check the indentation of this line and the one above, or "
	  "quote the value if the \":\" belongs to it" },
	{ "could not find expected ':'",
	  "a key without \":\" after it; write \"key: value\"" },
	{ "did not find expected key",
	  "no key here; the indentation does not match the lines above, or a quote is missing" },
	{ "did not find expected '-' indicator",
	  "an element of a list begins with \"- \", in line with the other elements" },
	{ "block sequence entries are not allowed in this context",
	  "a list cannot begin here; put \"- \" on a line of its own, or write [a, b]" },
	{ "did not find expected ',' or ']'",
	  "this list is not closed; a \",\" or \"]\" is missing before this place" },
	{ "did not find expected ',' or '}'",
	  "this map is not closed; a \",\" or \"}\" is missing before this place" },
	{ "found unexpected end of stream",
	  "the file ends inside a quoted text; the closing quote is missing" },
	{ "found unknown escape character",
	  "unknown escape after \"\\\"; write \"\\\\\" for one backslash, or use single quotes" },
	{ "found unexpected document indicator",
	  "a \"---\" or \"...\" inside a quoted text; the closing quote is missing" },
	{ "did not find expected node content",
	  "no value here; a value, or a closing bracket before this place, is missing" },
	{ "did not find expected alphabetic or numeric character",
	  "a value cannot begin with \"*\" or \"&\"; put it in quotes" },
	{ "did not find expected <document start>",
	  "more text after the end of the document; remove it or the \"...\" above" },
};

static void explain_problem(struct parse *p, const yaml_parser_t *yaml)
{
	yaml_mark_t mark = yaml->problem_mark;
	/* index counts characters, which are bytes only as long as the text is ASCII. */
	char at = '\0';
	const char *line = p->text;

	for (size_t n = mark.line; line && n > 0; n--) {
		line = memchr(line, '\n', p->len - (size_t)(line - p->text));
		line = line ? line + 1 : NULL;
	}
	for (size_t n = mark.column; line && line < p->text + p->len; line++) {
		if (((unsigned char)*line & 0xc0) != 0x80 && n-- == 0) {
			at = *line;
			break;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(problems); i++) {
		if (at != '\t' && str_equal(yaml->problem, problems[i].problem)) {
			fail(p, mark, "%s", problems[i].meaning);
			return;
		}
	}
	if (at == '\t')
		fail(p, mark, "a tab; YAML is indented with spaces only");
	else if (str_equal(yaml->problem, "found character that cannot start any token"))
		fail(p, mark, "a value cannot begin with \"%c\"; put it in quotes", at);
	else if (yaml->error == YAML_MEMORY_ERROR)
		fail_memory(p);
	else if (yaml->context)
		fail(p, mark, "%s (%s)", yaml->problem, yaml->context);
	else
		fail(p, mark, "%s", yaml->problem ? yaml->problem : "not YAML");
}

/* What YAML does not allow: control characters but tab and line ends, U+FFFE and U+FFFF. */
static bool is_forbidden(const unsigned char *p, size_t left)
{
	if (p[0] < 0x20)
		return p[0] != '\t' && p[0] != '\n' && p[0] != '\r';
	if (p[0] == 0xc2 && left > 1)
		return p[1] < 0xa0 && p[1] != 0x85;
	if (p[0] == 0xef && left > 2)
		return p[1] == 0xbf && p[2] >= 0xbe;
	return p[0] == 0x7f;
}

/* Found here, because libyaml's own message about them has no line. */
static bool check_bytes(struct parse *p)
{
	const unsigned char *bytes = (const unsigned char *)p->text;
	size_t good = str_utf8_check(p->text, p->len);
	yaml_mark_t mark = { 0 };

	for (size_t i = 0; i < p->len; i++) {
		if (i == good) {
			fail(p, mark, "byte 0x%02x is not UTF-8; save the file as UTF-8", bytes[i]);
			return false;
		}
		if (is_forbidden(bytes + i, p->len - i)) {
			fail(p, mark, "a control character (byte 0x%02x%s); remove it", bytes[i],
			     bytes[i] == 0 ? ", NUL" : "");
			return false;
		}
		if (bytes[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if ((bytes[i] & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	return true;
}

static void run_parser(struct parse *p)
{
	yaml_parser_t yaml;
	yaml_event_t event;

	if (!yaml_parser_initialize(&yaml)) {
		fail_memory(p);
		return;
	}
	yaml_parser_set_encoding(&yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&yaml, (const unsigned char *)p->text, p->len);
	while (!p->stop) {
		if (!yaml_parser_parse(&yaml, &event)) {
			explain_problem(p, &yaml);
			break;
		}
		take_event(p, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&yaml);
	while (p->depth > 0)
		close_frame(p);
}

static void check_root(struct parse *p, uint32_t flags)
{
	static const char *const refused[] = { "system", "coordinator" };
	yaml_mark_t top = { 0 };

	if (!p->root) {
		yaml_event_t empty = { 0 };

		add_node(p, &empty, YTREE_NULL);
		return;
	}
	if (p->root->kind != YTREE_MAP && p->root->kind != YTREE_NULL) {
		top.line = p->root->line - 1;
		top.column = p->root->column - 1u;
		fail(p, top, "a configuration file is a map of sections, as in \"wg: {}\"");
		return;
	}
	for (size_t i = 0; (flags & YTREE_OVERLAY) && i < ARRAY_SIZE(refused); i++) {
		const struct ytree_node *node = ytree_get(p->root, refused[i]);

		if (!node)
			continue;
		top.line = node->key_line - 1;
		top.column = node->key_column - 1u;
		fail(p, top, "\"%s\" cannot be set by a command; write it into the "
		     "configuration files", refused[i]);
	}
}

static int add_file(struct ytree *tree, const char *name, uint8_t *file, struct warren_err *err)
{
	char *copy;

	if (tree->n_files == YTREE_MAX_FILES) {
		err_add(err, NULL, "%s: more than %d configuration files; merge some", name,
			YTREE_MAX_FILES);
		return -EFBIG;
	}
	copy = arena_text(&tree->arena, name, strlen(name));
	if (!copy) {
		err_add(err, NULL, "no memory to read %s", name);
		return -ENOMEM;
	}
	*file = (uint8_t)tree->n_files;
	tree->files[tree->n_files++] = copy;
	return 0;
}

int ytree_parse(struct ytree *tree, const char *name, const void *bytes, size_t len,
		uint32_t flags, struct ytree_node **root, struct warren_err *err)
{
	struct parse p = { .tree = tree, .text = bytes, .len = len, .err = err };
	struct err_at at;

	*root = NULL;
	p.result = add_file(tree, name, &p.file, err);
	if (p.result < 0)
		return p.result;
	if (len > YTREE_MAX_BYTES) {
		at = (struct err_at){ .file = tree->files[p.file], .order = p.file };
		err_add(err, &at, "the file is larger than %d MiB; split it",
			YTREE_MAX_BYTES >> 20);
		return -EFBIG;
	}
	if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
		p.text += 3;		/* a byte order mark, which some editors put there */
		p.len -= 3;
	}
	if (check_bytes(&p))
		run_parser(&p);
	if (p.result == 0)
		check_root(&p, flags);
	if (p.result == 0)
		*root = p.root;
	return p.result;
}

int ytree_parse_fd(struct ytree *tree, const char *name, int fd, uint32_t flags,
		   struct ytree_node **root, struct warren_err *err)
{
	AUTO(auto_free) void *bytes = NULL;
	struct err_at at = { .file = name, .order = tree->n_files };
	size_t len = 0;
	int result = file_read_fd(fd, YTREE_MAX_BYTES, &bytes, &len);

	*root = NULL;
	if (result == -EFBIG)
		err_add(err, &at, "the file is larger than %d MiB; split it",
			YTREE_MAX_BYTES >> 20);
	else if (result < 0)
		err_add(err, &at, "cannot be read: %s", strerror(-result));
	if (result < 0)
		return result;
	return ytree_parse(tree, name, bytes, len, flags, root, err);
}
