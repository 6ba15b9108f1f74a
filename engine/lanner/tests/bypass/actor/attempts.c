/* Attempts on lanner itself. None of them does any harm. */
#include "actor.h"
#include <dirent.h>
#include <sys/resource.h>

static void lanner_memory_opened(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", lanner());
	open(path, O_RDONLY);
}

static void lanner_task_memory_opened(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", lanner(), lanner());
	open(path, O_RDONLY);
}

static void lanner_descriptor_taken(void)
{
	int process = can(syscall(SYS_pidfd_open, lanner(), 0), "pidfd_open");

	syscall(SYS_pidfd_getfd, process, 1000, 0);
}

/* The kernel knows no such limit. */
static void lanner_limited(void)
{
	struct rlimit limit = {4096, 4096};

	syscall(SYS_prlimit64, lanner(), 99, &limit, NULL);
}

static void lanner_asked(void) { kill(lanner(), SIGWINCH); }

/* There is no such thread. */
static void lanner_signalled(void) { syscall(SYS_tgkill, lanner(), 1, SIGSEGV); }

/* Only the kernel may say that a signal comes from a timer. */
static void lanner_signal_forged(void)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = SI_KERNEL};

	syscall(SYS_rt_sigqueueinfo, lanner(), SIGBUS, &info);
}

static void lanner_attached(void) { ptrace(PTRACE_SEIZE, lanner(), NULL, (void *)-1L); }

static void lanner_openat2(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", lanner());
	syscall(SYS_openat2, AT_FDCWD, path, &(struct open_how){.flags = O_RDWR}, sizeof(struct open_how));
}

/* A thread of lanner's that is not the first. */
static pid_t lanner_thread(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", lanner());
	DIR *tasks = opendir(path);
	for (struct dirent *entry; tasks && (entry = readdir(tasks));)
		if (atoi(entry->d_name) && atoi(entry->d_name) != lanner())
			return atoi(entry->d_name);
	end(CANNOT, "lanner has one thread");
}

static void lanner_thread_memory(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", lanner_thread());
	open(path, O_RDONLY);
}

static void lanner_thread_attached(void) { ptrace(PTRACE_SEIZE, lanner_thread(), NULL, (void *)-1L); }

/* A directory of /proc is as good as a pidfd. There are no such flags. */
static void lanner_folder_signalled(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", lanner());
	syscall(SYS_pidfd_send_signal, must(open(path, O_RDONLY | O_DIRECTORY), path), SIGSEGV, NULL, 0x1000);
}

static void lanner_first_to_go(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", lanner());
	open(path, O_WRONLY);
}

const struct way ATTEMPTS[] = {
    {"lanner-memory", lanner_memory_opened},
    {"lanner-task-memory", lanner_task_memory_opened},
    {"lanner-descriptor", lanner_descriptor_taken},
    {"lanner-limited", lanner_limited},
    {"lanner-asked", lanner_asked},
    {"lanner-signalled", lanner_signalled},
    {"lanner-signal-forged", lanner_signal_forged},
    {"lanner-attached", lanner_attached},
    {"lanner-openat2", lanner_openat2},
    {"lanner-thread-memory", lanner_thread_memory},
    {"lanner-thread-attached", lanner_thread_attached},
    {"lanner-folder-signalled", lanner_folder_signalled},
    {"lanner-first-to-go", lanner_first_to_go},
    {NULL, NULL},
};
