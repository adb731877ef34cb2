// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The embedded CA's directory. Order of writes: the bundle before the key that makes it
 * matter, so that whatever stops us in between leaves at most a trusted root without a key,
 * never a signer that nobody trusts.
 */
#include "ca.h"

#include "base/cleanup.h"
#include "base/pem.h"
#include "base/util.h"
#include "base/wipe.h"
#include "x509.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/memory.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define ROOT_PEM "root.pem"
#define ROOT_KEY "root.key"
#define CRL_PEM "crl.pem"
#define KEY_FILE_MAX (64 * 1024)
#define DAY_S 86400
#define LIFE_MAX_DAYS 36500
#define CA_BACKDATE_S 3600 /* clocks of nodes that are set up may differ more */
#define TRUST_DOMAIN_MAX 255
#define NODE_MAX 200

/* A key file: the key and its certificate. */
struct signer {
	struct amb_x509_key *key;
	struct amb_pem pem;
	struct amb_pem_info info;
	char td[TRUST_DOMAIN_MAX + 1];
};

struct amb_ca {
	struct signer node;
	char *cert_pem, *roots_pem;
	char path[PATH_MAX];
};

static int AMB_PRINTF(3, 4) say(char *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, AMB_CA_ERROR_LEN, fmt, ap);
	va_end(ap);
	return code;
}

static void clear_signer(struct signer *s)
{
	amb_x509_key_destroy(s->key);
	amb_pem_clear(&s->pem);
	*s = (struct signer){ 0 };
}

static int path_of(char out[PATH_MAX], const char *dir, const char *name, char *err)
{
	if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return say(err, -ENAMETOOLONG, "%.100s...: path is too long", dir);
	return 0;
}

static int node_path(char out[PATH_MAX], const char *dir, const char *node, char *err)
{
	char name[NODE_MAX + 16];
	const char *p;

	for (p = node; isalnum((unsigned char)*p) || *p == '-' || *p == '_' || *p == '.'; p++)
		;
	if (*p || p == node || p - node > NODE_MAX || *node == '.')
		return say(err, -EINVAL,
			   "node name \"%.100s\" is not made of letters, digits, '-', '_' and '.'",
			   node);
	snprintf(name, sizeof(name), "nodes/%s.key", node);
	return path_of(out, dir, name, err);
}

/* SPIFFE: lower case letters, digits, dots, dashes, underscores. */
static int check_trust_domain(const char *td, char *err)
{
	const char *p;

	for (p = td; islower((unsigned char)*p) || isdigit((unsigned char)*p) || *p == '-' ||
		     *p == '_' || *p == '.';
	     p++)
		;
	if (*p || p == td || p - td > TRUST_DOMAIN_MAX || *td == '.')
		return say(err, -EINVAL,
			   "trust domain \"%.100s\" is not made of a-z, 0-9, '-', '_' and '.'", td);
	return 0;
}

/* Reading */

static int read_fd(int fd, char *buf, size_t room)
{
	size_t at = 0;

	while (at < room) {
		ssize_t n = read(fd, buf + at, room - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		at += n;
	}
	return at;
}

/* Key files are refused, not repaired, when others can read them: the key is out already. */
static int read_private(const char *path, char **out, char *err)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_(amb_wipe_text) char *buf = NULL;
	struct stat st;
	int n;

	if (fd < 0 || fstat(fd, &st)) {
		n = -errno;
		return say(err, n, "%s: %s", path, strerror(-n));
	}
	if (!S_ISREG(st.st_mode) || st.st_size > KEY_FILE_MAX)
		return say(err, -EINVAL, "%s: is not a key file", path);
	if (st.st_mode & 077)
		return say(err, -EPERM, "%s: others can read this key (mode %04o): chmod 600 it",
			   path, st.st_mode & 07777);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return say(err, -EPERM, "%s: belongs to user %u, who can read this key", path,
			   st.st_uid);
	buf = calloc(1, KEY_FILE_MAX + 2);
	if (!buf)
		return say(err, -ENOMEM, "out of memory");
	n = read_fd(fd, buf, KEY_FILE_MAX + 1);
	if (n < 0 || n > KEY_FILE_MAX)
		return say(err, n < 0 ? n : -EFBIG, "%s: %s", path,
			   n < 0 ? strerror(-n) : "is not a key file");
	*out = take_ptr(buf);
	return 0;
}

/* The trust domain that a CA certificate speaks for. */
static int read_domain(struct signer *s, const char *path, char *err)
{
	static const char scheme[] = "spiffe://";
	const char *td = s->info.uri + sizeof(scheme) - 1;

	if (strncmp(s->info.uri, scheme, sizeof(scheme) - 1) || strlen(td) > TRUST_DOMAIN_MAX ||
	    check_trust_domain(td, err))
		return say(err, -EINVAL,
			   "%s: the certificate names no trust domain (URI spiffe://DOMAIN)", path);
	strcpy(s->td, td);
	return 0;
}

static int read_signer(const char *path, struct signer *out, char *err)
{
	_cleanup_(amb_wipe_text) char *text = NULL;
	_cleanup_(clear_signer) struct signer s = { 0 };
	int ret = read_private(path, &text, err);

	if (ret)
		return ret;
	s.key = amb_x509_key_read(text);
	if (!s.key)
		return say(err, -errno, "%s: %s", path,
			   errno == ENOMEM ? "out of memory" : "no usable private key in it");
	ret = amb_pem_read(text, &s.pem) ?: amb_pem_info(&s.pem.cert[0], &s.info);
	if (ret)
		return say(err, ret == -ENOMEM ? ret : -EINVAL, "%s: %s", path,
			   ret == -ENODATA ? "no certificate beside the key" :
					     "the certificate cannot be read");
	ret = amb_x509_key_matches(s.key, &s.pem.cert[0]);
	if (ret <= 0)
		return say(err, -EKEYREJECTED, "%s: key and certificate do not belong together",
			   path);
	if (!s.info.is_ca)
		return say(err, -EKEYREJECTED, "%s: the certificate is not a CA's", path);
	ret = read_domain(&s, path, err);
	if (ret)
		return ret;
	*out = s;
	s = (struct signer){ 0 };
	return 0;
}

static int read_bundle(const char *path, char **text, struct amb_pem *pem, char *err)
{
	_cleanup_free_ char *buf = NULL;
	long n = amb_util_read_file(path, AMB_PEM_BYTES_MAX, &buf);
	int ret;

	if (n < 0)
		return say(err, n, "%s: %s", path, strerror(-n));
	ret = amb_pem_read(buf, pem);
	if (ret)
		return say(err, ret == -ENOMEM ? ret : -EINVAL, "%s: %s", path,
			   ret == -ENODATA ? "no certificate in it" :
			   ret == -EFBIG   ? "too many certificates" :
					     "a certificate cannot be read");
	*text = take_ptr(buf);
	return 0;
}

/* Outside its validity, or the clock is; says which. */
static int check_now(const struct signer *s, const char *path, char *err)
{
	char when[AMB_PEM_TIME_LEN], now_text[AMB_PEM_TIME_LEN];
	int64_t now = time(NULL);

	if (now < s->info.not_before)
		return say(err, -EKEYEXPIRED,
			   "%s: certificate is not valid before %s, the clock says %s", path,
			   amb_pem_time_text(s->info.not_before, when),
			   amb_pem_time_text(now, now_text));
	if (now > s->info.not_after)
		return say(err, -EKEYEXPIRED, "%s: certificate expired at %s, the clock says %s",
			   path, amb_pem_time_text(s->info.not_after, when),
			   amb_pem_time_text(now, now_text));
	return 0;
}

/* Writing */

static int write_file(const char *path, const char *text, unsigned int mode, char *err)
{
	int ret = amb_util_write_file(path, text, strlen(text), mode);

	if (ret)
		say(err, ret, "%s: cannot be written: %s", path, strerror(-ret));
	return ret;
}

static int make_dir(const char *path, unsigned int mode, char *err)
{
	if (mkdir(path, mode) && errno != EEXIST)
		return say(err, -errno, "%s: cannot be made: %s", path, strerror(errno));
	return 0;
}

/* The folders above @path, should they not be there: /etc/ambient on a new machine. */
static int make_parents(const char *path, char *err)
{
	char folder[PATH_MAX];
	char *slash;
	int ret;

	if (snprintf(folder, sizeof(folder), "%s", path) >= PATH_MAX)
		return say(err, -ENAMETOOLONG, "%.100s...: path is too long", path);
	for (slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		ret = make_dir(folder, 0755, err);
		if (ret)
			return ret;
		*slash = '/';
	}
	return 0;
}

/* Key and certificate in one text, so that one rename replaces both. */
static int write_signer(const char *path, const struct amb_x509_key *key, const char *cert_pem,
			char *err)
{
	char key_pem[AMB_X509_KEY_PEM_MAX];
	_cleanup_(amb_wipe_text) char *text = NULL;
	int ret = amb_x509_key_pem(key, key_pem);

	if (!ret && asprintf(&text, "%s%s", key_pem, cert_pem) < 0) {
		text = NULL;
		ret = -ENOMEM;
	}
	wc_ForceZero(key_pem, sizeof(key_pem));
	if (ret)
		return say(err, ret, "%s: %s", path, strerror(-ret));
	return write_file(path, text, 0600, err);
}

/* A certificate as DER and text. */
struct made {
	uint8_t der[AMB_X509_CERT_MAX];
	size_t len;
	char *pem;
};

static void clear_made(struct made *m)
{
	free(m->pem);
}

static int sign(const struct amb_x509_template *tmpl, const struct amb_x509_key *subject,
		const struct amb_x509_key *issuer_key, const struct amb_der *issuer,
		struct made *out, char *err)
{
	int n = amb_x509_sign(tmpl, subject, issuer_key, issuer, out->der);

	if (n < 0)
		return say(err, n, "certificate for %s cannot be made: %s", tmpl->uri,
			   strerror(-n));
	out->len = n;
	out->pem = amb_pem_write(out->der, n);
	if (!out->pem)
		return say(err, -ENOMEM, "out of memory");
	return 0;
}

/* Seconds, or -errno. */
static int64_t life_of(const struct amb_ca_options *o, unsigned int def, char *err)
{
	unsigned int days = o && o->days ? o->days : def;

	if (days > LIFE_MAX_DAYS)
		return say(err, -EINVAL, "%u days are more than a certificate can live", days);
	return (int64_t)days * DAY_S;
}

/* @others: PEM of the roots that stay trusted, or "". */
static int new_root(const char *dir, const char *td, const struct amb_ca_options *o,
		    const char *others, char *err)
{
	_cleanup_(clear_made) struct made cert = { 0 };
	_cleanup_free_ char *bundle = NULL;
	char pem_path[PATH_MAX], key_path[PATH_MAX], uri[TRUST_DOMAIN_MAX + 16], cn[64];
	char day[AMB_PEM_TIME_LEN];
	struct amb_x509_key *key;
	int64_t now = time(NULL), life = life_of(o, AMB_CA_ROOT_DAYS, err);
	int ret;

	if (life < 0)
		return life;
	ret = path_of(pem_path, dir, ROOT_PEM, err) ?: path_of(key_path, dir, ROOT_KEY, err);
	if (ret)
		return ret;
	/* Roots of one domain differ in name, so that chains are looked up without a doubt. */
	snprintf(cn, sizeof(cn), "root of %.20s", amb_pem_time_text(now, day));
	snprintf(uri, sizeof(uri), "spiffe://%s", td);
	key = amb_x509_key_create(o && o->p384 ? AMB_X509_P384 : AMB_X509_P256);
	if (!key)
		return say(err, -errno, "no key can be made: %s", strerror(errno));
	ret = sign(&(struct amb_x509_template){ .kind = AMB_X509_ROOT,
						.organization = "ambient",
						.common_name = cn,
						.uri = uri,
						.not_before = now - CA_BACKDATE_S,
						.not_after = now + life },
		   key, key, NULL, &cert, err);
	if (!ret && asprintf(&bundle, "%s%s", cert.pem, others) < 0) {
		bundle = NULL;
		ret = say(err, -ENOMEM, "out of memory");
	}
	ret = ret					      ?:
		      write_file(pem_path, bundle, 0644, err) ?:
		      write_signer(key_path, key, cert.pem, err);
	amb_x509_key_destroy(key);
	return ret;
}

int amb_ca_init(const char *dir, const char *trust_domain, const struct amb_ca_options *o,
		char *err)
{
	char path[PATH_MAX];
	int ret = amb_x509_init();

	if (ret)
		return say(err, ret, "no random numbers");
	ret = check_trust_domain(trust_domain, err)    ?:
		      make_parents(dir, err)	       ?:
		      make_dir(dir, 0755, err)	       ?:
		      path_of(path, dir, "nodes", err) ?:
		      make_dir(path, 0700, err)	       ?:
							 path_of(path, dir, ROOT_KEY, err);
	if (ret)
		return ret;
	if (!access(path, F_OK))
		return say(err, -EEXIST, "%s: there is a CA already", path);
	ret = path_of(path, dir, ROOT_PEM, err);
	if (ret)
		return ret;
	if (!access(path, F_OK))
		return say(err, -EEXIST, "%s: there is a CA already", path);
	return new_root(dir, trust_domain, o, "", err);
}

int amb_ca_rotate(const char *dir, const struct amb_ca_options *o, char *err)
{
	_cleanup_free_ char *old = NULL;
	_cleanup_(amb_pem_clear) struct amb_pem pem = { 0 };
	struct signer s = { 0 };
	char path[PATH_MAX];
	int ret = amb_x509_init()			    ?:
			  path_of(path, dir, ROOT_PEM, err) ?:
							      read_bundle(path, &old, &pem, err);

	if (ret)
		return ret;
	ret = amb_pem_info(&pem.cert[0], &s.info);
	if (ret)
		return say(err, -EINVAL, "%s: the first certificate cannot be read", path);
	ret = read_domain(&s, path, err);
	if (ret)
		return ret;
	if (pem.n >= AMB_PEM_CERTS_MAX)
		return say(err, -EFBIG, "%s: holds %zu roots: retire the old ones first", path,
			   pem.n);
	return new_root(dir, s.td, o, old, err);
}

int amb_ca_retire(const char *dir, char *err)
{
	_cleanup_free_ char *old = NULL, *first = NULL;
	_cleanup_(amb_pem_clear) struct amb_pem pem = { 0 };
	char path[PATH_MAX];
	int ret = path_of(path, dir, ROOT_PEM, err) ?: read_bundle(path, &old, &pem, err);

	if (ret)
		return ret;
	if (pem.n == 1)
		return 0;
	first = amb_pem_write(pem.cert[0].data, pem.cert[0].len);
	if (!first)
		return say(err, -ENOMEM, "out of memory");
	return write_file(path, first, 0644, err);
}

static int sign_node(const struct signer *root, const char *node, const struct amb_ca_options *o,
		     const struct amb_x509_key *key, struct made *out, char *err)
{
	char uri[TRUST_DOMAIN_MAX + 16], cn[64];
	int64_t now = time(NULL), life = life_of(o, AMB_CA_NODE_DAYS, err);

	if (life < 0)
		return life;
	snprintf(uri, sizeof(uri), "spiffe://%s", root->td);
	snprintf(cn, sizeof(cn), "node %.50s", node);
	return sign(
		&(struct amb_x509_template){
			.kind = AMB_X509_NODE,
			.organization = "ambient",
			.common_name = cn,
			.uri = uri,
			.permitted_host = root->td,
			.not_before = AMB_MAX(now - CA_BACKDATE_S, root->info.not_before),
			.not_after = AMB_MIN(now + life, root->info.not_after) },
		key, root->key, &root->pem.cert[0], out, err);
}

int amb_ca_node(const char *dir, const char *node, const struct amb_ca_options *o, char *err)
{
	_cleanup_(clear_signer) struct signer root = { 0 };
	_cleanup_(clear_made) struct made cert = { 0 };
	char path[PATH_MAX], root_path[PATH_MAX], nodes[PATH_MAX];
	struct amb_x509_key *key;
	int ret = amb_x509_init();

	if (ret)
		return say(err, ret, "no random numbers");
	ret = node_path(path, dir, node, err)		     ?:
		      path_of(root_path, dir, ROOT_KEY, err) ?:
		      path_of(nodes, dir, "nodes", err)	     ?:
		      read_signer(root_path, &root, err)     ?:
		      check_now(&root, root_path, err)	     ?:
							       make_dir(nodes, 0700, err);
	if (ret)
		return ret;
	key = amb_x509_key_create(o && o->p384 ? AMB_X509_P384 : AMB_X509_P256);
	if (!key)
		return say(err, -errno, "no key can be made: %s", strerror(errno));
	ret = sign_node(&root, node, o, key, &cert, err) ?: write_signer(path, key, cert.pem, err);
	amb_x509_key_destroy(key);
	return ret;
}

/* One list more in the file; who reads it reads all. */
static int append_list(const char *path, const char *list, char *err)
{
	_cleanup_free_ char *old = NULL, *text = NULL;
	long n = amb_util_read_file(path, AMB_CA_CRL_MAX, &old);

	if (n < 0 && n != -ENOENT)
		return say(err, n, "%s: %s", path, strerror(-n));
	if (asprintf(&text, "%s%s", old ? old : "", list) < 0) {
		text = NULL;
		return say(err, -ENOMEM, "out of memory");
	}
	return write_file(path, text, 0644, err);
}

int amb_ca_revoke(const char *dir, const char *node, char *err)
{
	_cleanup_(clear_signer) struct signer root = { 0 }, s = { 0 };
	char path[PATH_MAX], root_path[PATH_MAX], crl_path[PATH_MAX];
	_cleanup_free_ char *list = NULL;
	int ret = amb_x509_init();

	if (ret)
		return say(err, ret, "no random numbers");
	ret = node_path(path, dir, node, err)		     ?:
		      path_of(root_path, dir, ROOT_KEY, err) ?:
		      path_of(crl_path, dir, CRL_PEM, err)   ?:
		      read_signer(root_path, &root, err)     ?:
							       read_signer(path, &s, err);
	if (ret)
		return ret;
	ret = amb_x509_signed_by(&s.pem.cert[0], &root.pem);
	if (ret)
		return say(err, ret, "%s: the root in %s did not sign it", path, root_path);
	ret = amb_x509_crl(&s.pem.cert[0], root.key, &root.pem.cert[0], time(NULL),
			   root.info.not_after, &list);
	if (ret)
		return say(err, ret, "revocation list of %s: %s", path, strerror(-ret));
	return append_list(crl_path, list, err);
}

/* Loading */

static int load(struct amb_ca *ca, const char *dir, const char *node, char *err)
{
	_cleanup_(amb_pem_clear) struct amb_pem roots = { 0 };
	char roots_path[PATH_MAX], host[TRUST_DOMAIN_MAX + 1];
	int ret;

	ret = amb_x509_init();
	if (ret)
		return say(err, ret, "no random numbers");
	ret = node_path(ca->path, dir, node, err)			   ?:
		      path_of(roots_path, dir, ROOT_PEM, err)		   ?:
		      read_signer(ca->path, &ca->node, err)		   ?:
		      read_bundle(roots_path, &ca->roots_pem, &roots, err) ?:
		      check_now(&ca->node, ca->path, err);
	if (ret)
		return ret;
	ret = amb_x509_permitted_host(&ca->node.pem.cert[0], host, sizeof(host));
	if (ret == -ENOENT || (!ret && strcmp(host, ca->node.td)))
		return say(err, -EKEYREJECTED,
			   "%s: the certificate is not constrained to its trust domain", ca->path);
	if (ret)
		return say(err, ret, "%s: %s", ca->path, strerror(-ret));
	ret = amb_x509_signed_by(&ca->node.pem.cert[0], &roots);
	if (ret)
		return say(err, ret, "%s: the certificate is not signed by a root of %s", ca->path,
			   roots_path);
	ca->cert_pem = amb_pem_write(ca->node.pem.cert[0].data, ca->node.pem.cert[0].len);
	return ca->cert_pem ? 0 : say(err, -ENOMEM, "out of memory");
}

struct amb_ca *amb_ca_load(const char *dir, const char *node, char *err)
{
	struct amb_ca *ca = calloc(1, sizeof(*ca));
	int ret;

	if (!ca) {
		say(err, -ENOMEM, "out of memory");
		return NULL;
	}
	ret = load(ca, dir, node, err);
	if (ret) {
		amb_ca_destroy(ca);
		errno = -ret;
		return NULL;
	}
	return ca;
}

void amb_ca_destroy(struct amb_ca *ca)
{
	if (!ca)
		return;
	clear_signer(&ca->node);
	free(ca->cert_pem);
	free(ca->roots_pem);
	free(ca);
}

const char *amb_ca_roots(const struct amb_ca *ca)
{
	return ca->roots_pem;
}

const char *amb_ca_trust_domain(const struct amb_ca *ca)
{
	return ca->node.td;
}

int64_t amb_ca_not_after(const struct amb_ca *ca)
{
	return ca->node.info.not_after;
}

bool amb_ca_same_signer(const struct amb_ca *a, const struct amb_ca *b)
{
	return !strcmp(a->cert_pem, b->cert_pem);
}

/* Issuing */

static int issue(struct amb_ca *ca, const struct amb_identity *id, const struct amb_x509_key *key,
		 struct amb_ca_issued *out, char *err)
{
	_cleanup_(clear_made) struct made leaf = { 0 };
	int ret;

	ret = sign(&(struct amb_x509_template){ .kind = AMB_X509_LEAF,
						.uri = id->spiffe,
						.not_before = out->not_before,
						.not_after = out->not_after },
		   key, ca->node.key, &ca->node.pem.cert[0], &leaf, err);
	if (ret)
		return ret;
	ret = amb_x509_key_der(key, out->key);
	if (ret < 0)
		return say(err, ret, "key of %s cannot be written", id->spiffe);
	out->keylen = ret;
	if (asprintf(&out->chain_pem, "%s%s", leaf.pem, ca->cert_pem) < 0) {
		out->chain_pem = NULL;
		return say(err, -ENOMEM, "out of memory");
	}
	return 0;
}

int amb_ca_issue(struct amb_ca *ca, const struct amb_identity *id, uint64_t ttl_s,
		 struct amb_ca_issued *out, char *err)
{
	struct amb_ca_issued made = { 0 };
	struct amb_x509_key *key;
	int64_t now = time(NULL);
	int ret;

	if (strcmp(id->td, ca->node.td))
		return say(err, -EPERM, "%s is not of trust domain %s, for which %s signs",
			   id->spiffe, ca->node.td, ca->path);
	if (!ttl_s || ttl_s > (uint64_t)AMB_CA_ROOT_DAYS * DAY_S)
		return say(err, -EINVAL, "a certificate cannot live %llu s",
			   (unsigned long long)ttl_s);
	ret = check_now(&ca->node, ca->path, err);
	if (ret)
		return ret;
	made.not_before = now - AMB_CA_BACKDATE_S;
	made.not_after = AMB_MIN(now + (int64_t)ttl_s, ca->node.info.not_after);
	key = amb_x509_key_create(AMB_X509_P256);
	if (!key)
		return say(err, -errno, "no key can be made: %s", strerror(errno));
	ret = issue(ca, id, key, &made, err);
	amb_x509_key_destroy(key);
	if (ret) {
		amb_ca_issued_clear(&made);
		return ret;
	}
	*out = made;
	wc_ForceZero(made.key, sizeof(made.key));
	return 0;
}

void amb_ca_issued_clear(struct amb_ca_issued *issued)
{
	wc_ForceZero(issued->key, sizeof(issued->key));
	free(issued->chain_pem);
	*issued = (struct amb_ca_issued){ 0 };
}
