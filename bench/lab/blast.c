// SPDX-License-Identifier: MIT
/*
 * blast - UDP load and round trips for the lab benchmark
 *
 * Theory of operation
 *
 *     blast send ADDRESS PORT SECONDS SIZE|imix FLOWS RATE
 *         sends RATE frames per second; 0: as many as possible
 *     blast count PORT SILENCE_MS
 *         counts arriving frames and compares their payload
 *     blast ping ADDRESS PORT SECONDS SIZE
 *         sends one request at a time
 *     blast pong PORT
 *         answers each request, until killed
 *     blast learn ADDRESS PORT VNI COUNT
 *         sends VXLAN datagrams, each with another inner source MAC
 *
 * Sizes are lengths of the Ethernet frame without FCS: 14 + 20 + 8 bytes of headers (IPv4) and the
 * payload. "imix" is 64, 570 and 1400 bytes in the proportion 7:4:1, in random order.
 *
 * Flows differ in destination address: ADDRESS and the FLOWS - 1 addresses that follow it, for
 * which the receiver needs a local route. One socket sends and one receives, whatever the number of
 * flows, so that sockets do not influence the measurement. With one flow the socket is connected,
 * which saves the sender a route lookup per frame.
 *
 * The sender waits only for its socket. With a rate it sends bursts of a few frames and sleeps in
 * between. ADDRESS may be a broadcast address. The receiver compares every byte, measures from the
 * first arrival to the last, and ends when nothing has arrived for SILENCE_MS. Each command prints
 * one line of JSON.
 *
 * Compiled by the benchmark when it runs: cc -O2 -o blast blast.c
 */
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define TOOL "blast"
#include "tool.h"

#define HEADERS_LEN 42		/* Ethernet, IPv4, UDP */
#define PAYLOAD_MIN 8		/* length or sequence number, and something to compare */
#define PAYLOAD_MAX 1458	/* of a 1500 byte frame */

#define BATCH 64		/* messages per system call; 32 and 128 are as fast */
#define BATCHES 64		/* prepared in advance: the order repeats after 4096 frames */
#define BURST 16		/* frames between two sleeps of a paced sender */
#define LATEST_NS 10000000	/* a paced sender that is later than this skips the overdue bursts */

#define RECEIVE_BUFFER (16 << 20)
#define FIRST_WAIT_MS 10000	/* limit of `count` until the first frame */
#define ROUND_TRIP_LOST_MS 200
#define ROUND_TRIPS_MAX (4 << 20)

static const int imix[] = { 64, 64, 64, 64, 64, 64, 64, 570, 570, 570, 570, 1400 };

static uint8_t pattern[PAYLOAD_MAX];

/**
 * payload_len() - Payload of a frame
 * @frame_len:	Bytes of the Ethernet frame without FCS
 */
static int payload_len(long frame_len)
{
	return (int)frame_len - HEADERS_LEN;
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/** fill_pattern() - Fill the pattern of every payload; its first two bytes become the length */
static void fill_pattern(void)
{
	uint32_t state = 2463534242u;

	for (int i = 0; i < PAYLOAD_MAX; i++)
		pattern[i] = (uint8_t)(next_random(&state) >> 16);
}

static int open_socket(void)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		die("socket");
	return s;
}

static int open_bound(long port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int size = RECEIVE_BUFFER;
	int s = open_socket();

	/* Only root may exceed the system's limit; a smaller buffer loses more frames. */
	if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(s, (struct sockaddr *)&any, sizeof(any)))
		die("bind");
	printf("listening\n");
	fflush(stdout);
	return s;
}

static void set_timeout(int s, int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	if (setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		die("SO_RCVTIMEO");
}

/**
 * struct load - Frames in the order in which they will be sent
 * @messages:	Argument of sendmmsg()
 * @iov:	One per message: length, then pattern
 * @payloads:	One for each payload length in use, allocated on first use
 * @flows:	Destinations
 */
struct load {
	struct mmsghdr messages[BATCHES * BATCH];
	struct iovec iov[BATCHES * BATCH];
	uint8_t *payloads[PAYLOAD_MAX + 1];
	struct sockaddr_in *flows;
};

static uint8_t *payload_of(struct load *load, int len)
{
	uint8_t **payload = &load->payloads[len];

	if (*payload == NULL) {
		*payload = malloc((size_t)len);
		if (*payload == NULL)
			die("malloc");
		memcpy(*payload, pattern, (size_t)len);
		(*payload)[0] = (uint8_t)(len >> 8);
		(*payload)[1] = (uint8_t)len;
	}
	return *payload;
}

/**
 * prepare() - Choose size and flow of every frame
 * @first:	Destination of flow 0
 * @size:	Frame length, or 0 for IMIX
 * @flows:	Number of flows
 */
static struct load *prepare(struct sockaddr_in first, long size, long flows)
{
	struct load *load = calloc(1, sizeof(*load));
	uint32_t state = 88172645u;

	if (load == NULL || (load->flows = calloc((size_t)flows, sizeof(*load->flows))) == NULL)
		die("calloc");
	for (long flow = 0; flow < flows; flow++) {
		load->flows[flow] = first;
		load->flows[flow].sin_addr.s_addr = htonl(ntohl(first.sin_addr.s_addr) + (uint32_t)flow);
	}
	for (int i = 0; i < BATCHES * BATCH; i++) {
		long frame = size ? size : imix[next_random(&state) % (sizeof(imix) / sizeof(imix[0]))];
		int len = payload_len(frame);
		struct msghdr *hdr = &load->messages[i].msg_hdr;

		load->iov[i] = (struct iovec){ payload_of(load, len), (size_t)len };
		hdr->msg_iov = &load->iov[i];
		hdr->msg_iovlen = 1;
		if (flows > 1) {
			hdr->msg_name = &load->flows[next_random(&state) % (uint32_t)flows];
			hdr->msg_namelen = sizeof(struct sockaddr_in);
		}
	}
	return load;
}

/**
 * struct pace - Time at which the next burst is due
 * @interval_ns:	Time between two bursts; 0: no pause
 * @due_ns:		Time of the next burst, CLOCK_MONOTONIC
 */
struct pace {
	uint64_t interval_ns, due_ns;
};

static struct pace start_pace(long rate)
{
	/* Minimum timer slack: the default lets sleeps end up to 50 us late. */
	if (rate)
		prctl(PR_SET_TIMERSLACK, 1);
	return (struct pace){ rate ? BURST * UINT64_C(1000000000) / (uint64_t)rate : 0, now_ns() };
}

/** keep_pace() - Sleep until the next burst is due */
static void keep_pace(struct pace *pace)
{
	uint64_t now = now_ns();
	struct timespec due;

	if (pace->interval_ns == 0)
		return;
	pace->due_ns += pace->interval_ns;
	if (pace->due_ns + LATEST_NS < now)
		pace->due_ns = now;
	due.tv_sec = (time_t)(pace->due_ns / 1000000000u);
	due.tv_nsec = (long)(pace->due_ns % 1000000000u);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
		;
}

static void run_send(char **argv)
{
	struct sockaddr_in first = parse_address(argv[0], argv[1]);
	long seconds = number(argv[2], 1, 3600);
	long size = strcmp(argv[3], "imix") == 0 ? 0
		: number(argv[3], HEADERS_LEN + PAYLOAD_MIN, HEADERS_LEN + PAYLOAD_MAX);
	long flows = number(argv[4], 1, 1024);
	long rate = number(argv[5], 0, 100000000);
	int burst = rate ? BURST : BATCH, yes = 1;
	struct load *load = prepare(first, size, flows);
	struct pace pace = start_pace(rate);
	uint64_t sent = 0, refused = 0, begin = now_ns(), end = begin + (uint64_t)seconds * 1000000000u;
	uint64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	int s = open_socket();

	if (setsockopt(s, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)))
		die("SO_BROADCAST");
	if (flows == 1 && connect(s, (struct sockaddr *)&first, sizeof(first)))
		die("connect");
	for (int next = 0; now_ns() < end; next = (next + burst) % (BATCHES * BATCH)) {
		struct mmsghdr *messages = &load->messages[next];

		keep_pace(&pace);
		for (int done = 0; done < burst; ) {
			int n = sendmmsg(s, messages + done, (unsigned)(burst - done), 0);

			if (n > 0) {
				sent += (uint64_t)n;
				done += n;
			} else if (errno == ENOBUFS || errno == EAGAIN || errno == ECONNREFUSED) {
				refused++;
				done++;
			} else if (errno != EINTR) {
				die("sendmmsg");
			}
		}
	}
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("{\"sent\":%llu,\"refused\":%llu,\"seconds\":%.6f,\"cpuNs\":%llu}\n", (unsigned long long)sent,
	       (unsigned long long)refused, (double)(now_ns() - begin) / 1e9, (unsigned long long)cpu);
}

/** is_intact() - Compare length field and bytes of a payload with those that were sent */
static int is_intact(const uint8_t *payload, unsigned len)
{
	return len >= PAYLOAD_MIN && len <= PAYLOAD_MAX && payload[0] << 8 == (int)(len & 0xff00) &&
	       payload[1] == (len & 0xff) && memcmp(payload + 2, pattern + 2, len - 2) == 0;
}

static void run_count(char **argv)
{
	static uint8_t buffers[BATCH][PAYLOAD_MAX + 1];
	static struct mmsghdr messages[BATCH];
	static struct iovec iov[BATCH];
	uint64_t frames = 0, bytes = 0, corrupt = 0, first = 0, last = 0;
	int silence_ms = (int)number(argv[1], 1, 3600000);
	int s = open_bound(number(argv[0], 1, 65535));

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ buffers[i], sizeof(buffers[i]) };
		messages[i].msg_hdr.msg_iov = &iov[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	set_timeout(s, FIRST_WAIT_MS);
	for (;;) {
		int n = recvmmsg(s, messages, BATCH, MSG_WAITFORONE, NULL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			die("recvmmsg");
		if (n < 0)
			break;
		last = now_ns();
		if (first == 0) {
			first = last;
			set_timeout(s, silence_ms);
		}
		for (int i = 0; i < n; i++) {
			frames++;
			bytes += messages[i].msg_len + HEADERS_LEN;
			corrupt += !is_intact(buffers[i], messages[i].msg_len);
		}
	}
	printf("{\"frames\":%llu,\"bytes\":%llu,\"corrupt\":%llu,\"seconds\":%.6f}\n", (unsigned long long)frames,
	       (unsigned long long)bytes, (unsigned long long)corrupt, (double)(last - first) / 1e9);
}

static void run_pong(char **argv)
{
	uint8_t buffer[PAYLOAD_MAX];
	int s = open_bound(number(argv[0], 1, 65535));

	for (;;) {
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(s, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &from_len);

		if (n >= 0)
			sendto(s, buffer, (size_t)n, 0, (struct sockaddr *)&from, from_len);
	}
}

/**
 * round_trip() - Send one request and wait for its answer
 * @s:		Connected socket
 * @sequence:	Distinguishes the answer from late answers to earlier requests
 * @len:	Bytes of payload
 *
 * Return: nanoseconds, or 0 when no answer arrived in time
 */
static uint64_t round_trip(int s, uint32_t sequence, int len)
{
	uint8_t request[PAYLOAD_MAX], answer[PAYLOAD_MAX];
	uint64_t begin = now_ns();

	memcpy(request, pattern, (size_t)len);
	memcpy(request, &sequence, sizeof(sequence));
	if (send(s, request, (size_t)len, 0) != len)
		return 0;
	for (;;) {
		ssize_t n = recv(s, answer, sizeof(answer), 0);

		if (n < 0)
			return 0;
		if (n == len && memcmp(answer, request, (size_t)len) == 0)
			return now_ns() - begin;
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(const uint32_t *sorted, uint32_t count, double part)
{
	return count ? sorted[(uint32_t)((count - 1) * part)] / 1e3 : 0;
}

static void run_ping(char **argv)
{
	struct sockaddr_in to = parse_address(argv[0], argv[1]);
	uint64_t end = now_ns() + (uint64_t)number(argv[2], 1, 3600) * 1000000000u;
	int len = payload_len(number(argv[3], HEADERS_LEN + PAYLOAD_MIN, HEADERS_LEN + PAYLOAD_MAX));
	uint32_t *times = calloc(ROUND_TRIPS_MAX, sizeof(*times)), count = 0, lost = 0;
	int s = open_socket();

	if (times == NULL)
		die("calloc");
	if (connect(s, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	set_timeout(s, ROUND_TRIP_LOST_MS);
	while (now_ns() < end && count < ROUND_TRIPS_MAX) {
		uint64_t took = round_trip(s, count + lost, len);

		if (took)
			times[count++] = (uint32_t)took;
		else
			lost++;
	}
	qsort(times, count, sizeof(*times), by_size);
	printf("{\"count\":%u,\"lost\":%u,\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}\n", count, lost,
	       percentile_us(times, count, 0.5), percentile_us(times, count, 0.99),
	       percentile_us(times, count, 0.999), percentile_us(times, count, 1));
}

#define VXLAN_LEN 8
#define LEARN_PAUSE_US 1000	/* between batches, so that no receive buffer overflows */

/**
 * run_learn() - Fill the FDB of a VTEP
 *
 * Each datagram holds a frame of 64 bytes with a new source MAC, a unicast destination MAC that no
 * station has, and an EtherType for local experiments (IEEE 802, 0x88b5).
 */
static void run_learn(char **argv)
{
	struct sockaddr_in to = parse_address(argv[0], argv[1]);
	uint32_t vni = (uint32_t)number(argv[2], 0, 0xffffff);
	uint32_t count = (uint32_t)number(argv[3], 1, 1 << 24);
	uint8_t datagram[VXLAN_LEN + 64] = {
		0x08, 0, 0, 0, (uint8_t)(vni >> 16), (uint8_t)(vni >> 8), (uint8_t)vni, 0,
		0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x01, 0, 0, 0, 0, 0x88, 0xb5,
	};
	uint8_t *low = datagram + VXLAN_LEN + 8;
	int s = open_socket();

	for (uint32_t i = 0; i < count; i++) {
		uint32_t mac = htonl(i);

		memcpy(low, &mac, sizeof(mac));
		if (sendto(s, datagram, sizeof(datagram), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			die("sendto");
		if (i % BATCH == BATCH - 1)
			usleep(LEARN_PAUSE_US);
	}
	printf("{\"sent\":%u}\n", count);
}

const struct command commands[] = {
	{ "send", 6, "ADDRESS PORT SECONDS SIZE|imix FLOWS RATE", run_send },
	{ "count", 2, "PORT SILENCE_MS", run_count },
	{ "ping", 4, "ADDRESS PORT SECONDS SIZE", run_ping },
	{ "pong", 1, "PORT", run_pong },
	{ "learn", 4, "ADDRESS PORT VNI COUNT", run_learn },
	{ NULL, 0, NULL, NULL },
};

int main(int argc, char **argv)
{
	fill_pattern();
	return run_command(argc, argv);
}
