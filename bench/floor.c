// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The floor of any reader: map each file and touch every byte once. What takes less CPU than
 * this has not read the file.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t walk(const uint8_t *p, size_t n)
{
	uint64_t sum = 0, word;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&word, p, 8);
		sum += word;
	}
	while (n--)
		sum += *p++;
	return sum;
}

static int walk_file(const char *path, uint64_t *sum)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st)) {
		perror(path);
		return 3;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED) {
		perror(path);
		return 3;
	}
	*sum += walk(map, (size_t)st.st_size);
	munmap(map, (size_t)st.st_size);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t sum = 0;

	for (int i = 1; i < argc; i++)
		if (walk_file(argv[i], &sum))
			return 3;
	printf("%016" PRIx64 "\n", sum);
	return 0;
}
