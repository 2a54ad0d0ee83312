/*
 * Writes a parsed wg-quick configuration as Warren YAML. Everything foreign that is printed passes
 * through one filter: printable ASCII only, so that no character of a comment or command can end
 * the YAML comment it stands in, and no run of base64 that could be a key, because people comment
 * keys out. Names of peers come from their comments if these make good names.
 */
#include "wgconf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 40, TEXT_MAX_LEN = 200, KEY_RUN = 43 };

struct name {				/* of a peer: "laptop" or "peer7" */
	char text[NAME_MAX_LEN + 1];
};

static bool letter_or_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of the run of base64 characters at @s. */
static size_t base64_run(const char *s)
{
	size_t n = 0;

	while (letter_or_digit(s[n]) || s[n] == '+' || s[n] == '/')
		n++;
	return n;
}

static void put_text(FILE *out, const char *text)
{
	const char *start = text;

	while (*text && text - start < TEXT_MAX_LEN) {
		size_t run = base64_run(text);

		if (run >= KEY_RUN) {
			fputs("(a key)", out);
			text += run;
			continue;
		}
		for (size_t i = 0; i < (run ? run : 1); i++, text++)
			fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
	}
	if (*text)
		fputs("...", out);
}

static bool has_key(const char *text)
{
	while (*text) {
		size_t run = base64_run(text);

		if (run >= KEY_RUN)
			return true;
		text += run ? run : 1;
	}
	return false;
}

static void put_prefix(FILE *out, const struct warren_prefix *prefix)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(prefix->addr.family == 4 ? AF_INET : AF_INET6, prefix->addr.bytes, text,
		  sizeof(text));
	fprintf(out, prefix->addr.family == 4 ? "%s/%u" : "'%s/%u'", text, prefix->bits);
}

static void put_prefixes(FILE *out, const struct wg_conf_prefixes *list)
{
	fputc('[', out);
	for (size_t i = 0; i < list->n; i++) {
		if (i)
			fputs(i % 4 ? ", " : ",\n        ", out);
		put_prefix(out, &list->at[i]);
	}
	fputs("]\n", out);
}

/* ---- Names ---- */

/* "Name = Laptop of Ann" gives laptop-of-ann; false: nothing to make a name of. */
static bool name_from(const char *comment, struct name *name)
{
	const char *value = strrchr(comment, '=');
	size_t n = 0;

	if (has_key(comment))
		return false;
	for (value = value ? value + 1 : comment; *value && n < NAME_MAX_LEN; value++) {
		if (letter_or_digit(*value))
			name->text[n++] = *value >= 'A' && *value <= 'Z' ? *value | 32 : *value;
		else if (n && name->text[n - 1] != '-')
			name->text[n++] = '-';
	}
	while (n && name->text[n - 1] == '-')
		n--;
	name->text[n] = '\0';
	/* peer7 is what the nameless are called. */
	return n && strncmp(name->text, "peer", 4) != 0;
}

static void number_name(struct name *name, size_t i)
{
	snprintf(name->text, sizeof(name->text), "peer%zu", i + 1);
}

static int compare_names(const void *a, const void *b)
{
	const struct name *const *x = a, *const *y = b;
	int order = strcmp((*x)->text, (*y)->text);

	return order ? order : (*x > *y) - (*x < *y);
}

/* One name for each peer, all different; NULL: no memory. */
static struct name *make_names(const struct wg_conf *conf)
{
	struct name *names = calloc(conf->peer_n + 1, sizeof(*names));
	struct name **sorted = calloc(conf->peer_n + 1, sizeof(*sorted));

	if (!names || !sorted)
		goto fail;
	for (size_t i = 0; i < conf->peer_n; i++) {
		sorted[i] = &names[i];
		if (!conf->peer[i].comment || !name_from(conf->peer[i].comment, &names[i]))
			number_name(&names[i], i);
	}
	qsort(sorted, conf->peer_n, sizeof(*sorted), compare_names);
	for (size_t i = conf->peer_n; i-- > 1;) {
		if (!strcmp(sorted[i]->text, sorted[i - 1]->text))
			number_name(sorted[i], (size_t)(sorted[i] - names));
	}
	free(sorted);
	return names;
fail:
	free(names);
	free(sorted);
	return NULL;
}

/* "wg0" of "/etc/wireguard/wg0.conf": the start of the key files' names. */
static struct name stem(const char *file)
{
	const char *slash = strrchr(file, '/');
	struct name name = { "" };
	size_t n = 0;

	for (file = slash ? slash + 1 : file; *file && n < NAME_MAX_LEN; file++) {
		if (!strcasecmp(file, ".conf"))
			break;
		if (n || letter_or_digit(*file))
			name.text[n++] = letter_or_digit(*file) || *file == '_' ? *file : '-';
	}
	if (!n)
		memcpy(name.text, "wg0", sizeof("wg0"));
	return name;
}

/* ---- Sections ---- */

static const struct {
	const char *key, *why;
} untaken[] = {
	{ "FwMark", "Warren marks its packets itself" },
	{ "DNS", "the host's resolver is left as it is" },
	{ "Table", "Warren's routes are in a table of its own" },
	{ "PreUp", "Warren runs no commands" },
	{ "PostUp", "Warren runs no commands" },
	{ "PreDown", "Warren runs no commands" },
	{ "PostDown", "Warren runs no commands" },
	{ "SaveConfig", "Warren does not write its configuration" },
};

static void put_head(FILE *out, const struct wg_conf *conf, const struct name *file)
{
	bool psk = false;

	fprintf(out, "# From %s.conf, by \"warren wg import\".\n", file->text);
	if (conf->has_private_key)
		fprintf(out, "# Put the value of PrivateKey into /etc/warren/%s.key "
			"(owner root, mode 0600).\n", file->text);
	else
		fputs("# There was no PrivateKey: a key is made at the first start.\n", out);
	for (size_t i = 0; i < conf->peer_n; i++)
		psk |= conf->peer[i].has_psk;
	if (psk)
		fputs("# Put each PresharedKey into the file that its peer names, the same way.\n",
		      out);
	if (!conf->port)
		fputs("# There was no ListenPort: Warren takes its default.\n", out);
	if (conf->text_n)
		fputs("# Not taken over:\n", out);
	for (size_t i = 0; i < conf->text_n; i++) {
		fprintf(out, "#   line %u: %s = ", conf->text[i].line, conf->text[i].key);
		put_text(out, conf->text[i].value);
		for (size_t k = 0; k < sizeof(untaken) / sizeof(untaken[0]); k++) {
			if (!strcmp(untaken[k].key, conf->text[i].key))
				fprintf(out, "\n#      (%s)", untaken[k].why);
		}
		fputc('\n', out);
	}
}

static void put_node(FILE *out, const struct wg_conf *conf, const struct name *file)
{
	if (conf->has_private_key)
		fprintf(out, "identity:\n  node-key: {file: /etc/warren/%s.key}\n", file->text);
	else
		fputs("identity: {}\n", out);
	fputs("wg: {", out);
	if (conf->port)
		fprintf(out, "port: %u", conf->port);
	if (conf->mtu)
		fprintf(out, "%smtu: %u", conf->port ? ", " : "", conf->mtu);
	fputs("}\nstatic:\n  addresses: ", out);
	put_prefixes(out, &conf->address);
}

static void put_peer(FILE *out, const struct wg_conf_peer *peer, const struct name *name,
		     const struct name *file)
{
	char key[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)];

	if (peer->comment) {
		fputs("    # ", out);
		put_text(out, peer->comment);
		fputc('\n', out);
	}
	sodium_bin2base64(key, sizeof(key), peer->public_key, 32, sodium_base64_VARIANT_ORIGINAL);
	fprintf(out, "    %s:\n      public-key: %s\n", name->text, key);
	if (peer->has_psk)
		fprintf(out, "      psk: {file: /etc/warren/%s-%s.psk}\n", file->text, name->text);
	if (peer->host[0])
		fprintf(out, strchr(peer->host, ':') ? "      endpoint: '[%s]:%u'\n"
						     : "      endpoint: '%s:%u'\n",
			peer->host, peer->port);
	fputs("      allowed-ips: ", out);
	put_prefixes(out, &peer->allowed);
	if (peer->keepalive)
		fprintf(out, "      keepalive: %us\n", peer->keepalive);
}

int wg_conf_render(const struct wg_conf *conf, const char *name, FILE *out)
{
	struct name *names = make_names(conf), file = stem(name);

	if (!names)
		return -ENOMEM;
	put_head(out, conf, &file);
	put_node(out, conf, &file);
	fputs(conf->peer_n ? "  peers:\n" : "  peers: {}\n", out);
	for (size_t i = 0; i < conf->peer_n; i++)
		put_peer(out, &conf->peer[i], &names[i], &file);
	fputs("router: {}\n", out);
	free(names);
	return ferror(out) ? -EIO : 0;
}
