/*
 * Copyright (c) 2026, ipsec.manual contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ptrace(2) for User-Mode Linux on processors with a large register file, preloaded into linux.uml.
 *
 * User-Mode Linux before 6.12 keeps 2696 bytes of extended processor state (FP_SIZE in
 * arch/x86/um/os-Linux/registers.c), enough up to AVX-512 and protection keys. A read may be shorter, but a
 * write must cover the whole area (xstateregs_set() in arch/x86/kernel/fpu/regset.c returns EFAULT), so on a
 * processor with AMX, with 11008 bytes, it dies at its first process: "ptrace set fp regs failed, errno = 14".
 * This library completes a short write with zeros: state components outside the written part are in their
 * initial state, and the header's component bits say so.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NT_X86_XSTATE 0x202
#define XSTATE_BV 512      /* offset of the component bits in the area (Intel SDM volume 1, section 13.4.2) */
#define COMPONENTS 0x2ffUL /* x87 to AVX-512, and PKRU: the components within the first 2696 bytes */

static unsigned char area[65536] __attribute__((aligned(64)));
static size_t whole; /* bytes of this processor's area; 0: not read yet */

static long kernel_ptrace(int request, long pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, (long)request, pid, addr, data);
}

static long set_xstate(long pid, const struct iovec *part)
{
	struct iovec full = {area, sizeof(area)};
	uint64_t bits;

	if (whole == 0) {
		if (kernel_ptrace(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &full) < 0)
			return -1;
		whole = full.iov_len;
		memset(area, 0, sizeof(area));
	}
	if (part->iov_len >= whole || part->iov_len < XSTATE_BV + sizeof(bits))
		return kernel_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, (void *)part);
	memcpy(area, part->iov_base, part->iov_len);
	memcpy(&bits, area + XSTATE_BV, sizeof(bits));
	bits &= COMPONENTS;
	memcpy(area + XSTATE_BV, &bits, sizeof(bits));
	full.iov_len = whole;
	return kernel_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &full);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	long pid, word, result;
	void *addr, *data;

	va_start(rest, request);
	pid = va_arg(rest, int);
	addr = va_arg(rest, void *);
	data = va_arg(rest, void *);
	va_end(rest);

	if (request == PTRACE_SETREGSET && (uintptr_t)addr == NT_X86_XSTATE)
		return set_xstate(pid, data);
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return kernel_ptrace(request, pid, addr, data);
	/* The kernel stores the word it read, the library's function returns it: ptrace(2), "C library/kernel differences". */
	result = kernel_ptrace(request, pid, addr, &word);
	if (result < 0)
		return result;
	errno = 0;
	return word;
}
