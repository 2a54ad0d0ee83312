/*
 * genkey, pubkey, genpsk as wg(8) has them, and the import of its files. The client runs these
 * itself: no private key travels to the daemon.
 */
#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "wgconf.h"

enum {
	KEY_LEN = 32,
	KEY_TEXT = sodium_base64_ENCODED_LEN(KEY_LEN, sodium_base64_VARIANT_ORIGINAL),
};

/* The descriptor of operand @key, or standard input where no file was named. */
static int input(struct warren_reply *reply, const char *key)
{
	int fd = warren_reply_take_fd(reply, key);

	return fd >= 0 ? fd : dup(STDIN_FILENO);
}

/*
 * Reads all of @fd, at most @max bytes; closes it. The caller wipes and frees *@data, which is
 * NUL-terminated.
 */
static int read_all(int fd, size_t max, char **data, size_t *len, struct warren_err *err)
{
	size_t room = max < 65536 ? max + 1 : 65536;
	char *buf = malloc(room);
	ssize_t n = 1;
	int r = buf ? 0 : -ENOMEM;

	for (*len = 0; !r && n;) {
		if (*len + 1 >= room && room <= max) {
			char *more = malloc(room * 2);

			if (!more) {
				r = -ENOMEM;
				break;
			}
			memcpy(more, buf, *len);
			sodium_memzero(buf, *len);
			free(buf);
			buf = more;
			room *= 2;
		}
		n = read(fd, buf + *len, room - 1 - *len);
		if (n == -1 && errno != EINTR)
			r = -errno;
		else if (n > 0)
			*len += (size_t)n;
		if (*len > max)
			r = -EFBIG;
		else if (*len == room - 1 && room > max)
			n = 0;
	}
	close(fd);
	if (r < 0) {
		if (buf)
			sodium_memzero(buf, *len);
		free(buf);
		return warren_fail(err, NULL, "cannot read the input: %s", strerror(-r)), r;
	}
	buf[*len] = '\0';
	*data = buf;
	return 0;
}

static void answer_key(struct warren_reply *reply, const char *name, const uint8_t key[KEY_LEN])
{
	char text[KEY_TEXT];

	sodium_bin2base64(text, sizeof(text), key, KEY_LEN, sodium_base64_VARIANT_ORIGINAL);
	warren_reply_str(reply, name, "%s", text);
	warren_reply_text(reply, "%s", text);
	sodium_memzero(text, sizeof(text));
}

static int sodium_ready(struct warren_err *err)
{
	return sodium_init() < 0 ? warren_fail(err, NULL, "the system has no random numbers") : 0;
}

static int run_genkey(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	uint8_t key[KEY_LEN];
	int r = sodium_ready(err);

	(void)ctx;
	(void)args;
	if (r < 0)
		return r;
	randombytes_buf(key, sizeof(key));
	/* RFC 7748 5: clamped, as wg genkey does, so that both programs show the same key. */
	key[0] &= 248;
	key[31] = (key[31] & 127) | 64;
	answer_key(reply, "private_key", key);
	sodium_memzero(key, sizeof(key));
	return 0;
}

static int run_genpsk(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	uint8_t key[KEY_LEN];
	int r = sodium_ready(err);

	(void)ctx;
	(void)args;
	if (r < 0)
		return r;
	randombytes_buf(key, sizeof(key));
	answer_key(reply, "preshared_key", key);
	sodium_memzero(key, sizeof(key));
	return 0;
}

static int run_pubkey(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	uint8_t private_key[KEY_LEN], public_key[KEY_LEN];
	size_t len, key_len = 0;
	char *text;
	int r = sodium_ready(err);

	(void)ctx;
	(void)args;
	if (!r)
		r = read_all(input(reply, "file"), 1024, &text, &len, err);
	if (r < 0)
		return r;
	if (sodium_base642bin(private_key, sizeof(private_key), text, len, " \t\r\n", &key_len,
			      NULL, sodium_base64_VARIANT_ORIGINAL) ||
	    key_len != KEY_LEN)
		r = warren_fail(err, NULL, "the input is no private key: it must be 44 "
					   "characters of"
				" base64, as `warren wg genkey` prints them");
	else if (crypto_scalarmult_base(public_key, private_key))
		r = warren_fail(err, NULL, "the input is no usable private key");
	else
		answer_key(reply, "public_key", public_key);
	sodium_memzero(private_key, sizeof(private_key));
	sodium_memzero(text, len);
	free(text);
	return r;
}

/* Each line of @yaml is a line of text; the data is the whole. */
static void answer_yaml(struct warren_reply *reply, char *yaml)
{
	warren_reply_str(reply, "yaml", "%s", yaml);
	for (char *line = yaml; *line;) {
		char *end = strchr(line, '\n');

		if (end)
			*end = '\0';
		warren_reply_text(reply, "%s", line);
		if (!end)
			break;
		line = end + 1;
	}
}

static int run_import(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	struct wg_conf *conf;
	char *text, *yaml = NULL;
	size_t len, yaml_len = 0;
	FILE *out;
	int r = read_all(input(reply, "file"), WG_CONF_FILE_MAX, &text, &len, err);

	(void)ctx;
	(void)args;
	if (r < 0)
		return r;
	conf = wg_conf_parse("wg.conf", text, len, err);
	sodium_memzero(text, len);
	free(text);
	if (!conf)
		return -EINVAL;
	out = open_memstream(&yaml, &yaml_len);
	r = out ? wg_conf_render(conf, "wg.conf", out) : -ENOMEM;
	if (out && fclose(out) && !r)
		r = -ENOMEM;
	wg_conf_free(conf);
	if (!r)
		answer_yaml(reply, yaml);
	else
		warren_fail(err, NULL, "cannot write the YAML: %s", strerror(-r));
	free(yaml);
	return r;
}

static const struct warren_option pubkey_args[] = {
	{
		.key = "file",
		.type = WARREN_FD_IN,
		.flags = WARREN_POSITIONAL,
		.brief = "File with a private key; standard input if not given.",
	},
};

static const struct warren_option import_args[] = {
	{
		.key = "file",
		.type = WARREN_FD_IN,
		.flags = WARREN_POSITIONAL | WARREN_REQUIRED,
		.brief = "A file of wg(8) or wg-quick(8); - is standard input.",
	},
};

const struct warren_command wg_commands[WG_COMMANDS] = {
	{
		.path = "wg genkey",
		.flags = WARREN_CMD_ANY | WARREN_CMD_OFFLINE,
		.brief = "Makes a private key.",
		.help = "Prints it in base64. Write it to a file that only root can read and "
			"name that "
			"file in identity.node-key.",
		.example = "umask 077; warren wg genkey > /etc/warren/node.key",
		.run = run_genkey,
	}, {
		.path = "wg pubkey",
		.flags = WARREN_CMD_ANY | WARREN_CMD_OFFLINE,
		.args = WARREN_TABLE(pubkey_args),
		.brief = "Prints the public key of a private key.",
		.help = "Peers write the public key into their configuration.",
		.example = "warren wg pubkey < /etc/warren/node.key",
		.run = run_pubkey,
	}, {
		.path = "wg genpsk",
		.flags = WARREN_CMD_ANY | WARREN_CMD_OFFLINE,
		.brief = "Makes a pre-shared key.",
		.help = "Both sides of one peering name a file with it in psk.",
		.example = "umask 077; warren wg genpsk > /etc/warren/nas.psk",
		.run = run_genpsk,
	}, {
		.path = "wg import",
		.flags = WARREN_CMD_ANY | WARREN_CMD_OFFLINE,
		.args = WARREN_TABLE(import_args),
		.brief = "Turns a file of wg-quick into Warren's YAML.",
		.help = "Prints the equivalent configuration. Keys stay out of it: it names "
			"files that "
			"you have to make. What has no equivalent is listed in comments.",
		.example = "warren wg import /etc/wireguard/wg0.conf > /etc/warren/warren.yaml",
		.run = run_import,
	},
};
