// SPDX-License-Identifier: GPL-2.0-or-later
/* ProxyConfig: who wins, what becomes of it, what is refused. */
#include "harness.h"

#include "base/util.h"
#include "pconf.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/pconf.XXXXXX";

/* The mounted mesh configuration; NULL: there is none. */
static void mesh(const char *text)
{
	FILE *f;

	unlink("etc/istio/config/mesh");
	if (!text)
		return;
	f = fopen("etc/istio/config/mesh", "w");
	CHECK(f);
	fputs(text, f);
	fclose(f);
}

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v ? v : "(unset)";
}

static const struct {
	const char *what, *variable, *mesh;
	const char *set[4]; /* the environment before */
	uint16_t admin, stats;
	int concurrency;
	const char *address, *foo;
} rows[] = {
	{ "nothing", NULL, NULL, {}, 0, 0, -1, "(unset)", "(unset)" },
	{ "an empty variable", "", NULL, {}, 0, 0, -1, "(unset)", "(unset)" },
	{ "the variable",
	  "discoveryAddress: istiod:15012\nproxyAdminPort: 15100\nstatsPort: 15120\n"
	  "concurrency: 3\nproxyMetadata: {ISTIO_META_FOO: a}\n",
	  NULL,
	  {},
	  15100,
	  15120,
	  3,
	  "istiod:15012",
	  "a" },
	{ "the mesh",
	  NULL,
	  "rootNamespace: x\ndefaultConfig:\n  statsPort: 15130\n  concurrency: 0\n"
	  "  proxyMetadata:\n    FOO: b\n",
	  {},
	  0,
	  15130,
	  0,
	  "(unset)",
	  "b" },
	{ "the variable before the mesh",
	  "{\"statsPort\": 1, \"concurrency\": 0, \"proxyMetadata\": {\"FOO\": \"a\"}}",
	  "defaultConfig: {statsPort: 2, proxyAdminPort: 3, concurrency: 4, discoveryAddress: m, "
	  "proxyMetadata: {ISTIO_META_FOO: b}}",
	  {},
	  3,
	  1,
	  0,
	  "m",
	  "a" },
	{ "the environment before both",
	  "discoveryAddress: a\nproxyMetadata: {ISTIO_META_FOO: a}\n",
	  "defaultConfig: {discoveryAddress: m}",
	  { "XDS_ADDRESS=", "ISTIO_META_FOO=e" },
	  0,
	  0,
	  -1,
	  "",
	  "e" },
	{ "fields that are Envoy's",
	  "drainDuration: 45s\ntracing: {}\n",
	  "x: 1\n",
	  {},
	  0,
	  0,
	  -1,
	  "(unset)",
	  "(unset)" },
	{ "a mesh without defaults", NULL, "defaultConfig:\n", {}, 0, 0, -1, "(unset)", "(unset)" },
	{ "an empty file", NULL, "", {}, 0, 0, -1, "(unset)", "(unset)" },
};

TEST(who_wins)
{
	struct amb_pconf p;
	size_t i, j;

	for (i = 0; i < AMB_ARRAY_SIZE(rows); i++) {
		CASE(rows[i].what);
		clearenv();
		if (rows[i].variable)
			setenv("PROXY_CONFIG", rows[i].variable, 1);
		for (j = 0; rows[i].set[j]; j++)
			putenv((char *)rows[i].set[j]);
		mesh(rows[i].mesh);
		amb_pconf_read(&p);
		CHECK_EQ(p.admin_port, rows[i].admin);
		CHECK_EQ(p.stats_port, rows[i].stats);
		CHECK_EQ(p.concurrency, rows[i].concurrency);
		CHECK_STR(env("XDS_ADDRESS"), rows[i].address);
		CHECK_STR(env("ISTIO_META_FOO"), rows[i].foo);
	}
	clearenv();
}

static const struct {
	const char *variable, *mesh, *error;
} bad[] = {
	{ "statsPort: 70000\n", NULL, "ambientd: PROXY_CONFIG:1: statsPort: 70000 is not in " },
	{ "a: 1\nconcurrency: many\n", NULL,
	  "ambientd: PROXY_CONFIG:2: concurrency: has to be a number, not \"many\"" },
	{ "proxyMetadata: {A: true}\n", NULL,
	  "ambientd: PROXY_CONFIG:1: proxyMetadata.A: has to be text" },
	{ "proxyMetadata: {\"A=B\": x}\n", NULL, "ambientd: PROXY_CONFIG:1: proxyMetadata: " },
	{ "[1, 2]\n", NULL, "ambientd: PROXY_CONFIG: " },
	{ NULL, "defaultConfig: x\n",
	  "ambientd: ./etc/istio/config/mesh:1: defaultConfig: has to be a mapping" },
	{ NULL, "defaultConfig: {\n", "ambientd: ./etc/istio/config/mesh: " },
};

TEST(what_is_refused)
{
	struct amb_pconf p;
	char text[512];
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(bad); i++) {
		int out[2], status;
		ssize_t n;
		pid_t pid;

		CASE(bad[i].error);
		mesh(bad[i].mesh);
		CHECK_EQ(pipe(out), 0);
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			clearenv();
			if (bad[i].variable)
				setenv("PROXY_CONFIG", bad[i].variable, 1);
			dup2(out[1], STDERR_FILENO);
			amb_pconf_read(&p);
			_exit(0);
		}
		close(out[1]);
		n = read(out[0], text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = 0;
		close(out[0]);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		if (strncmp(text, bad[i].error, strlen(bad[i].error)))
			CHECK_STR(text, bad[i].error);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 64);
	}
}

int main(void)
{
	char cmd[64];
	int rc;

	if (!mkdtemp(dir) || chdir(dir) || mkdir("etc", 0700) || mkdir("etc/istio", 0700) ||
	    mkdir("etc/istio/config", 0700))
		return 1;
	rc = harness_run();
	snprintf(cmd, sizeof(cmd), "/bin/rm -rf %s", dir);
	return system(cmd) ? 1 : rc;
}
