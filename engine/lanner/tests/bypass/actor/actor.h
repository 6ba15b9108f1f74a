/* What the ways past a monitor have in common. Each way is a function that does what its row of ways.tbl says. It ends
 * the process with CANNOT if this kernel has no such way, with REFUSED if the driver does not let it happen, and with 1
 * if something else is wrong. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* FOLDER and PORT come from the command line. */
#define SECRET FOLDER "/secret"
#define INNOCENT FOLDER "/innocent"
#define KEPT FOLDER "/kept"
#define OUT FOLDER "/out"
#define CANARY FOLDER "/bin/canary"

enum { CANNOT = 77, REFUSED = 78 };

struct way {
	const char *name;
	void (*go)(void);
};

extern const struct way READING[], CHANGING[], RUNNING[], CONNECTING[], RINGS[], AROUND[], DEFAULTS[], HIDDEN[],
    MOUNTS[], TWINS[], OTHERS[], SCRIPTS[], ATTEMPTS[], VARIANTS[], THROUGH[], FURTHER[];
extern char **environ;

_Noreturn void end(int status, const char *what);

/* Both end the process if `result` is negative, and return it otherwise. */
long must(long result, const char *what);
long can(long result, const char *what);

/* Reads the beginning of the file, so that there is no doubt that it was opened. */
void look(int fd);
void make(const char *path, const char *text);
void copy(const char *from, int to);
void send_fd(int socket, int fd);
int receive_fd(int socket);
void wait_for(pid_t child);
void own_mounts(void);
/* An empty file system of the process's own. */
void own_file_system(const char *at);

/* Runs a program and waits for its end. */
void run_and_wait(char **words);
#define RUN(...) run_and_wait((char *[]){__VA_ARGS__, NULL})

/* A child that this process traces. It is stopped; when it goes on, it calls `go` and ends. */
pid_t start_traced(void (*go)(void));
/* Lets a traced child run until it enters a call or returns from one. */
void to_next_stop(pid_t child);

/* The nearest ancestor that is called lanner. */
pid_t lanner(void);

/* Memory that a 32-bit call can point to, and such a call. */
char *low_memory(void);
long int80(long number, long a, long b, long c, long d, long e);

/* A page that is filled with `text` when somebody reads it; `change` is then run, before the reader goes on. */
char *late_page(char *page, const char *text, void (*change)(void *), void *with);

/* `path` in two pages. The first character below the root changes to `x` after the kernel has read it. */
char *torn(const char *path);
