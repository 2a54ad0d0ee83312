/*
 * Secrets: a reference in the file, bytes in locked memory. A configuration packs all of its
 * secrets into few blocks of sodium_malloc(), because each block costs two guard pages and one page
 * of its own, and 5,000 peers may have a pre-shared key each. Freeing a block wipes it.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf_impl.h"

enum { VAULT_BLOCK = 4096 - 16 };	/* with libsodium's canary just one page */

struct conf_vault {
	struct conf_vault *next;
	uint8_t *bytes;			/* sodium_malloc() */
	size_t size, used;
};

void conf_vault_free(struct conf_vault *vault)
{
	while (vault) {
		struct conf_vault *next = vault->next;

		sodium_free(vault->bytes);
		free(vault);
		vault = next;
	}
}

static uint8_t *vault_alloc(struct wcore_config *cfg, size_t size)
{
	struct conf_vault *vault = cfg->vault;

	if (!vault || size > vault->size - vault->used) {
		if (sodium_init() < 0)
			return NULL;
		vault = calloc(1, sizeof(*vault));
		if (!vault)
			return NULL;
		vault->size = size > VAULT_BLOCK ? size : VAULT_BLOCK;
		vault->bytes = sodium_malloc(vault->size);
		if (!vault->bytes) {
			free(vault);
			return NULL;
		}
		vault->next = cfg->vault;
		cfg->vault = vault;
	}
	vault->used += size;
	return vault->bytes + vault->used - size;
}

/*
 * Files written with an editor end in a newline that is not part of the secret; 32 raw bytes may
 * end in 0x0a too. A file is taken for text when it has no control byte but that newline.
 */
static size_t without_newline(const uint8_t *bytes, size_t len)
{
	size_t end = len;

	if (end > 0 && bytes[end - 1] == '\n')
		end--;
	if (end > 0 && end < len && bytes[end - 1] == '\r')
		end--;
	for (size_t i = 0; i < end; i++) {
		if (bytes[i] < 0x20 || bytes[i] >= 0x7f)
			return len;
	}
	return end;
}

static bool store(struct conf_bind *b, const struct err_at *at, const struct warren_conf *value,
		  const uint8_t *bytes, size_t len, struct warren_secret *secret)
{
	const struct warren_option *opt = &value->row->opt;

	len = without_newline(bytes, len);
	if (len == 0) {
		err_add(b->err, at, "\"%s\": %s is empty", value->name, secret->reference);
		return false;
	}
	if ((opt->min != 0 || opt->max != 0) &&
	    ((int64_t)len < opt->min || (int64_t)len > opt->max)) {
		err_add(b->err, at, "\"%s\": %s has %zu bytes; %lld to %lld are expected",
			value->name, secret->reference, len, (long long)opt->min,
			(long long)opt->max);
		return false;
	}
	secret->bytes = vault_alloc(b->cfg, len);
	if (!secret->bytes) {
		err_add(b->err, at, "no locked memory for \"%s\"; raise the limit of locked memory "
			"(LimitMEMLOCK=)", value->name);
		return false;
	}
	memcpy(secret->bytes, bytes, len);
	secret->len = len;
	return true;
}

/* Tells that the reference leads nowhere: a note while checking without the daemon's rights. */
static bool fail_open(struct conf_bind *b, const struct err_at *at,
		      const struct warren_conf *value, const struct warren_secret *secret,
		      int result)
{
	const char *kind = secret->credential ? "credential " : "";

	if (b->flags & WCORE_BIND_CHECK) {
		err_note(b->err, at, "\"%s\": %s%s cannot be read (%s), so its content was not "
			 "checked", value->name, kind, secret->reference, strerror(-result));
		return true;
	}
	err_add(b->err, at, "\"%s\": %s%s cannot be read: %s", value->name, kind,
		secret->reference, strerror(-result));
	return false;
}

static bool load(struct conf_bind *b, const struct err_at *at, const struct warren_conf *value,
		 struct warren_secret *secret)
{
	struct wcore_secret_ask ask = {
		.value = secret->reference, .credential = secret->credential,
	};
	AUTO(str_free) struct str path = STR_INIT;
	AUTO(auto_close) int fd = -1;
	void *bytes;
	size_t len;
	int result;
	bool ok;

	if (!b->load)
		return true;
	wcore_conf_path(value, NULL, &path, NULL);
	ytree_path_add(&path, secret->credential ? "credential" : "file");
	ask.path = str_text(&path);
	fd = b->load(&ask, b->load_arg);
	if (fd < 0)
		return fail_open(b, at, value, secret, fd);
	result = file_read_fd(fd, CONF_MAX_SECRET, &bytes, &len);
	if (result == -EFBIG) {
		err_add(b->err, at, "\"%s\": %s is larger than %d KiB; this is no secret",
			value->name, secret->reference, CONF_MAX_SECRET >> 10);
		return false;
	}
	if (result < 0)
		return fail_open(b, at, value, secret, result);
	ok = store(b, at, value, bytes, len, secret);
	sodium_memzero(bytes, len);
	free(bytes);
	return ok;
}

/* The one child, "file" or "credential", or NULL: told. */
static const struct ytree_node *reference(struct conf_bind *b, const struct ytree_node *node,
					  const struct warren_conf *value)
{
	const struct ytree_node *child = node->kind == YTREE_MAP ? node->first : NULL;
	struct err_at at = conf_bind_place(b, node);

	if (node->kind == YTREE_SCALAR) {
		/* The text is not repeated: it may be the secret itself. */
		err_add(b->err, &at, "\"%s\" does not stand in the configuration itself; put it "
			"into a file (mode 0600) and write {file: PATH}", value->name);
		return NULL;
	}
	if (!child || child->next || child->kind != YTREE_SCALAR ||
	    (strcmp(child->key, "file") != 0 && strcmp(child->key, "credential") != 0)) {
		err_add(b->err, &at, "\"%s\" must be a reference to a secret, either {file: PATH} "
			"or {credential: NAME}", value->name);
		return NULL;
	}
	at = conf_bind_place(b, child);
	if (child->key[0] == 'f' && child->text[0] != '/') {
		err_add(b->err, &at, "the file of \"%s\" must be an absolute path, as in "
			"/etc/warren/x.key", value->name);
		return NULL;
	}
	if (child->key[0] == 'c' && (!*child->text || strchr(child->text, '/'))) {
		err_add(b->err, &at, "the credential of \"%s\" is a name without \"/\"; systemd "
			"gives it to the daemon (LoadCredential=)", value->name);
		return NULL;
	}
	return child;
}

bool conf_secret_bind(struct conf_bind *b, const struct ytree_node *node,
		      struct warren_conf *value)
{
	const struct ytree_node *child = reference(b, node, value);
	struct warren_secret *secret;
	struct err_at at;

	if (!child)
		return false;
	at = conf_bind_place(b, child);
	if (!b->in_default && child->file < b->cfg->n_files && b->cfg->overlay[child->file]) {
		err_add(b->err, &at, "\"%s\" cannot be set by a command, because it is a secret; "
			"write it into the configuration files", value->name);
		return false;
	}
	secret = conf_bind_alloc(b, sizeof(*secret));
	if (!secret)
		return false;
	secret->credential = child->key[0] == 'c';
	secret->reference = conf_bind_text(b, child->text);
	if (!secret->reference || !load(b, &at, value, secret))
		return false;
	value->shape = CONF_SCALAR;
	value->secret = secret;
	return true;
}

bool conf_secret_equal(const struct warren_secret *a, const struct warren_secret *b)
{
	if (!a->bytes || !b->bytes)
		return !a->bytes && !b->bytes && a->credential == b->credential &&
		       str_equal(a->reference, b->reference);
	return a->len == b->len && sodium_memcmp(a->bytes, b->bytes, a->len) == 0;
}

const uint8_t *warren_secret_bytes(const struct warren_secret *secret, size_t *len)
{
	*len = secret ? secret->len : 0;
	return secret ? secret->bytes : NULL;
}
