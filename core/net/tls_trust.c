/*
 * The system's authorities. To read the bundle takes some ten milliseconds, so that it is read once
 * for all connections, and again when it has changed: by dials, in a job.
 */
#include "tls_impl.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"

enum { FOLDER = 4096 };

static struct {
	pthread_mutex_t reading;	/* held over the reading, outside of the other */
	pthread_mutex_t lock;
	X509_STORE *store;
	uint64_t mark;			/* of the files it was read from */
} trusted = { .reading = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER };

static uint64_t mark_add(uint64_t mark, const char *path)
{
	const uint64_t secret[2] = { mark, 0 };
	struct stat st;
	int64_t seen[8] = { 0 };

	if (stat(path, &st) == 0) {
		const int64_t found[8] = {
			(int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size, 1,
			st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			st.st_ctim.tv_sec, st.st_ctim.tv_nsec,
		};

		memcpy(seen, found, sizeof(seen));
	}
	return hash_siphash(secret, seen, sizeof(seen));
}

/* Of the bundle and of the folders, whose files OpenSSL keeps once it has used them. */
static uint64_t mark_now(void)
{
	const char *file = secure_getenv(X509_get_default_cert_file_env());
	const char *list = secure_getenv(X509_get_default_cert_dir_env());
	uint64_t mark = mark_add(0, file ? file : X509_get_default_cert_file());
	char folder[FOLDER];

	if (!list)
		list = X509_get_default_cert_dir();
	while (*list) {
		size_t len = strcspn(list, ":");

		if (len > 0 && len < sizeof(folder)) {
			memcpy(folder, list, len);
			folder[len] = '\0';
			mark = mark_add(mark, folder);
		}
		list += len + (list[len] == ':');
	}
	return mark;
}

static bool is_fresh(uint64_t mark)
{
	bool fresh;

	pthread_mutex_lock(&trusted.lock);
	fresh = trusted.store && trusted.mark == mark;
	pthread_mutex_unlock(&trusted.lock);
	return fresh;
}

bool tls_trust_is_fresh(void)
{
	return is_fresh(mark_now());
}

void tls_trust_read(void)
{
	X509_STORE *store = NULL, *before;
	uint64_t mark;

	pthread_mutex_lock(&trusted.reading);
	mark = mark_now();		/* before: a change while we read is seen next time */
	if (!is_fresh(mark)) {
		store = X509_STORE_new();
		if (store && !X509_STORE_set_default_paths(store)) {
			X509_STORE_free(store);
			store = NULL;
		}
	}
	if (store) {
		pthread_mutex_lock(&trusted.lock);
		before = trusted.store;
		trusted.store = store;
		trusted.mark = mark;
		pthread_mutex_unlock(&trusted.lock);
		X509_STORE_free(before);	/* connections have their own references */
	}
	pthread_mutex_unlock(&trusted.reading);
	ERR_clear_error();		/* of a bundle that is not there */
}

static X509_STORE *current(void)
{
	X509_STORE *store;

	pthread_mutex_lock(&trusted.lock);
	store = trusted.store;
	if (store && !X509_STORE_up_ref(store))
		store = NULL;
	pthread_mutex_unlock(&trusted.lock);
	return store;
}

X509_STORE *tls_trust_system(void)
{
	X509_STORE *store = current();

	if (store)
		return store;
	tls_trust_read();
	return current();
}
