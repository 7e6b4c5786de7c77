/*
 * Copyright (c) 2026, ipsec.manual contributors
 * GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Measures the kernel itself: SAs are added from prepared netlink messages, dumped and decoded, and deleted.
 *
 *   baseline COUNT LOOKS    prints the seconds for adding COUNT SAs to an empty SADB, for each of LOOKS dumps,
 *                           and for deleting them one by one, until the kernel has freed them
 *
 * ESP, transport mode, AES-CBC-256 and HMAC-SHA-256-128, from 10.255.0.1 to COUNT addresses, the same SAs as
 * in core.py.
 */

#include <errno.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEY 32
#define BATCH 256
#define FEW 16
#define ALIGN(size) (((size) + 3U) & ~3U)

struct message {
	struct nlmsghdr header;
	struct xfrm_usersa_info info;
	struct nlattr crypt_attribute;
	struct xfrm_algo crypt;
	unsigned char crypt_key[KEY];
	struct nlattr auth_attribute;
	struct xfrm_algo_auth auth;
	unsigned char auth_key[KEY];
};

struct deletion {
	struct nlmsghdr header;
	struct xfrm_usersa_id id;
};

/* The fields of an SA that a program would keep. */
struct association {
	uint32_t spi, reqid;
	uint16_t family;
	uint8_t protocol, mode;
	xfrm_address_t source, destination;
	struct xfrm_lifetime_cfg limits;
	struct xfrm_lifetime_cur used;
	struct xfrm_replay_state replay;
	char cipher[64], integrity[64];
	unsigned int cipher_bits, integrity_bits, icv_bits;
	unsigned char cipher_key[64], integrity_key[64];
};

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void random_bytes(unsigned char *bytes, size_t size)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	while (size--) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		*bytes++ = (unsigned char)state;
	}
}

/* Only the last message of a batch requests an answer; the others are answered only if they are refused. */
static uint16_t answers(uint32_t number, uint32_t count)
{
	return number % BATCH == BATCH - 1 || number == count - 1 ? NLM_F_ACK : 0;
}

static void build(struct message *message, uint32_t number, uint32_t count)
{
	memset(message, 0, sizeof(*message));
	message->header.nlmsg_len = sizeof(*message);
	message->header.nlmsg_type = XFRM_MSG_NEWSA;
	message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | answers(number, count);
	message->header.nlmsg_seq = number;
	message->info.id.daddr.a4 = htonl(0x0a000000 + number);
	message->info.id.spi = htonl(0x1000 + number);
	message->info.id.proto = IPPROTO_ESP;
	message->info.saddr.a4 = htonl(0x0aff0001);
	message->info.lft.soft_byte_limit = message->info.lft.hard_byte_limit = XFRM_INF;
	message->info.lft.soft_packet_limit = message->info.lft.hard_packet_limit = XFRM_INF;
	message->info.family = AF_INET;
	message->info.mode = XFRM_MODE_TRANSPORT;
	message->info.reqid = 7;
	message->crypt_attribute.nla_type = XFRMA_ALG_CRYPT;
	message->crypt_attribute.nla_len = NLA_HDRLEN + sizeof(message->crypt) + KEY;
	strcpy(message->crypt.alg_name, "cbc(aes)");
	message->crypt.alg_key_len = KEY * 8;
	random_bytes(message->crypt_key, KEY);
	message->auth_attribute.nla_type = XFRMA_ALG_AUTH_TRUNC;
	message->auth_attribute.nla_len = NLA_HDRLEN + sizeof(message->auth) + KEY;
	strcpy(message->auth.alg_name, "hmac(sha256)");
	message->auth.alg_key_len = KEY * 8;
	message->auth.alg_trunc_len = 128;
	random_bytes(message->auth_key, KEY);
}

static void build_deletion(struct deletion *deletion, const struct message *message, uint32_t number, uint32_t count)
{
	memset(deletion, 0, sizeof(*deletion));
	deletion->header.nlmsg_len = sizeof(*deletion);
	deletion->header.nlmsg_type = XFRM_MSG_DELSA;
	deletion->header.nlmsg_flags = NLM_F_REQUEST | answers(number, count);
	deletion->header.nlmsg_seq = number;
	deletion->id.daddr = message->info.id.daddr;
	deletion->id.spi = message->info.id.spi;
	deletion->id.family = message->info.family;
	deletion->id.proto = message->info.id.proto;
}

static void carry_out(int link, const void *messages, size_t size, uint32_t count)
{
	char answer[4096];
	uint32_t first;

	for (first = 0; first < count; first += BATCH) {
		const uint32_t batch = count - first < BATCH ? count - first : BATCH;
		const struct nlmsghdr *header = (const struct nlmsghdr *)answer;

		if (send(link, (const char *)messages + first * size, batch * size, 0) < 0)
			die("send");
		if (recv(link, answer, sizeof(answer), 0) < 0)
			die("recv");
		if (header->nlmsg_type != NLMSG_ERROR || ((const struct nlmsgerr *)NLMSG_DATA(header))->error != 0) {
			fprintf(stderr, "a message was refused: error %d\n", ((const struct nlmsgerr *)NLMSG_DATA(header))->error);
			exit(1);
		}
	}
}

/* Wait until the kernel has freed the deleted SAs, each of which holds a reference to its algorithms. */
static void settle(void)
{
	char line[256];
	int busy = 1, references;

	while (busy) {
		FILE *crypto = fopen("/proc/crypto", "r");

		if (crypto == NULL)
			die("/proc/crypto");
		busy = 0;
		while (fgets(line, sizeof(line), crypto) != NULL)
			busy |= sscanf(line, "refcnt : %d", &references) == 1 && references > FEW;
		fclose(crypto);
		if (busy)
			usleep(1000);
	}
}

static void decode(const struct nlmsghdr *header, struct association *sa)
{
	const struct xfrm_usersa_info *info = NLMSG_DATA(header);
	const char *at = (const char *)(info + 1), *end = (const char *)header + header->nlmsg_len;

	sa->spi = ntohl(info->id.spi);
	sa->protocol = info->id.proto;
	sa->destination = info->id.daddr;
	sa->source = info->saddr;
	sa->family = info->family;
	sa->mode = info->mode;
	sa->reqid = info->reqid;
	sa->limits = info->lft;
	sa->used = info->curlft;
	while (at + sizeof(struct nlattr) <= end) {
		const struct nlattr *attribute = (const struct nlattr *)at;
		const void *value = at + NLA_HDRLEN;

		if (attribute->nla_type == XFRMA_ALG_CRYPT) {
			const struct xfrm_algo *crypt = value;

			memcpy(sa->cipher, crypt->alg_name, sizeof(sa->cipher));
			sa->cipher_bits = crypt->alg_key_len;
			if (crypt->alg_key_len / 8 <= sizeof(sa->cipher_key))
				memcpy(sa->cipher_key, crypt->alg_key, crypt->alg_key_len / 8);
		} else if (attribute->nla_type == XFRMA_ALG_AUTH_TRUNC) {
			const struct xfrm_algo_auth *auth = value;

			memcpy(sa->integrity, auth->alg_name, sizeof(sa->integrity));
			sa->integrity_bits = auth->alg_key_len;
			sa->icv_bits = auth->alg_trunc_len;
			if (auth->alg_key_len / 8 <= sizeof(sa->integrity_key))
				memcpy(sa->integrity_key, auth->alg_key, auth->alg_key_len / 8);
		} else if (attribute->nla_type == XFRMA_REPLAY_VAL) {
			memcpy(&sa->replay, value, sizeof(sa->replay));
		}
		at += ALIGN(attribute->nla_len);
	}
}

static uint32_t dump(int link, struct association *sas, uint32_t most)
{
	struct nlmsghdr request = {sizeof(request), XFRM_MSG_GETSA, NLM_F_REQUEST | NLM_F_DUMP, 1, 0};
	static char buffer[65536] __attribute__((aligned(8)));
	uint32_t found = 0;

	if (send(link, &request, sizeof(request), 0) < 0)
		die("send");
	for (;;) {
		ssize_t size = recv(link, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *header = (const struct nlmsghdr *)buffer;

		if (size < 0)
			die("recv");
		for (; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
			if (header->nlmsg_type == NLMSG_DONE)
				return found;
			if (header->nlmsg_type == XFRM_MSG_NEWSA && found < most)
				decode(header, sas + found++);
		}
	}
}

int main(int argc, char **argv)
{
	const uint32_t count = argc == 3 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	unsigned long looks = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct message *messages = calloc(count, sizeof(*messages));
	struct deletion *deletions = calloc(count, sizeof(*deletions));
	struct association *sas = calloc(count, sizeof(*sas));
	const int link = socket(AF_NETLINK, SOCK_RAW, NETLINK_XFRM), space = 4 << 20;
	double began;
	uint32_t number;

	if (count == 0 || messages == NULL || deletions == NULL || sas == NULL || link < 0)
		die("baseline COUNT LOOKS");
	setsockopt(link, SOL_SOCKET, SO_SNDBUFFORCE, &space, sizeof(space));
	setsockopt(link, SOL_SOCKET, SO_RCVBUFFORCE, &space, sizeof(space));
	for (number = 0; number < count; number++) {
		build(messages + number, number, count);
		build_deletion(deletions + number, messages + number, number, count);
	}
	began = now();
	carry_out(link, messages, sizeof(*messages), count);
	printf("%.6f", now() - began);
	/* The first access to a page is slow. */
	memset(sas, 1, count * sizeof(*sas));
	while (looks--) {
		began = now();
		number = dump(link, sas, count);
		printf(" %.6f", now() - began);
		if (number != count) {
			fprintf(stderr, "%u SAs of %u came back\n", number, count);
			return 1;
		}
	}
	began = now();
	carry_out(link, deletions, sizeof(*deletions), count);
	settle();
	printf(" %.6f\n", now() - began);
	return 0;
}
