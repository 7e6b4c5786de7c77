/* Copyright (c) 2026, ipsec.manual contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * /etc/ld.so.preload loads this into every program. It appends the program's initial arguments and environment
 * to RECORD. A process that lives for a millisecond would escape a program that polls /proc.
 *
 * One record is "PID ARGV_BYTES ENVIRON_BYTES\n", then both as the kernel passes them, each string with its
 * final NUL. Each record is a single write.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t size_of(char **strings)
{
	size_t size = 0;

	for (; *strings; strings++)
		size += strlen(*strings) + 1;
	return size;
}

static char *copy_of(char *to, char **strings)
{
	for (; *strings; strings++)
		to = stpcpy(to, *strings) + 1;
	return to;
}

__attribute__((constructor)) static void record(int argc, char **argv, char **envp)
{
	size_t arguments = size_of(argv), environment = size_of(envp);
	char *buffer = malloc(64 + arguments + environment);
	int file;

	(void)argc;
	if (!buffer)
		return;
	file = open(RECORD, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (file >= 0) {
		char *end = buffer + sprintf(buffer, "%ld %zu %zu\n", (long)getpid(), arguments, environment);

		end = copy_of(copy_of(end, argv), envp);
		if (write(file, buffer, end - buffer) < 0)
			_exit(99);
		close(file);
	}
	free(buffer);
}
