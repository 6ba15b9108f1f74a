/* A 32-bit program without a C library: reads of an empty pipe that a timer's handlers end, or let go on. */
static int call(int nr, int a, int b, int c, int d)
{
	int ret;
	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return ret;
}

#define EXIT 1
#define READ 3
#define WRITE 4
#define PIPE 42
#define SETITIMER 104
#define RT_SIGACTION 174
#define SIGALRM 14
#define SA_SIGINFO 4
#define SA_RESTART 0x10000000

static int ends[2], fills;

static void tick(int number)
{
	(void)number;
	if (fills)
		call(WRITE, ends[1], (int)"x", 1, 0);
}

static void handle(unsigned flags)
{
	/* as the kernel has it: handler, flags, restorer, mask */
	struct {
		void (*handler)(int);
		unsigned flags;
		void *restorer;
		unsigned mask[2];
	} action = {tick, flags, 0, {0, 0}};

	call(RT_SIGACTION, SIGALRM, (int)&action, 0, 8);
}

void _start(void)
{
	int often[4] = {0, 20000, 0, 20000};
	char byte;

	call(PIPE, (int)ends, 0, 0, 0);
	handle(0);
	call(SETITIMER, 0, (int)often, 0, 0);
	call(READ, ends[0], (int)&byte, 1, 0);
	handle(SA_SIGINFO);
	call(READ, ends[0], (int)&byte, 1, 0);
	handle(SA_RESTART);
	fills = 1;
	call(READ, ends[0], (int)&byte, 1, 0);
	call(EXIT, 0, 0, 0, 0);
}
