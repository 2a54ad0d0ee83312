/*
 * net/controlnoise.h - what tests need beyond <warren/net.h>: handshakes that can be repeated
 */
#ifndef WARREN_NET_CONTROLNOISE_H
#define WARREN_NET_CONTROLNOISE_H

#include <warren/net.h>

/* warren_noise_client_new() and _server_new(), @ephemeral given; @prologue NULL: the protocol's. */
struct warren_noise *controlnoise_client_new(uint16_t version,
					     const struct warren_noise_key *self,
					     const uint8_t server[32],
					     const struct warren_private *ephemeral,
					     const char *prologue,
					     uint8_t init[WARREN_NOISE_INIT],
					     struct warren_err *err);
struct warren_noise *controlnoise_server_new(const struct warren_noise_key *self,
					     const uint8_t *init, size_t len,
					     const struct warren_private *ephemeral,
					     const char *prologue,
					     uint8_t response[WARREN_NOISE_RESPONSE],
					     struct warren_err *err);
/* Sets both record counters, to come near their end. */
void controlnoise_set_counters(struct warren_noise *noise, uint64_t send, uint64_t receive);

#endif
