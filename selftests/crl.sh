# SPDX-License-Identifier: GPL-2.0-or-later
# For tests with revocation lists, made with openssl. Sourced after lib.sh.
#
#   agent_start a --crl "$CRL"
#   crl "$CA/root.key" "$(hex_serial b server 0)" | install_crl

need openssl
CRL=$TMP/crl/list.pem
mkdir -p "$TMP/crl" "$TMP/openssl"

# crl KEY-AND-CERTIFICATE SERIAL...: prints a list of that issuer.
crl() {
	local issuer=$1 s
	shift
	: >"$TMP/openssl/index.txt"
	for s in "$@"; do
		printf 'R\t491231235959Z\t240101000000Z\t%s\tunknown\t/CN=%s\n' "$s" "$s"
	done >>"$TMP/openssl/index.txt"
	cat >"$TMP/openssl/ca.cnf" <<-INI
		[ca]
		default_ca = d
		[d]
		database = $TMP/openssl/index.txt
		default_md = sha256
		default_crl_days = 30
		crl_extensions = x
		[x]
		authorityKeyIdentifier = keyid:always
	INI
	openssl ca -gencrl -config "$TMP/openssl/ca.cnf" -keyfile "$issuer" -cert "$issuer" \
		2>>"$TMP/openssl/log" || bail "no list: $(tail -n 3 "$TMP/openssl/log")"
}
# As a volume of Kubernetes changes: the new file is renamed over the old.
install_crl() { cat >"$TMP/crl/.new" && mv "$TMP/crl/.new" "$CRL"; }

# hex_serial NODE ACCOUNT N: of the Nth certificate of the chain, as openssl writes it.
hex_serial() {
	config_dump "$1" | jq -r --arg id "$SPIFFE/$2" ".certificates[] | select(.identity == \$id) |
		.certChain[$3].pem" | base64 -d | openssl x509 -noout -serial | cut -d= -f2
}
