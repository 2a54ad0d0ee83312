/*
 * base/crc32.h - the CRC-32 of ISO 3309 (Ethernet, STUN's FINGERPRINT)
 */
#ifndef WARREN_BASE_CRC32_H
#define WARREN_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32_of(const uint8_t *data, size_t len);

#endif
