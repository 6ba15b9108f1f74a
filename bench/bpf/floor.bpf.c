/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The floor: a program that does nothing at the return of every system call. */
#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sys_exit")
int on_sys_exit(void *ctx) { return 0; }
