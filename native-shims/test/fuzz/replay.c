/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzz target on its corpus without libFuzzer.
 *
 * Each line of a corpus file is an input in hexadecimal.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 4096

/* Decodes a line up to the first character that is not a hexadecimal digit. */
static size_t decode(const char *line, uint8_t *bytes)
{
	size_t count = 0;
	unsigned int byte;

	while (count < INPUT_MAX && sscanf(line + 2 * count, "%2x", &byte) == 1)
		bytes[count++] = (uint8_t)byte;
	return count;
}

int main(int argc, char **argv)
{
	static char line[2 * INPUT_MAX + 2];
	static uint8_t bytes[INPUT_MAX];
	int runs = 0;

	for (int file = 1; file < argc; file++) {
		FILE *corpus = fopen(argv[file], "r");

		if (!corpus) {
			perror(argv[file]);
			return 1;
		}
		while (fgets(line, sizeof(line), corpus)) {
			size_t size = decode(line, bytes);
			uint8_t *exact = malloc(size + 1);

			memcpy(exact, bytes, size);
			fprintf(stderr, "input %d: %s", runs, line);
			LLVMFuzzerTestOneInput(exact, size);
			free(exact);
			runs++;
		}
		fclose(corpus);
	}
	printf("%d inputs\n", runs);
	return runs ? 0 : 1;
}
