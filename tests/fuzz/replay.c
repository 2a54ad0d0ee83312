/*
 * Runs a fuzz target over files and folders of files: the regression test that needs no fuzzer.
 *
 * Each input is handed over in a block of exactly its size, so that the address sanitizer sees a
 * read past its end. A folder without any input is an error: a test that tests nothing must not
 * pass.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long replayed;

static int replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1);
	int result = -1;

	if (!file || !data) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	} else if (fread(data, 1, size, file) != size) {
		fprintf(stderr, "%s: shorter than its size says\n", path);
	} else {
		LLVMFuzzerTestOneInput(data, size);
		replayed++;
		result = 0;
	}
	free(data);
	if (file)
		fclose(file);
	return result;
}

static int replay_path(const char *path);

static int replay_folder(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	int result = 0;

	if (count == -1) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (int i = 0; i < count; i++) {
		char child[4096];

		if (entries[i]->d_name[0] != '.') {
			int len = snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);

			if (len < 0 || (size_t)len >= sizeof(child) || replay_path(child))
				result = -1;
		}
		free(entries[i]);
	}
	free(entries);
	return result;
}

static int replay_path(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		return replay_folder(path);
	return replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	int result = 0;

	for (int i = 1; i < argc; i++) {
		if (replay_path(argv[i]))
			result = -1;
	}
	if (replayed == 0) {
		fprintf(stderr, "usage: %s FILE|FOLDER...: no input found\n", argv[0]);
		return 1;
	}
	printf("%lu inputs\n", replayed);
	return result ? 1 : 0;
}
