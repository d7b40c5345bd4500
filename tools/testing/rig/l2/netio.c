// SPDX-License-Identifier: GPL-2.0-only
/*
 *   netio ADDRESS PORT
 *
 * Connects, sends standard input to its end, then copies what comes back to
 * standard output: nc, in pieces so large that packets follow upon each other.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE	(256UL << 10)

static int peer(const char *address, const char *port)
{
	struct sockaddr_in name = {
		.sin_family = AF_INET,
		.sin_port = htons(atoi(port)),
	};
	int fd;

	if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
		errx(2, "not an address: %s", address);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof(name)))
		err(1, "%s:%s", address, port);
	return fd;
}

static void copy(int from, int to)
{
	static char piece[PIECE];
	ssize_t n;

	while ((n = read(from, piece, sizeof(piece))) > 0) {
		for (ssize_t out = 0, done; out < n; out += done) {
			done = write(to, piece + out, n - out);
			if (done < 0)
				err(1, "write");
		}
	}
	if (n < 0)
		err(1, "read");
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3)
		errx(2, "usage: netio ADDRESS PORT");
	fd = peer(argv[1], argv[2]);
	copy(STDIN_FILENO, fd);
	copy(fd, STDOUT_FILENO);
	return 0;
}
