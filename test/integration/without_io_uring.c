/* SPDX-License-Identifier: Apache-2.0 */
/*
 * without_io_uring.c - runs a command under a seccomp filter in which the system calls of io_uring fail
 * with EPERM, as in containers:
 *
 *     without_io_uring COMMAND [ARGUMENT...]
 */

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_register, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {.len = sizeof(rules) / sizeof(rules[0]), .filter = rules};
    if (argc < 2) {
        (void)fprintf(stderr, "usage: without_io_uring COMMAND [ARGUMENT...]\n");
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0 ||
        prctl(PR_SET_SECCOMP, (unsigned long)SECCOMP_MODE_FILTER, &filter) != 0) {
        (void)fprintf(stderr, "without_io_uring: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    (void)execv(argv[1], argv + 1);
    (void)fprintf(stderr, "without_io_uring: %s: %s\n", argv[1], strerror(errno));
    return EXIT_FAILURE;
}
