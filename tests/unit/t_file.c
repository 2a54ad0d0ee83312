/*
 * base/file.h: reading with a limit, replacing as a whole, and what is left behind when a step
 * fails.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"

struct folder {
	char path[64];
	int fd;
};

static int make_folder(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));

	assert_non_null(folder);
	snprintf(folder->path, sizeof(folder->path), "/tmp/warren-t-file-XXXXXX");
	assert_non_null(mkdtemp(folder->path));
	folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_not_equal(folder->fd, -1);
	*state = folder;
	return 0;
}

static int remove_folder(void **state)
{
	struct folder *folder = *state;
	DIR *dir = opendir(folder->path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		unlinkat(folder->fd, entry->d_name, 0);
	closedir(dir);
	close(folder->fd);
	assert_int_equal(rmdir(folder->path), 0);
	free(folder);
	return 0;
}

static void check_content(int dirfd, const char *name, const char *expected)
{
	AUTO(auto_free) void *data = NULL;
	size_t len;

	assert_int_equal(file_read_at(dirfd, name, 100, &data, &len), 0);
	assert_int_equal(len, strlen(expected));
	assert_string_equal(data, expected);
}

static unsigned int count_files(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int count = 0;
	struct dirent *entry;

	while ((entry = readdir(dir)))
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return count;
}

static void test_replace(void **state)
{
	struct folder *folder = *state;
	struct stat st;

	assert_int_equal(file_replace_at(folder->fd, "a", 0640, "one", 3), 0);
	check_content(folder->fd, "a", "one");
	assert_int_equal(fstatat(folder->fd, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_replace_at(folder->fd, "a", 0600, "", 0), 0);
	check_content(folder->fd, "a", "");
	assert_int_equal(count_files(folder->path), 1);
}

/* A crash left the temporary file, or somebody put a link in its place. */
static void test_leftover(void **state)
{
	struct folder *folder = *state;

	assert_int_equal(file_replace_at(folder->fd, "victim", 0600, "safe", 4), 0);
	assert_int_equal(symlinkat("victim", folder->fd, ".a.new"), 0);
	assert_int_equal(file_replace_at(folder->fd, "a", 0600, "two", 3), 0);
	check_content(folder->fd, "a", "two");
	check_content(folder->fd, "victim", "safe");
	assert_int_equal(count_files(folder->path), 2);
}

static void test_refused_names(void **state)
{
	struct folder *folder = *state;
	char name[252];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(file_replace_at(folder->fd, "a/b", 0600, "x", 1), -EINVAL);
	assert_int_equal(file_replace_at(folder->fd, "", 0600, "x", 1), -EINVAL);
	assert_int_equal(file_replace_at(folder->fd, name, 0600, "x", 1), -ENAMETOOLONG);
	assert_int_equal(count_files(folder->path), 0);
}

/* The write fails half-way, as on a full disk: the old content stays, nothing else does. */
static void test_full(void **state)
{
	struct folder *folder = *state;
	struct rlimit limit, small = { 0 };
	char large[100] = { 0 };
	int result;

	assert_int_equal(file_replace_at(folder->fd, "a", 0600, "old", 3), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){ .rlim_cur = 50, .rlim_max = limit.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	result = file_replace_at(folder->fd, "a", 0600, large, sizeof(large));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(result, -EFBIG);
	check_content(folder->fd, "a", "old");
	assert_int_equal(count_files(folder->path), 1);
}

static void test_target_is_folder(void **state)
{
	struct folder *folder = *state;

	assert_int_equal(mkdirat(folder->fd, "a", 0700), 0);
	assert_int_equal(file_replace_at(folder->fd, "a", 0600, "x", 1), -EISDIR);
	assert_int_equal(count_files(folder->path), 1);
	assert_int_equal(unlinkat(folder->fd, "a", AT_REMOVEDIR), 0);
}

static void test_limit(void **state)
{
	struct folder *folder = *state;
	char bytes[5000];
	void *data = NULL;
	size_t len;
	int fds[2];

	memset(bytes, 'b', sizeof(bytes));
	assert_int_equal(file_replace_at(folder->fd, "a", 0600, bytes, sizeof(bytes)), 0);
	assert_int_equal(file_read_at(folder->fd, "a", sizeof(bytes) - 1, &data, &len), -EFBIG);
	assert_null(data);
	assert_int_equal(file_read_at(folder->fd, "a", sizeof(bytes), &data, &len), 0);
	assert_int_equal(len, sizeof(bytes));
	free(data);
	/* A pipe has no size to go by. */
	assert_int_equal(pipe(fds), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(file_write_fd(fds[1], bytes, sizeof(bytes)), 0);
	close(fds[1]);
	assert_int_equal(file_read_fd(fds[0], 3 * sizeof(bytes), &data, &len), 0);
	assert_int_equal(len, 3 * sizeof(bytes));
	close(fds[0]);
	free(data);
	assert_int_equal(file_read_at(folder->fd, "none", 10, &data, &len), -ENOENT);
	assert_int_equal(file_read_fd(folder->fd, 10, &data, &len), -EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_replace, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_leftover, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_refused_names, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_full, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_target_is_folder, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_limit, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
