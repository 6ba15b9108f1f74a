// Compares what memory.c does with loops over bytes: every length up to some hundred, lengths around each limit, every
// alignment and, for memmove, every overlap nearby.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 40000, EDGE = 96 };
static unsigned char area[SIZE + 2 * EDGE], expected[SIZE + 2 * EDGE], other[SIZE + 2 * EDGE];

static void fill(unsigned char *bytes)
{
	static unsigned long state = 1;
	for (size_t at = 0; at < SIZE + 2 * EDGE; at++) {
		state = state * 6364136223846793005UL + 1442695040888963407UL;
		bytes[at] = (unsigned char)(state >> 56);
	}
}

static void require(int holds, const char *what, size_t length, size_t to, size_t from)
{
	if (!holds) {
		fprintf(stderr, "memory-test: %s of %zu bytes, at %zu and %zu, is wrong\n", what, length, to, from);
		exit(1);
	}
}

static void same(const char *what, size_t length, size_t to, size_t from)
{
	for (size_t at = 0; at < SIZE + 2 * EDGE; at++)
		require(area[at] == expected[at], what, length, to, from);
}

static int sign(int value) { return (value > 0) - (value < 0); }

static void try_length(size_t length, size_t step)
{
	for (size_t to = 0; to < EDGE; to += step) {
		for (size_t from = 0; from < EDGE; from += step) {
			fill(area);
			memcpy(expected, area, sizeof area);
			for (size_t at = 0; at < length; at++)
				other[at] = area[from + at];
			for (size_t at = 0; at < length; at++)
				expected[to + at] = other[at];
			require(memmove(area + to, area + from, length) == area + to, "memmove's result", length, to,
				from);
			same("memmove", length, to, from);
		}
		fill(area);
		memcpy(expected, area, sizeof area);
		for (size_t at = 0; at < length; at++)
			expected[to + at] = 0x83;
		require(memset(area + to, 0x183, length) == area + to, "memset's result", length, to, 0);
		same("memset", length, to, 0);
		for (size_t from = 0; from < 3; from++) {
			fill(area);
			for (size_t at = 0; at < length; at++)
				other[from + at] = area[to + at];
			other[from + length] = (unsigned char)~area[to + length];
			require(memcmp(area + to, other + from, length) == 0, "memcmp of equal areas", length, to,
				from);
			for (size_t at = 0; at<length; at += length> 300 ? 97 : 1) {
				unsigned char kept = other[from + at];
				other[from + at] = (unsigned char)(kept + 0x80);
				int order = area[to + at] < other[from + at] ? -1 : 1;
				require(sign(memcmp(area + to, other + from, length)) == order, "memcmp", length, to,
					from);
				require(bcmp(area + to, other + from, length) != 0, "bcmp", length, to, from);
				other[from + at] = kept;
			}
		}
	}
}

int main(void)
{
	for (size_t length = 0; length <= 140; length++)
		try_length(length, 31);
	static const size_t lengths[] = {2047, 2048, 2049, 2063, 2064, 4095, 4097, 32767, 32768, 32769, 40000};
	for (size_t at = 0; at < sizeof lengths / sizeof *lengths; at++)
		try_length(lengths[at], 29);
	return 0;
}
