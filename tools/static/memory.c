// memcpy, memmove, memset, memcmp and bcmp for the static lanner on x86_64. musl's copy with `rep movsq` and compare
// byte by byte, and most of what lanner copies and compares is a few bytes long. What fits into registers is read as a
// whole before anything is written, so the same code serves areas that overlap.
#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t Eight __attribute__((may_alias, aligned(1)));
typedef uint32_t Four __attribute__((may_alias, aligned(1)));
typedef uint16_t Two __attribute__((may_alias, aligned(1)));

// From here on, the processor's own loops are quicker than ours: the one that copies takes hundreds of nanoseconds to
// begin.
enum { LONG_COPY = 32768, LONG_FILL = 2048 };

static __m128i get(const char *from) { return _mm_loadu_si128((const __m128i *)from); }
static void put(char *to, __m128i value) { _mm_storeu_si128((__m128i *)to, value); }

static void copy_16(char *to, const char *from, size_t count)
{
	if (count >= 8) {
		Eight first = *(const Eight *)from, last = *(const Eight *)(from + count - 8);
		*(Eight *)to = first;
		*(Eight *)(to + count - 8) = last;
	} else if (count >= 4) {
		Four first = *(const Four *)from, last = *(const Four *)(from + count - 4);
		*(Four *)to = first;
		*(Four *)(to + count - 4) = last;
	} else if (count >= 2) {
		Two first = *(const Two *)from, last = *(const Two *)(from + count - 2);
		*(Two *)to = first;
		*(Two *)(to + count - 2) = last;
	} else if (count == 1) {
		*to = *from;
	}
}

static void copy_64(char *to, const char *from)
{
	__m128i a = get(from), b = get(from + 16), c = get(from + 32), d = get(from + 48);
	put(to, a);
	put(to + 16, b);
	put(to + 32, c);
	put(to + 48, d);
}

static void forward(char *to, const char *from, size_t count)
{
	// the end is read first: the loop may write over it
	const char *end = from + count - 64;
	char *last = to + count - 64;
	__m128i a = get(end), b = get(end + 16), c = get(end + 32), d = get(end + 48);
	for (; to < last; to += 64, from += 64)
		copy_64(to, from);
	put(last, a);
	put(last + 16, b);
	put(last + 32, c);
	put(last + 48, d);
}

static void backward(char *to, const char *from, size_t count)
{
	__m128i a = get(from), b = get(from + 16), c = get(from + 32), d = get(from + 48);
	for (size_t left = count; left > 64; left -= 64)
		copy_64(to + left - 64, from + left - 64);
	put(to, a);
	put(to + 16, b);
	put(to + 32, c);
	put(to + 48, d);
}

void *memmove(void *dest, const void *source, size_t count)
{
	char *to = dest;
	const char *from = source;
	if (count <= 16) {
		copy_16(to, from, count);
	} else if (count <= 32) {
		__m128i first = get(from), last = get(from + count - 16);
		put(to, first);
		put(to + count - 16, last);
	} else if (count <= 64) {
		__m128i a = get(from), b = get(from + 16), c = get(from + count - 32), d = get(from + count - 16);
		put(to, a);
		put(to + 16, b);
		put(to + count - 32, c);
		put(to + count - 16, d);
	} else if ((uintptr_t)to - (uintptr_t)from < count) {
		backward(to, from, count);
	} else if (count < LONG_COPY || (uintptr_t)from - (uintptr_t)to < count) {
		forward(to, from, count);
	} else {
		__m128i first = get(from), last = get(from + count - 16);
		// the words in between, to aligned places
		size_t skip = 16 - ((uintptr_t)to & 15), words = (count - skip) / 8;
		char *at = to + skip;
		const char *of = from + skip;
		__asm__ volatile("rep movsq" : "+D"(at), "+S"(of), "+c"(words) : : "memory");
		put(to, first);
		put(to + count - 16, last);
	}
	return dest;
}

void *memcpy(void *dest, const void *source, size_t count) __attribute__((alias("memmove")));

void *memset(void *dest, int byte, size_t count)
{
	char *to = dest;
	Eight eight = 0x0101010101010101u * (unsigned char)byte;
	__m128i value = _mm_set1_epi8((char)byte);
	if (count < 16) {
		if (count >= 8) {
			*(Eight *)to = eight;
			*(Eight *)(to + count - 8) = eight;
		} else if (count >= 4) {
			*(Four *)to = (Four)eight;
			*(Four *)(to + count - 4) = (Four)eight;
		} else if (count >= 2) {
			*(Two *)to = (Two)eight;
			*(Two *)(to + count - 2) = (Two)eight;
		} else if (count == 1) {
			*to = (char)byte;
		}
		return dest;
	}
	char *last = to + count - 16;
	if (count < LONG_FILL) {
		for (; to < last; to += 16)
			put(to, value);
	} else {
		put(to, value);
		char *at = to + 16 - ((uintptr_t)to & 15);
		size_t words = (size_t)(last + 16 - at) / 8;
		__asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(eight) : "memory");
	}
	put(last, value);
	return dest;
}

// The difference of the first bytes that differ, in 16 of each.
static int differ_16(const unsigned char *a, const unsigned char *b)
{
	unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(get((const char *)a), get((const char *)b)));
	if (same == 0xffff)
		return 0;
	int at = __builtin_ctz(~same);
	return a[at] - b[at];
}

int memcmp(const void *one, const void *other, size_t count)
{
	const unsigned char *a = one, *b = other;
	if (count >= 16) {
		size_t at = 0;
		for (; at + 16 <= count; at += 16) {
			int order = differ_16(a + at, b + at);
			if (order)
				return order;
		}
		return at < count ? differ_16(a + count - 16, b + count - 16) : 0;
	}
	if (count >= 8) {
		Eight x = *(const Eight *)a, y = *(const Eight *)b;
		if (x == y) {
			x = *(const Eight *)(a + count - 8);
			y = *(const Eight *)(b + count - 8);
		}
		x = __builtin_bswap64(x);
		y = __builtin_bswap64(y);
		return (x > y) - (x < y);
	}
	if (count >= 4) {
		uint32_t x = *(const Four *)a, y = *(const Four *)b;
		if (x == y) {
			x = *(const Four *)(a + count - 4);
			y = *(const Four *)(b + count - 4);
		}
		x = __builtin_bswap32(x);
		y = __builtin_bswap32(y);
		return (x > y) - (x < y);
	}
	for (size_t at = 0; at < count; at++)
		if (a[at] != b[at])
			return a[at] - b[at];
	return 0;
}

int bcmp(const void *one, const void *other, size_t count) __attribute__((alias("memcmp")));
