/*
 * An authority for tests, as two processes below this one.
 */
#include "pebble.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

uint16_t pebble_free_port(void)
{
	struct sockaddr_in at = loopback(0);
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) ||
	    getsockname(fd, (struct sockaddr *)&at, &len))
		abort();
	close(fd);
	return ntohs(at.sin_port);
}

/* Ten seconds for a program of Go to begin. */
static bool listens(uint16_t port)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	struct sockaddr_in at = loopback(port);

	for (int i = 0; i < 500; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int result = connect(fd, (struct sockaddr *)&at, sizeof(at));

		close(fd);
		if (!result)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static pid_t run(const char *const *argv)
{
	pid_t pid = fork();
	int null;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	if (!getenv("PEBBLE_LOUD")) {
		dup2(null, 1);
		dup2(null, 2);
	}
	setenv("PEBBLE_VA_NOSLEEP", "1", 1);
	setenv("PEBBLE_WFE_NONCEREJECT", "10", 1);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void write_file(const struct pebble *pebble, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", pebble->folder, name);
	file = fopen(path, "w");
	if (!file || fputs(text, file) < 0 || fclose(file))
		abort();
}

static void write_config(struct pebble *pebble, uint16_t port, uint16_t management,
			 uint16_t http_port, uint16_t tls_port)
{
	struct cert cert;
	char text[1024];

	pebble->ca = cert_new(NULL, "DNS:pebble.example", 30);
	cert = cert_new(&pebble->ca, "DNS:localhost,IP:127.0.0.1", 30);
	write_file(pebble, "cert.pem", cert.pem);
	write_file(pebble, "key.pem", cert.key_pem);
	cert_free(&cert);
	snprintf(text, sizeof(text), "{\"pebble\": {\"listenAddress\": \"127.0.0.1:%u\", "
		 "\"managementListenAddress\": \"127.0.0.1:%u\", \"certificate\": \"%s/cert.pem\", "
		 "\"privateKey\": \"%s/key.pem\", \"httpPort\": %u, \"tlsPort\": %u, "
		 "\"ocspResponderURL\": \"\", \"externalAccountBindingRequired\": false}}",
		 port, management, pebble->folder, pebble->folder, http_port, tls_port);
	write_file(pebble, "config.json", text);
}

static bool installed(void)
{
	return (access("/usr/bin/pebble", X_OK) == 0) &&
	       access("/usr/bin/pebble-challtestsrv", X_OK) == 0;
}

bool pebble_start(struct pebble *pebble, uint16_t http_port, uint16_t tls_port)
{
	uint16_t port = pebble_free_port(), management = pebble_free_port();
	uint16_t dns_port = pebble_free_port(), dns_management = pebble_free_port();
	char config[128], dns[32], dns_at[32];
	const char *const server_argv[] = { "/usr/bin/pebble", "-config", config, "-dnsserver",
					    dns, NULL };
	const char *const dns_argv[] = {
		"/usr/bin/pebble-challtestsrv", "-dns01", dns, "-http01", "", "-https01", "",
		"-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-management",
		dns_at, NULL,
	};

	if (!installed())
		return false;
	memset(pebble, 0, sizeof(*pebble));
	strncpy(pebble->folder, "/tmp/pebble.XXXXXX", sizeof(pebble->folder) - 1);
	if (!mkdtemp(pebble->folder))
		abort();
	write_config(pebble, port, management, http_port, tls_port);
	snprintf(config, sizeof(config), "%s/config.json", pebble->folder);
	snprintf(dns, sizeof(dns), "127.0.0.1:%u", dns_port);
	snprintf(dns_at, sizeof(dns_at), "127.0.0.1:%u", dns_management);
	snprintf(pebble->directory, sizeof(pebble->directory), "https://localhost:%u/dir", port);
	snprintf(pebble->dns_url, sizeof(pebble->dns_url), "http://127.0.0.1:%u", dns_management);
	pebble->dns = run(dns_argv);
	pebble->server = run(server_argv);
	if (!listens(dns_management) || !listens(port))
		abort();
	return true;
}

void pebble_stop(struct pebble *pebble)
{
	static const char *const files[] = { "cert.pem", "key.pem", "config.json" };
	char path[128];

	kill(pebble->server, SIGKILL);
	kill(pebble->dns, SIGKILL);
	waitpid(pebble->server, NULL, 0);
	waitpid(pebble->dns, NULL, 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", pebble->folder, files[i]);
		unlink(path);
	}
	rmdir(pebble->folder);
	cert_free(&pebble->ca);
}
