// SPDX-License-Identifier: GPL-2.0-or-later
/* What a container runtime says when it calls a CNI plugin. */
#include "call.h"

#include "attachment.h"

#include "base/cleanup.h"
#include "base/util.h"
#include "ctl/ask.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

/* Chained plugins came with 0.3; what is asked of one is the same since. */
static const char *const versions[] = { "0.3.0", "0.3.1", "0.4.0", "1.0.0", AMB_CALL_VERSION };

bool amb_call_fail(struct amb_call *c, enum amb_call_code code, const char *fmt, ...)
{
	va_list ap;

	c->code = code;
	va_start(ap, fmt);
	vsnprintf(c->msg, sizeof(c->msg), fmt, ap);
	va_end(ap);
	return false;
}

json_t *amb_call_error(const struct amb_call *c)
{
	json_t *o = json_pack("{s:s, s:i, s:s}", "cniVersion",
			      c->version ? c->version : AMB_CALL_VERSION, "code", (int)c->code,
			      "msg", c->msg);

	/* A message that quotes what is no text. */
	return o ? o :
		   json_pack("{s:s, s:i, s:s}", "cniVersion", AMB_CALL_VERSION, "code",
			     (int)c->code, "msg", "what the runtime says is not UTF-8");
}

json_t *amb_call_versions(const struct amb_call *c)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(versions); i++)
		json_array_append_new(list, json_string(versions[i]));
	return json_pack("{s:s, s:o}", "cniVersion", c->version ? c->version : AMB_CALL_VERSION,
			 "supportedVersions", list);
}

static bool is_version(const char *version)
{
	size_t i;

	for (i = 0; i < AMB_ARRAY_SIZE(versions); i++) {
		if (!strcmp(versions[i], version))
			return true;
	}
	return false;
}

static bool read_conf(struct amb_call *c, FILE *in)
{
	_cleanup_free_ char *text = malloc(AMB_CALL_CONF_MAX + 1);
	json_error_t why;
	size_t n;

	if (!text)
		return amb_call_fail(c, AMB_CALL_IO, "out of memory");
	n = fread(text, 1, AMB_CALL_CONF_MAX + 1, in);
	if (ferror(in))
		return amb_call_fail(c, AMB_CALL_IO, "cannot read the configuration");
	if (n > AMB_CALL_CONF_MAX)
		return amb_call_fail(c, AMB_CALL_DECODE, "a configuration of more than %d bytes",
				     AMB_CALL_CONF_MAX);
	c->conf = json_loadb(text, n, 0, &why);
	if (!json_is_object(c->conf))
		return amb_call_fail(c, AMB_CALL_DECODE, "the configuration is no JSON object: %s",
				     c->conf ? "another type" : why.text);
	return true;
}

/* Text of an optional key; false when it is something else. */
static bool get_text(struct amb_call *c, const char *key, const char **to)
{
	const json_t *v = json_object_get(c->conf, key);

	if (!v)
		return true;
	if (!json_is_string(v) || !*json_string_value(v))
		return amb_call_fail(c, AMB_CALL_CONFIG, "%s has to be a text", key);
	*to = json_string_value(v);
	return true;
}

static bool read_settings(struct amb_call *c)
{
	const json_t *seconds = json_object_get(c->conf, "timeoutSeconds");
	const json_t *excluded = json_object_get(c->conf, "excludeNamespaces");
	json_int_t s = seconds ? json_integer_value(seconds) : AMB_CALL_SECONDS;
	const char *version = NULL;
	size_t i;

	if (!get_text(c, "cniVersion", &version))
		return false;
	if (version && !is_version(version))
		return amb_call_fail(c, AMB_CALL_VERSION_UNKNOWN,
				     "cniVersion %s is not spoken here, 0.3.0 to %s are", version,
				     AMB_CALL_VERSION);
	c->version = version ? version : "0.3.0";
	if (!get_text(c, "name", &c->network) || !get_text(c, "socket", &c->socket) ||
	    !get_text(c, "attachmentDir", &c->dir) || !get_text(c, "namespace", &c->ns))
		return false;
	if (s < 1 || s > 3600)
		return amb_call_fail(c, AMB_CALL_CONFIG, "timeoutSeconds has to be 1 to 3600");
	c->seconds = s;
	if (excluded && !json_is_array(excluded))
		return amb_call_fail(c, AMB_CALL_CONFIG, "excludeNamespaces has to be a list");
	for (i = 0; i < json_array_size(excluded); i++) {
		if (!json_is_string(json_array_get(excluded, i)))
			return amb_call_fail(c, AMB_CALL_CONFIG,
					     "excludeNamespaces has to be a list of names");
	}
	return true;
}

/* Names that become part of a file's name (specification, section 2, and Linux). */
static bool is_container(const char *s)
{
	if (!isalnum((unsigned char)*s))
		return false;
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
			return false;
	}
	return true;
}

static bool is_interface(const char *s)
{
	return *s && strlen(s) < 16 && strcmp(s, ".") && strcmp(s, "..") && !strpbrk(s, "/: \t\n");
}

/* "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;..."; what we do not know is for others. */
static bool read_args(struct amb_call *c)
{
	_cleanup_free_ char *args = strdup(c->env.args ? c->env.args : "");
	const char *ns = c->ns, *name = "";
	char *pair, *save;

	if (!args)
		return amb_call_fail(c, AMB_CALL_IO, "out of memory");
	for (pair = strtok_r(args, ";", &save); pair; pair = strtok_r(NULL, ";", &save)) {
		char *value = strchr(pair, '=');

		if (!value)
			return amb_call_fail(c, AMB_CALL_ENV, "CNI_ARGS: \"%s\" is not KEY=VALUE",
					     pair);
		*value++ = 0;
		if (!strcmp(pair, "K8S_POD_NAMESPACE"))
			ns = value;
		else if (!strcmp(pair, "K8S_POD_NAME"))
			name = value;
	}
	if (!*ns || !*name)
		return true;
	if (strchr(ns, '/') || strchr(name, '/') ||
	    snprintf(c->pod, sizeof(c->pod), "%s/%s", ns, name) >= (int)sizeof(c->pod))
		return amb_call_fail(c, AMB_CALL_ENV, "CNI_ARGS: \"%s\", \"%s\" are no names", ns,
				     name);
	return true;
}

static bool read_env(struct amb_call *c)
{
	const struct amb_call_env *e = &c->env;
	bool add = !strcmp(e->command, "ADD"), check = !strcmp(e->command, "CHECK");

	if (!add && !check && strcmp(e->command, "DEL"))
		return true;
	if (!e->container || !is_container(e->container))
		return amb_call_fail(c, AMB_CALL_ENV, "CNI_CONTAINERID is missing or no name");
	if (!e->ifname || !is_interface(e->ifname))
		return amb_call_fail(c, AMB_CALL_ENV,
				     "CNI_IFNAME is missing or no interface's name");
	if ((add || check) && (!e->netns || !*e->netns))
		return amb_call_fail(c, AMB_CALL_ENV, "CNI_NETNS is missing");
	if ((add || check) && !json_is_object(json_object_get(c->conf, "prevResult")))
		return amb_call_fail(c, AMB_CALL_CONFIG,
				     "no prevResult: this plugin is chained behind one that "
				     "makes the interface");
	return read_args(c);
}

bool amb_call_init(struct amb_call *c, const struct amb_call_env *env, FILE *in)
{
	*c = (struct amb_call){
		.env = *env,
		.network = "",
		.ns = "default",
		.socket = AMB_ASK_SOCKET,
		.dir = AMB_ATTACHMENT_DIR,
		.seconds = AMB_CALL_SECONDS,
	};
	if (!env->command || !*env->command)
		return amb_call_fail(c, AMB_CALL_ENV,
				     "CNI_COMMAND is missing: a container runtime calls this");
	return read_conf(c, in) && read_settings(c) && read_env(c);
}

void amb_call_uninit(struct amb_call *c)
{
	json_decref(c->conf);
	c->conf = NULL;
}

bool amb_call_is_excluded(const struct amb_call *c)
{
	const json_t *list = json_object_get(c->conf, "excludeNamespaces");
	size_t n = strcspn(c->pod, "/"), i;

	for (i = 0; i < json_array_size(list); i++) {
		const char *ns = json_string_value(json_array_get(list, i));

		if (strlen(ns) == n && !strncmp(ns, c->pod, n))
			return true;
	}
	return false;
}
