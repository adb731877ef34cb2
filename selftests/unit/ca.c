// SPDX-License-Identifier: GPL-2.0-or-later
/* The embedded CA: its directory, its refusals, and its certificates judged by openssl. */
#include "pki.h"

#include "control/ca.h"
#include "proxy/crl.h"
#include "proxy/trust.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TD "cluster.local"

static char top[] = "/tmp/ca.XXXXXX";
static char err[AMB_CA_ERROR_LEN];
static int folders;

static void remove_top(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	if (system(cmd))
		fprintf(stderr, "%s stays\n", top);
}

/* A path that nothing is at yet; valid until the third next call. */
static const char *fresh(void)
{
	static char path[4][PATH_MAX];
	char *p = path[folders % 4];

	snprintf(p, PATH_MAX, "%s/%d", top, folders++);
	return p;
}

static const char *in(const char *dir, const char *name)
{
	static char path[4][PATH_MAX];
	static int at;
	char *p = path[at++ % 4];

	snprintf(p, PATH_MAX, "%s/%s", dir, name);
	return p;
}

static int __attribute__((format(printf, 1, 2))) run(const char *fmt, ...)
{
	char cmd[4 * PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	fflush(stdout);
	return system(cmd);
}

static void put(const char *path, const char *text, unsigned int mode)
{
	CHECK_EQ(amb_util_write_file(path, text, strlen(text), mode), 0);
}

/* Inlined, gcc 12 takes its result for a dangling pointer. */
__attribute__((noinline)) static char *get(const char *path)
{
	char *text;

	CHECK(amb_util_read_file(path, 1 << 20, &text) >= 0);
	return text;
}

static bool err_has(const char *part)
{
	if (strstr(err, part))
		return true;
	printf("# error is: %s\n", err);
	return false;
}

/* A CA with node n1. */
static const char *make_ca(const struct amb_ca_options *o)
{
	const char *dir = fresh();

	CHECK_EQ(amb_ca_init(dir, TD, o, err), 0);
	CHECK_EQ(amb_ca_node(dir, "n1", o, err), 0);
	return dir;
}

static void issue(const char *dir, const char *node, const char *sa, struct amb_ca_issued *out)
{
	struct amb_identity *id = amb_identity_intern(TD, "ns", sa);
	struct amb_ca *ca = amb_ca_load(dir, node, err);

	if (!ca)
		printf("# %s\n", err);
	CHECK(ca);
	CHECK_EQ(amb_ca_issue(ca, id, 3600, out, err), 0);
	amb_ca_destroy(ca);
	amb_identity_put(id);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	CHECK_EQ(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* openssl's opinion of a chain; @what must be in its words when it is bad. */
static bool openssl_accepts(const char *dir, const char *chain_pem, const char *what)
{
	put(in(dir, "chain.pem"), chain_pem, 0600);
	return run("openssl verify -x509_strict -purpose sslserver -CAfile %s/root.pem "
		   "-untrusted %s/chain.pem %s/chain.pem >%s/said 2>&1; "
		   "grep -q '%s' %s/said",
		   dir, dir, dir, dir, what ? what : ": OK$", dir) == 0;
}

TEST(certificates_satisfy_openssl)
{
	static const struct amb_ca_options kinds[] = { { .p384 = false }, { .p384 = true } };
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(kinds); i++) {
		const char *dir = make_ca(&kinds[i]);
		struct amb_ca_issued out;

		issue(dir, "n1", "web", &out);
		CHECK(openssl_accepts(dir, out.chain_pem, NULL));
		CHECK_EQ(run("openssl x509 -in %s/chain.pem -noout -ext "
			     "subjectAltName,extendedKeyUsage,keyUsage,basicConstraints >%s/text",
			     dir, dir),
			 0);
		CHECK_EQ(run("grep -q 'Alternative Name: critical' %s/text && "
			     "grep -q '^ *URI:spiffe://" TD "/ns/ns/sa/web$' %s/text && "
			     "grep -q 'CA:FALSE' %s/text && grep -q 'Digital Signature$' %s/text",
			     dir, dir, dir, dir),
			 0);
		CHECK_EQ(run("openssl x509 -in %s/chain.pem -noout -subject | grep -q '^subject=$'",
			     dir),
			 0);
		CHECK_EQ(run("openssl x509 -in %s/root.pem -noout -text | grep -q '%s'", dir,
			     kinds[i].p384 ? "secp384r1" : "prime256v1"),
			 0);
		CHECK_EQ(mode_of(in(dir, "root.key")), 0600);
		CHECK_EQ(mode_of(in(dir, "nodes/n1.key")), 0600);
		CHECK_EQ(mode_of(in(dir, "root.pem")), 0644);
		amb_ca_issued_clear(&out);
	}
}

/* What a stolen node key could do: openssl and we refuse another trust domain, and a sub-CA. */
TEST(name_constraint_binds_the_intermediate)
{
	const char *dir = make_ca(NULL);
	char *text = get(in(dir, "nodes/n1.key")), *roots = get(in(dir, "root.pem"));
	struct amb_x509_key *node = amb_x509_key_read(text);
	struct amb_x509_key *key = amb_x509_key_create(AMB_X509_P256);
	struct amb_trust *trust = amb_trust_create(roots, err, sizeof(err));
	static const struct {
		const char *uri, *openssl, *ours;
	} rows[] = {
		{ "spiffe://" TD "/ns/a/sa/b", NULL, NULL },
		{ "spiffe://other.local/ns/a/sa/b", "permitted subtree violation",
		  "name constraints" },
		{ "spiffe://sub." TD "/ns/a/sa/b", "permitted subtree violation",
		  "name constraints" },
		{ "spiffe://" TD ".evil/ns/a/sa/b", "permitted subtree violation",
		  "name constraints" },
	};
	struct amb_pem pem;
	size_t i;

	CHECK(node && key && trust);
	CHECK_EQ(amb_pem_read(text, &pem), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		uint8_t der[AMB_X509_CERT_MAX];
		int64_t now = time(NULL);
		struct amb_leaf leaf = { 0 };
		enum amb_reason reason;
		char *leaf_pem, *chain;
		int n, ret;

		CASE(rows[i].uri);
		n = amb_x509_sign(&(struct amb_x509_template){ .kind = AMB_X509_LEAF,
							       .uri = rows[i].uri,
							       .not_before = now - 10,
							       .not_after = now + 100 },
				  key, node, &pem.cert[0], der);
		CHECK(n > 0);
		leaf_pem = amb_pem_write(der, n);
		CHECK(asprintf(&chain, "%s%s", leaf_pem, strstr(text, "-----BEGIN CERT")) > 0);
		CHECK(openssl_accepts(dir, chain, rows[i].openssl));
		ret = amb_trust_verify(trust, (struct amb_der[]){ { der, n }, pem.cert[0] }, 2,
				       &leaf, &reason, err, sizeof(err));
		CHECK_EQ(ret, rows[i].ours ? -EKEYREJECTED : 0);
		if (rows[i].ours)
			CHECK(err_has(rows[i].ours));
		amb_leaf_clear(&leaf);
		free(leaf_pem);
		free(chain);
	}
	amb_pem_clear(&pem);
	amb_trust_put(trust);
	amb_x509_key_destroy(node);
	amb_x509_key_destroy(key);
	free(text);
	free(roots);
}

static const struct {
	const char *what, *td, *node;
	int init, made;
} names[] = {
	{ "plain", "cluster.local", "node-1.example_x", 0, 0 },
	{ "upper case domain", "Cluster.local", "n", -EINVAL, 0 },
	{ "empty domain", "", "n", -EINVAL, 0 },
	{ "domain with a path", "a/b", "n", -EINVAL, 0 },
	{ "domain of a dot", ".", "n", -EINVAL, 0 },
	{ "domain with a port", "a:1", "n", -EINVAL, 0 },
	{ "empty node", "td", "", 0, -EINVAL },
	{ "node with a path", "td", "../x", 0, -EINVAL },
	{ "hidden node", "td", ".x", 0, -EINVAL },
	{ "node with a space", "td", "a b", 0, -EINVAL },
};

TEST(names)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(names); i++) {
		const char *dir = fresh();

		CASE(names[i].what);
		CHECK_EQ(amb_ca_init(dir, names[i].td, NULL, err), names[i].init);
		if (!names[i].init)
			CHECK_EQ(amb_ca_node(dir, names[i].node, NULL, err), names[i].made);
	}
}

TEST(init_makes_the_folders_above_it)
{
	char dir[PATH_MAX];
	struct stat st;

	snprintf(dir, sizeof(dir), "%s/etc/ambient/ca", fresh());
	CHECK_EQ(amb_ca_init(dir, TD, NULL, err), 0);
	CHECK_EQ(amb_ca_node(dir, "n1", NULL, err), 0);
	/* but not the one above a mistyped CA */
	snprintf(dir, sizeof(dir), "%s/etc/ambient/ca", fresh());
	CHECK(amb_ca_node(dir, "n1", NULL, err) < 0);
	CHECK(stat(dir, &st));
	/* a file in the way is told by its name */
	snprintf(dir, sizeof(dir), "%s/file", top);
	CHECK_EQ(run("touch %s", dir), 0);
	strcat(dir, "/ca");
	CHECK_EQ(amb_ca_init(dir, TD, NULL, err), -ENOTDIR);
	CHECK(err_has("file/ca: cannot be made: Not a directory"));
}

TEST(a_second_init_is_refused)
{
	const char *dir = make_ca(NULL);
	char *before = get(in(dir, "root.pem")), *after;

	CHECK_EQ(amb_ca_init(dir, TD, NULL, err), -EEXIST);
	CHECK(err_has("root.key: there is a CA already"));
	CHECK_EQ(unlink(in(dir, "root.key")), 0);
	CHECK_EQ(amb_ca_init(dir, TD, NULL, err), -EEXIST);
	after = get(in(dir, "root.pem"));
	CHECK_STR(after, before);
	/* With the root's key elsewhere, the nodes go on and no new one can be made. */
	CHECK_EQ(amb_ca_node(dir, "n2", NULL, err), -ENOENT);
	CHECK(err_has("root.key: No such file"));
	amb_ca_destroy(amb_ca_load(dir, "n1", err));
	free(before);
	free(after);
}

static const struct {
	mode_t mode;
	bool ok;
} modes[] = {
	{ 0600, true },	 { 0400, true },  { 0640, false },
	{ 0604, false }, { 0644, false }, { 0620, false },
};

TEST(keys_that_others_can_read)
{
	const char *dir = make_ca(NULL);
	struct amb_ca *ca;
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(modes); i++) {
		CHECK_EQ(chmod(in(dir, "nodes/n1.key"), modes[i].mode), 0);
		errno = 0;
		ca = amb_ca_load(dir, "n1", err);
		CHECK_EQ(!!ca, modes[i].ok);
		if (!ca) {
			CHECK_EQ(errno, EPERM);
			CHECK(err_has("nodes/n1.key: others can read this key"));
			CHECK(err_has("chmod 600"));
		}
		amb_ca_destroy(ca);
	}
	CHECK_EQ(chmod(in(dir, "root.key"), 0644), 0);
	CHECK_EQ(amb_ca_node(dir, "n2", NULL, err), -EPERM);
	CHECK(err_has("root.key: others can read this key"));
}

static void load_fails(const char *dir, const char *node, int code, const char *text)
{
	struct amb_ca *ca;

	errno = 0;
	ca = amb_ca_load(dir, node, err);
	CHECK(!ca);
	CHECK(err_has(text));
	CHECK_EQ(errno, code);
}

TEST(files_that_do_not_fit)
{
	const char *dir = make_ca(NULL), *other = make_ca(NULL);
	char *n1 = get(in(dir, "nodes/n1.key")), *root = get(in(dir, "root.key"));
	char *strange = get(in(other, "nodes/n1.key")), *mixed;

	load_fails(dir, "n9", ENOENT, "nodes/n9.key: No such file");
	load_fails("/nonexistent", "n1", ENOENT, "/nonexistent/nodes/n1.key: No such file");
	put(in(dir, "nodes/x.key"), "nonsense", 0600);
	load_fails(dir, "x", EINVAL, "nodes/x.key: no usable private key");
	put(in(dir, "nodes/x.key"), "", 0600);
	load_fails(dir, "x", EINVAL, "nodes/x.key: no usable private key");
	put(in(dir, "nodes/x.key"), strstr(n1, "-----BEGIN CERT"), 0600);
	load_fails(dir, "x", EINVAL, "nodes/x.key: no usable private key");
	mixed = strdup(n1);
	*strstr(mixed, "-----BEGIN CERT") = 0;
	put(in(dir, "nodes/x.key"), mixed, 0600);
	load_fails(dir, "x", EINVAL, "nodes/x.key: no certificate beside the key");
	free(mixed);
	CHECK(asprintf(&mixed, "%s%s", n1, "") > 0);
	strcpy(strstr(mixed, "-----BEGIN CERT"), "");
	mixed = realloc(mixed, strlen(n1) + strlen(strange) + 1);
	strcat(mixed, strstr(strange, "-----BEGIN CERT"));
	put(in(dir, "nodes/x.key"), mixed, 0600);
	load_fails(dir, "x", EKEYREJECTED, "nodes/x.key: key and certificate do not belong");
	free(mixed);
	put(in(dir, "nodes/x.key"), strange, 0600);
	load_fails(dir, "x", EKEYREJECTED, "is not signed by a root of");
	put(in(dir, "nodes/x.key"), root, 0600);
	load_fails(dir, "x", EKEYREJECTED, "is not constrained to its trust domain");
	put(in(dir, "root.pem"), "nothing", 0644);
	load_fails(dir, "n1", EINVAL, "root.pem: no certificate in it");
	CHECK_EQ(unlink(in(dir, "root.pem")), 0);
	load_fails(dir, "n1", ENOENT, "root.pem: No such file");
	CHECK_EQ(mkdir(in(dir, "nodes/d.key"), 0700), 0);
	load_fails(dir, "d", EINVAL, "nodes/d.key: is not a key file");
	free(n1);
	free(root);
	free(strange);
}

/* An intermediate whose time is over, or has not come by this machine's clock. */
TEST(validity_of_the_intermediate)
{
	static const struct {
		int64_t from, to;
		const char *text;
	} rows[] = {
		{ -1000, -10, "certificate expired at 20" },
		{ 500, 1000, "certificate is not valid before 20" },
	};
	const char *dir = make_ca(NULL);
	char *root_text = get(in(dir, "root.key"));
	struct amb_x509_key *root = amb_x509_key_read(root_text);
	struct amb_pem pem;
	size_t i;

	CHECK_EQ(amb_pem_read(root_text, &pem), 0);
	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		struct amb_x509_key *key = amb_x509_key_create(AMB_X509_P256);
		char key_pem[AMB_X509_KEY_PEM_MAX], *cert, *text;
		uint8_t der[AMB_X509_CERT_MAX];
		int64_t now = time(NULL);
		int n;

		n = amb_x509_sign(&(struct amb_x509_template){ .kind = AMB_X509_NODE,
							       .organization = "test",
							       .common_name = "n",
							       .uri = "spiffe://" TD,
							       .permitted_host = TD,
							       .not_before = now + rows[i].from,
							       .not_after = now + rows[i].to },
				  key, root, &pem.cert[0], der);
		CHECK(n > 0);
		cert = amb_pem_write(der, n);
		CHECK_EQ(amb_x509_key_pem(key, key_pem), 0);
		CHECK(asprintf(&text, "%s%s", key_pem, cert) > 0);
		put(in(dir, "nodes/t.key"), text, 0600);
		load_fails(dir, "t", EKEYEXPIRED, rows[i].text);
		CHECK(err_has("the clock says 20"));
		amb_x509_key_destroy(key);
		free(cert);
		free(text);
	}
	amb_pem_clear(&pem);
	amb_x509_key_destroy(root);
	free(root_text);
}

static const struct {
	const char *what, *td;
	uint64_t ttl;
	int want;
	const char *text;
} issues[] = {
	{ "an hour", TD, 3600, 0, NULL },
	{ "five seconds", TD, 5, 0, NULL },
	{ "longer than the intermediate", TD, 3000ull * 86400, 0, NULL },
	{ "another trust domain", "other.local", 3600, -EPERM, "is not of trust domain " TD },
	{ "no time", TD, 0, -EINVAL, "cannot live 0 s" },
	{ "for ever", TD, UINT64_MAX, -EINVAL, "cannot live" },
};

TEST(issuing)
{
	const char *dir = make_ca(NULL);
	struct amb_ca *ca = amb_ca_load(dir, "n1", err);
	size_t i;

	CHECK(ca);
	CHECK_STR(amb_ca_trust_domain(ca), TD);
	for (i = 0; i < AMB_ARRAY_SIZE(issues); i++) {
		struct amb_identity *id = amb_identity_intern(issues[i].td, "ns", "sa");
		struct amb_ca_issued out = { .keylen = 77 };
		int64_t now = time(NULL), end;
		struct amb_pem pem;

		CASE(issues[i].what);
		CHECK_EQ(amb_ca_issue(ca, id, issues[i].ttl, &out, err), issues[i].want);
		amb_identity_put(id);
		if (issues[i].want) {
			CHECK(err_has(issues[i].text));
			CHECK_EQ(out.keylen, 77);
			continue;
		}
		end = AMB_MIN(now + (int64_t)issues[i].ttl, amb_ca_not_after(ca));
		CHECK(out.not_after >= end && out.not_after <= end + 2);
		CHECK(out.not_before >= now - 120 && out.not_before <= now - 118);
		CHECK_EQ(amb_pem_read(out.chain_pem, &pem), 0);
		CHECK_EQ(pem.n, 2);
		amb_pem_clear(&pem);
		amb_ca_issued_clear(&out);
		CHECK(!out.keylen && !out.chain_pem);
	}
	amb_ca_destroy(ca);
}

static int verify(const char *roots_path, const char *chain_pem)
{
	char *roots = get(roots_path);
	struct amb_trust *trust = amb_trust_create(roots, err, sizeof(err));
	struct amb_leaf leaf = { 0 };
	enum amb_reason reason;
	struct amb_pem pem;
	int ret;

	CHECK(trust);
	CHECK_EQ(amb_pem_read(chain_pem, &pem), 0);
	ret = amb_trust_verify(trust, pem.cert, pem.n, &leaf, &reason, err, sizeof(err));
	amb_leaf_clear(&leaf);
	amb_pem_clear(&pem);
	amb_trust_put(trust);
	free(roots);
	return ret;
}

/* Old and new leafs are good while the bundle holds both roots. */
TEST(rotation)
{
	const char *dir = make_ca(NULL);
	struct amb_ca_issued before, after;
	char *old_node, *roots;
	struct amb_pem pem;

	issue(dir, "n1", "a", &before);
	old_node = get(in(dir, "nodes/n1.key"));
	CHECK_EQ(amb_ca_rotate(dir, NULL, err), 0);
	roots = get(in(dir, "root.pem"));
	CHECK_EQ(amb_pem_read(roots, &pem), 0);
	CHECK_EQ(pem.n, 2);
	amb_pem_clear(&pem);
	free(roots);
	/* The node of the old root still signs. */
	issue(dir, "n1", "a", &after);
	CHECK_EQ(verify(in(dir, "root.pem"), after.chain_pem), 0);
	amb_ca_issued_clear(&after);
	CHECK_EQ(amb_ca_node(dir, "n1", NULL, err), 0);
	issue(dir, "n1", "a", &after);
	CHECK_EQ(verify(in(dir, "root.pem"), before.chain_pem), 0);
	CHECK_EQ(verify(in(dir, "root.pem"), after.chain_pem), 0);
	CHECK_EQ(amb_ca_retire(dir, err), 0);
	CHECK_EQ(verify(in(dir, "root.pem"), before.chain_pem), -EKEYREJECTED);
	CHECK_EQ(verify(in(dir, "root.pem"), after.chain_pem), 0);
	put(in(dir, "nodes/old.key"), old_node, 0600);
	load_fails(dir, "old", EKEYREJECTED, "is not signed by a root of");
	CHECK_EQ(amb_ca_retire(dir, err), 0);
	amb_ca_issued_clear(&before);
	amb_ca_issued_clear(&after);
	free(old_node);
}

/* Is the first certificate of a key file named by crl.pem? */
static bool is_revoked(const char *dir, const char *key)
{
	char *list = get(in(dir, "crl.pem")), *text = get(in(dir, key));
	char *root = get(in(dir, "root.pem")), why[128] = "";
	struct amb_pem pem = { 0 }, roots = { 0 };
	struct amb_crl_id id;
	size_t n;
	bool yes;

	CHECK_EQ(amb_crl_load(list, strlen(list), &n, why, sizeof(why)), 0);
	CHECK_EQ(amb_pem_read(text, &pem), 0);
	CHECK_EQ(amb_pem_read(root, &roots), 0);
	CHECK_EQ(amb_crl_ids(pem.cert, 1, &roots, &id), 0);
	CHECK(id.key && id.signer);
	yes = amb_crl_find(&id, 1) == 0;
	amb_crl_ids_put(&id, 1);
	amb_crl_unload();
	amb_pem_clear(&pem);
	amb_pem_clear(&roots);
	free(list);
	free(root);
	free(text);
	return yes;
}

/* openssl judges a list by the root that signed it. */
static bool openssl_takes(const char *dir)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd),
		 "openssl crl -in %s/crl.pem -CAfile %s/root.pem -noout 2>&1 | grep -q 'verify OK'",
		 dir, dir);
	return system(cmd) == 0;
}

TEST(revocation)
{
	static const struct amb_ca_options p384 = { .p384 = true };
	const char *dir = make_ca(NULL);
	char *old;
	int i;

	CHECK_EQ(amb_ca_node(dir, "n2", NULL, err), 0);
	CHECK_EQ(amb_ca_revoke(dir, "n1", err), 0);
	CHECK(openssl_takes(dir));
	CHECK(is_revoked(dir, "nodes/n1.key") && !is_revoked(dir, "nodes/n2.key"));
	old = get(in(dir, "nodes/n1.key"));
	CASE("another one of the node is another one");
	CHECK_EQ(amb_ca_node(dir, "n1", NULL, err), 0);
	CHECK(!is_revoked(dir, "nodes/n1.key"));
	CASE("one more, and the first stays so");
	CHECK_EQ(amb_ca_revoke(dir, "n2", err), 0);
	put(in(dir, "nodes/old.key"), old, 0600);
	CHECK(is_revoked(dir, "nodes/n2.key") && is_revoked(dir, "nodes/old.key"));
	CASE("nobody that there is not");
	CHECK_EQ(amb_ca_revoke(dir, "n3", err), -ENOENT);
	CASE("not by a root that did not sign it");
	CHECK_EQ(amb_ca_rotate(dir, &p384, err), 0);
	CHECK_EQ(amb_ca_revoke(dir, "n1", err), -EKEYREJECTED);
	CASE("by the other curve");
	CHECK_EQ(unlink(in(dir, "crl.pem")), 0);
	CHECK_EQ(amb_ca_node(dir, "n1", NULL, err), 0);
	CHECK_EQ(amb_ca_revoke(dir, "n1", err), 0);
	CHECK(openssl_takes(dir) && is_revoked(dir, "nodes/n1.key"));
	CASE("serial numbers of any first bit");
	for (i = 0; i < 8; i++) {
		CHECK_EQ(amb_ca_node(dir, "n1", NULL, err), 0);
		CHECK(!is_revoked(dir, "nodes/n1.key"));
		CHECK_EQ(amb_ca_revoke(dir, "n1", err), 0);
		CHECK(is_revoked(dir, "nodes/n1.key"));
	}
	free(old);
}

static int count_files(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* No byte can be written: every file is as it was, and nothing half-made is left. */
TEST(full_disk)
{
	const char *dir = make_ca(NULL);
	struct rlimit was, none = { 0, 0 };
	char *roots = get(in(dir, "root.pem")), *key = get(in(dir, "nodes/n1.key")), *now;
	int files = count_files(dir), nodes = count_files(in(dir, "nodes"));
	int rotate, node, made;
	char rotate_err[AMB_CA_ERROR_LEN], node_err[AMB_CA_ERROR_LEN];

	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &was), 0);
	none.rlim_max = was.rlim_max;
	fflush(stdout);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
	rotate = amb_ca_rotate(dir, NULL, rotate_err);
	node = amb_ca_node(dir, "n1", NULL, node_err);
	made = amb_ca_node(dir, "n2", NULL, err);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &was), 0);
	CHECK_EQ(rotate, -EFBIG);
	CHECK(strstr(rotate_err, "root.pem: cannot be written: File too large"));
	CHECK_EQ(node, -EFBIG);
	CHECK(strstr(node_err, "nodes/n1.key: cannot be written: File too large"));
	CHECK_EQ(made, -EFBIG);
	CHECK_EQ(count_files(dir), files);
	CHECK_EQ(count_files(in(dir, "nodes")), nodes);
	now = get(in(dir, "root.pem"));
	CHECK_STR(now, roots);
	free(now);
	now = get(in(dir, "nodes/n1.key"));
	CHECK_STR(now, key);
	free(now);
	free(roots);
	free(key);
}

int main(void)
{
	if (!mkdtemp(top))
		return 1;
	atexit(remove_top);
	return harness_run();
}
