// SPDX-License-Identifier: GPL-2.0-only
/*
 *   netio ADDRESS PORT
 *
 * Connects, sends standard input to its end, then copies what comes back to
 * standard output: nc, in pieces so large that packets follow upon each other.
 *
 *   netio ADDRESS PORT receive|send BYTES
 *   netio ADDRESS PORT echo COUNT
 *
 * Connects, has peer.py send so much, takes it that it sends, or sends it so many
 * messages of 64 bytes, one when the last has come back. Prints the nanoseconds that
 * this took. Before and after it has the host look at its counters.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE	(256UL << 10)
#define MESSAGE	64UL

/* What the peer tells when it has all: an MD5. */
#define ANSWER	33UL

/* The control channel: see init. */
#define CONTROL	7

static char piece[PIECE];

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

static void send_all(int fd, unsigned long length)
{
	while (length) {
		ssize_t n = write(fd, piece, length < PIECE ? length : PIECE);

		if (n < 0)
			err(1, "write");
		length -= n;
	}
}

static void receive_all(int fd, unsigned long length)
{
	while (length) {
		ssize_t n = read(fd, piece, length < PIECE ? length : PIECE);

		if (n < 0)
			err(1, "read");
		if (!n)
			errx(1, "the peer has hung up");
		length -= n;
	}
}

static void echo(int fd, unsigned long count)
{
	const int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
		err(1, "TCP_NODELAY");
	while (count--) {
		send_all(fd, MESSAGE);
		receive_all(fd, MESSAGE);
	}
}

static unsigned long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

/* As steps/bench.sh does for fio. */
static void pause_for_host(void)
{
	char uptime[64], answer;
	ssize_t n;
	int fd;

	fd = open("/proc/uptime", O_RDONLY);
	n = fd < 0 ? -1 : read(fd, uptime, sizeof(uptime));
	if (n < 0)
		err(1, "/proc/uptime");
	close(fd);
	if (dprintf(CONTROL, "mark %.*s", (int)n, uptime) < 0)
		err(1, "control channel");
	do {
		if (read(CONTROL, &answer, 1) != 1)
			err(1, "control channel");
	} while (answer != '\n');
}

static void measure(int fd, const char *what, unsigned long amount)
{
	const bool receives = !strcmp(what, "receive"), sends = !strcmp(what, "send");
	unsigned long start, end;

	/* The memory is there before it is used, so that no fault is measured. */
	memset(piece, 0x5a, sizeof(piece));
	pause_for_host();
	start = now();
	if (dprintf(fd, "%s %lu\n", receives ? "get" : sends ? "put" : "echo", amount) < 0)
		err(1, "write");
	if (receives) {
		receive_all(fd, amount + ANSWER);
	} else if (sends) {
		send_all(fd, amount);
		receive_all(fd, ANSWER);
	} else {
		echo(fd, amount);
	}
	end = now();
	pause_for_host();
	printf("%lu\n", end - start);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3 && argc != 5)
		errx(2, "usage: netio ADDRESS PORT [receive|send|echo AMOUNT]");
	fd = peer(argv[1], argv[2]);
	if (argc == 5) {
		measure(fd, argv[3], strtoul(argv[4], NULL, 0));
		return 0;
	}
	copy(STDIN_FILENO, fd);
	copy(fd, STDOUT_FILENO);
	return 0;
}
