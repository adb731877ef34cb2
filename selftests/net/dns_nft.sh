#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The same as dns.sh, with capture by nftables.
CAPTURE=nft exec "$(dirname "$0")/dns.sh"
