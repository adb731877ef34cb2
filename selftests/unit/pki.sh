#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes certificates with openssl, such as our own CA never would or another CA does:
#   pki.sh DIR
# Each NAME.pem is a chain (leaf first), NAME.der its key (PKCS#8); ROOT.crt a bundle.
set -euo pipefail
cd "$1"
td=spiffe://cluster.local

# key NAME ALGORITHM
key() {
	case $2 in
	p256 | p384) openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:${2/p/P-}" -out "$1.key" ;;
	rsa) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1.key" ;;
	rsa1024) openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out "$1.key" ;;
	esac 2>/dev/null
	openssl pkcs8 -topk8 -nocrypt -in "$1.key" -outform DER -out "$1.der"
}

# root NAME ALGORITHM
root() {
	key "$1" "$2"
	openssl req -x509 -new -key "$1.key" -subj "/O=test/CN=$1" -days 100 -out "$1.crt" -sha256 \
		-addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign
}

# cert NAME ISSUER SUBJECT EXTENSION...; MD is the digest
cert() {
	local name=$1 issuer=$2 subject=$3
	shift 3
	openssl req -new -key "$name.key" -subj "$subject" -out "$name.csr"
	openssl x509 -req -in "$name.csr" -CA "$issuer.crt" -CAkey "$issuer.key" \
		"-${MD:-sha256}" -days 50 -set_serial "0x$(openssl rand -hex 8)" -out "$name.crt" \
		-extfile <(printf '%s\n' "$@") 2>/dev/null
}

# ca NAME ISSUER ALGORITHM EXTENSION...
ca() {
	local name=$1 issuer=$2
	key "$name" "$3"
	shift 3
	cert "$name" "$issuer" "/O=test/CN=$name" keyUsage=critical,keyCertSign "$@"
}

# leaf NAME ISSUER ALGORITHM "INTERMEDIATES" EXTENSION...
leaf() {
	local name=$1 issuer=$2 chain=$4
	key "$name" "$3"
	shift 4
	cert "$name" "$issuer" "${SUBJECT:-/}" "$@"
	cat "$name.crt" $chain >"$name.pem"
}

usage="keyUsage=critical,digitalSignature"
both="extendedKeyUsage=serverAuth,clientAuth"
a="subjectAltName=critical,URI:$td/ns/n/sa/a"
b="subjectAltName=critical,URI:$td/ns/n/sa/b"

root root p256
root root384 p384
root rootrsa rsa
root other p256
cat other.crt root.crt >bundle.crt

ca mid root p256 basicConstraints=critical,CA:true
ca mid0 root p256 basicConstraints=critical,CA:true,pathlen:0
ca below0 mid0 p256 basicConstraints=critical,CA:true
ca mid2 mid p256 basicConstraints=critical,CA:true
ca mid3 mid2 p384 basicConstraints=critical,CA:true
ca notca root p256 basicConstraints=critical,CA:false
ca named root p256 basicConstraints=critical,CA:true \
	"nameConstraints=critical,permitted;URI:cluster.local"
ca named-other root p256 basicConstraints=critical,CA:true \
	"nameConstraints=critical,permitted;URI:other.local"
ca midrsa rootrsa rsa basicConstraints=critical,CA:true
ca mid384 root384 p384 basicConstraints=critical,CA:true

leaf a root p256 "" "$usage" "$both" "$a"
leaf b root p256 "" "$usage" "$both" "$b"
leaf b384 mid384 p384 mid384.crt "$usage" "$both" "$b"
leaf brsa midrsa rsa midrsa.crt "$usage" "$both" "$b"
leaf brsa1024 root rsa1024 "" "$usage" "$both" "$b"
leaf bmid mid p256 mid.crt "$usage" "$both" "$b"
leaf bdeep mid3 p256 "mid3.crt mid2.crt mid.crt" "$usage" "$both" "$b"
cat bdeep.crt mid.crt mid3.crt root.crt mid2.crt >bmixed.pem
cp bdeep.der bmixed.der
cat bdeep.crt mid3.crt mid.crt >bgap.pem
cp bdeep.der bgap.der
# Eleven certificates: more than anybody needs.
cat bdeep.crt mid3.crt mid2.crt mid.crt mid.crt mid.crt mid.crt mid.crt mid.crt mid.crt \
	mid.crt >btoolong.pem
cp bdeep.der btoolong.der
leaf bnomid mid p256 "" "$usage" "$both" "$b"
leaf bpathlen below0 p256 "below0.crt mid0.crt" "$usage" "$both" "$b"
leaf bnotca notca p256 notca.crt "$usage" "$both" "$b"
leaf bnamed named p256 named.crt "$usage" "$both" "$b"
leaf bnamed-other named-other p256 named-other.crt "$usage" "$both" "$b"
leaf bclientonly root p256 "" "$usage" extendedKeyUsage=clientAuth "$b"
leaf bserveronly root p256 "" "$usage" extendedKeyUsage=serverAuth "$b"
leaf bnoeku root p256 "" "$usage" "$b"
leaf bnosign root p256 "" keyUsage=critical,keyEncipherment "$both" "$b"
leaf bca root p256 "" basicConstraints=critical,CA:true keyUsage=critical,digitalSignature,keyCertSign \
	"$both" "$b"
SUBJECT=/CN=b leaf bdns root p256 "" "$usage" "$both" subjectAltName=DNS:b.cluster.local
SUBJECT=/CN=b leaf bnone root p256 "" "$usage" "$both"
leaf bothertd root p256 "" "$usage" "$both" subjectAltName=critical,URI:spiffe://other.local/ns/n/sa/b
leaf bshape root p256 "" "$usage" "$both" subjectAltName=critical,URI:$td/ns/n/b
leaf bsecond root p256 "" "$usage" "$both" \
	"subjectAltName=critical,DNS:b,URI:https://b/,URI:spiffe://other.local/ns/n/sa/b,URI:$td/ns/n/sa/b"
leaf bcritical root p256 "" "$usage" "$both" "$b" 1.2.3.4=critical,DER:0500
# Another key under the same name as the root: must not pass for it.
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out fake.key 2>/dev/null
openssl req -x509 -new -key fake.key -subj "/O=test/CN=root" -days 100 -out fake.crt \
	-addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign
leaf bfake fake p256 fake.crt "$usage" "$both" "$b"
leaf bself root p256 "" "$usage" "$both" "$b"
openssl req -x509 -new -key bself.key -subj "/CN=b" -days 100 -out bself.pem -addext "$b"
leaf bothroot other p256 "" "$usage" "$both" "$b"

# Revocation lists. crl NAME ISSUER "EXTENSION..." CERT...; MD is the digest, SIGOPT openssl's.
crl() {
	local name=$1 issuer=$2 extensions=$3 c
	shift 3
	: >index.txt
	for c in "$@"; do
		printf 'R\t491231235959Z\t240101000000Z\t%s\tunknown\t/CN=%s\n' \
			"$(openssl x509 -in "$c.crt" -noout -serial | cut -d= -f2)" "$c" >>index.txt
	done
	printf '%s\n' "[ca]" default_ca=d "[d]" database=index.txt "default_md=${MD:-sha256}" \
		default_crl_days=30 ${extensions:+crl_extensions=x} "[x]" ${extensions:+$extensions} \
		"[indirect]" indirectCRL=TRUE "[scope]" onlyuser=TRUE >ca.cnf
	openssl ca -gencrl -config ca.cnf -keyfile "$issuer.key" -cert "$issuer.crt" \
		-out "$name.crl" ${SIGOPT:+-sigopt "$SIGOPT"} 2>>crl.log
}
keyid="authorityKeyIdentifier=keyid:always"
leaf bnokey root p256 "" "$usage" "$both" "$b" authorityKeyIdentifier=none
crl none root ""
crl one root "" b
crl some root "$keyid" a bnokey mid
crl mids mid "" bmid mid2
crl namesake fake "$keyid" b bnokey bfake
# Forged: by the other key of the root's name, which is silent about it, or says that it is the root's.
openssl req -x509 -new -key fake.key -subj "/O=test/CN=root" -days 100 -out forged.crt \
	-addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign -addext \
	"subjectKeyIdentifier=$(openssl x509 -in root.crt -noout -ext subjectKeyIdentifier | tail -n 1)"
cp fake.key forged.key
crl forged fake "" a b bnokey mid
crl forgedid forged "$keyid" a b bnokey mid
MD=sha384 crl p384 mid384 "" b384
MD=sha512 crl sha512 root "" b
crl rsa midrsa "" brsa
MD=sha384 crl rsa384 midrsa "" brsa
MD=sha512 crl rsa512 midrsa "" brsa
openssl req -x509 -new -key rootrsa.key -subj "/O=test/CN=midrsa" -days 100 -out forgedrsa.crt
cp rootrsa.key forgedrsa.key
crl forgedrsa forgedrsa "" brsa
# The issuer's key is of another kind than the signature.
openssl req -x509 -new -key root.key -subj "/O=test/CN=midrsa" -days 100 -out forgedec.crt
cp root.key forgedec.key
crl forgedec forgedec "" brsa
SIGOPT=rsa_padding_mode:pss crl pss midrsa "" brsa
# It brings another key of its issuer's name, and is signed by an algorithm that lists may not use.
MD=sha224 leaf b224 root p256 fake.crt "$usage" "$both" "$b"
crl b224 root "" b224
crl scoped root "issuingDistributionPoint=critical,@scope" b
crl indirect root "issuingDistributionPoint=critical,@indirect" b
crl delta root "2.5.29.27=critical,DER:020101" b
cat one.crl mids.crl a.crt >two.crl
cp a.crt cert.crl
openssl crl -in one.crl -outform DER -out der.crl
openssl crl -in rsa.crl -outform DER -out rsader.crl
