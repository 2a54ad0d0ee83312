/*
 * monitor/nft_words.h - a rule in words
 */
#ifndef WARREN_MONITOR_NFT_WORDS_H
#define WARREN_MONITOR_NFT_WORDS_H

struct nftnl_rule;
struct str;

/* Appends @rule in one line of printable text. */
void nft_rule_words(struct nftnl_rule *rule, struct str *out);

#endif
