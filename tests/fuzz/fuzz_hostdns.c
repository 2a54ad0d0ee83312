/*
 * What warren-hostdns, which is root, reads of others: the first byte says which text follows.
 */
#include <stdlib.h>
#include <string.h>

#include "base/resolv.h"
#include "base/util.h"
#include "helpers/hostdns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* What the engine is told: two kinds of lines, never ourselves, and not without end. */
static void check_base(struct hostdns_base *base)
{
	AUTO(str_free) struct str out = STR_INIT;
	char *at, *text, *line;

	hostdns_base_leave_out_loops(base);
	hostdns_base_print(base, &out);
	must(!out.failed && out.len < 64 << 10);
	at = text = str_take(&out);
	while ((line = hostdns_line(&at))) {
		const char *server = hostdns_words(line, "nameserver");

		must(server || str_starts(line, "search "));
		must(!server || (!hostdns_is_service(server) && !strchr(server, ' ')));
	}
	free(text);
	hostdns_base_free(base);
}

static void read_file(char *text)
{
	struct hostdns_base base = { STR_INIT, STR_INIT };
	const char *keeper = resolv_keeper(text, strlen(text));
	AUTO(str_free) struct str copy = STR_INIT;
	bool named;
	char *line;

	must(!keeper || strstr(text, keeper));
	str_add(&copy, text);
	named = resolved_is_named(&copy);
	while ((line = hostdns_line(&text)))
		hostdns_base_add(&base, line);
	must(!named || str_equal(str_text(&base.servers), "127.0.0.53"));
	check_base(&base);
}

static void read_records(char *text)
{
	static const char name[] = RESOLVCONF_OURS "12345678";
	struct resolvconf_records records = { .base = { STR_INIT, STR_INIT } };

	resolvconf_records(text, name, &records);
	must(memchr(records.other, '\0', sizeof(records.other)));
	must(!records.other[0] ||
	     (str_starts(records.other, RESOLVCONF_OURS) && !str_equal(records.other, name)));
	check_base(&records.base);
}

static uint32_t count_servers(char *text, bool comments)
{
	uint32_t n = 0;
	char *line;

	while ((line = hostdns_line(&text)))
		n += (comments || line[0] != '#') && hostdns_words(line, "nameserver");
	return n;
}

/* Two texts: whatever the file says, those whom the record names are named, and nobody else. */
static void compose(char *file, char *record)
{
	AUTO(str_free) struct str out = STR_INIT;
	AUTO(auto_free) char *copy = strdup(record);
	AUTO(auto_free) char *made = NULL;

	must(copy);
	resolvconf_compose(file, record, &out);
	must(!out.failed);
	made = str_take(&out);
	must(!made || count_servers(made, true) == count_servers(copy, false));
}

static void read_address(const uint8_t *data, size_t size)
{
	struct hostdns_base base = { STR_INIT, STR_INIT };

	if (size > 0)
		hostdns_base_add_address(&base, data[0], data + 1, size - 1);
	must(!strpbrk(str_text(&base.servers), " \n"));
	check_base(&base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(auto_free) char *text = size > 0 ? malloc(size) : NULL;

	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	switch (data[0]) {
	case 'f':
		read_file(text);
		break;
	case 'l':
		read_records(text);
		break;
	case 'c':
		if (strlen(text) < size - 1)
			compose(text, text + strlen(text) + 1);
		break;
	case 'n':
		(void)resolved_is_source(text);
		break;
	case 'a':
		read_address(data + 1, size - 1);
		break;
	default:
		break;
	}
	return 0;
}
