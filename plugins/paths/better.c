/*
 * Which of two addresses is the better one: latency in per cent, with a bonus for what stays near.
 */
#include "peer.h"

#include "base/addr.h"
#include "endpoints.h"

static bool is_loopback(const struct warren_addr *addr)
{
	static const struct warren_addr six = { .family = 6, .bytes = { [15] = 1 } };

	return addr->family == 4 ? addr->bytes[0] == 127 : addr_equal(addr, &six);
}

static bool is_link_local(const struct warren_addr *addr)
{
	const uint8_t *b = addr->bytes;

	return addr->family == 4 ? b[0] == 169 && b[1] == 254
				 : b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

static uint64_t bonus(const struct warren_addr *addr)
{
	uint64_t points = is_loopback(addr) ? 50
			  : is_link_local(addr) ? 30
			  : paths_address_private(addr) ? 20 : 0;

	return points + (addr->family == 6 ? 10 : 0);
}

bool paths_better(const struct warren_addrport *a, uint64_t a_usec,
		  const struct warren_addrport *b, uint64_t b_usec)
{
	uint64_t a_points, b_points;

	if (a->addr.family == 0 || addrport_equal(a, b))
		return false;
	if (b->addr.family == 0)
		return true;
	a_points = bonus(&a->addr);
	b_points = bonus(&b->addr);
	if (a_usec < b_usec)
		a_points += 100 - a_usec * 100 / b_usec;
	else if (b_usec < a_usec)
		b_points += 100 - b_usec * 100 / a_usec;
	/* One per cent is noise. */
	if (a_points <= 1 && b_points == 0)
		return false;
	return a_points > b_points;
}
