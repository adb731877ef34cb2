# SPDX-License-Identifier: GPL-2.0-or-later
# ambientd: `make` builds without root, `sudo make demo` and `sudo make check` do the rest.

O ?= build
CC ?= gcc
CLANG ?= clang
PROTOC_C ?= protoc-c
PKG_CONFIG ?= pkg-config
V ?= 0
SAN ?=
OPT ?= -O2 -g
DESTDIR ?=
PREFIX ?= /usr/local
WOLFSSL ?= $(firstword $(wildcard $(if $(AMBIENT_CACHE),$(AMBIENT_CACHE)/wolfssl) \
	$(HOME)/.cache/ambient/wolfssl /var/cache/ambient/wolfssl))

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

PKGS := libnghttp2 jansson libprotobuf-c yaml-0.1 liburcu liburcu-cds libmicrohttpd \
	libcap-ng libseccomp libnftables libnl-3.0 libnl-route-3.0
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

VERSION := 0.1.0

CPPFLAGS_ALL := -D_GNU_SOURCE -DAMB_VERSION='"$(VERSION)"' -Iinclude -Iagent -I$(O)/gen -I$(WOLFSSL)/include $(PKG_CFLAGS) \
	$(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPT) -Wall -Wextra -Werror -fno-strict-aliasing -fno-omit-frame-pointer \
	-pthread $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all) $(CFLAGS)
LDFLAGS_ALL := -pthread $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
LIBS := $(WOLFSSL)/lib/libwolfssl.a $(PKG_LIBS) -lm

PROTOS := agent/mesh/proto/workload.proto agent/mesh/proto/authorization.proto
WKT := google/protobuf/any google/protobuf/wrappers google/protobuf/empty
GEN_H := $(PROTOS:agent/mesh/proto/%.proto=$(O)/gen/%.pb-c.h) $(WKT:%=$(O)/gen/%.pb-c.h)
GEN_O := $(GEN_H:.h=.o)

LIB_SRC := $(wildcard agent/base/*.c agent/mesh/*.c agent/control/*.c agent/kernel/*.c \
	agent/proxy/*.c agent/admin/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(O)/%.o) $(GEN_O)
CTL_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard agent/ctl/*.c))
UNIT_SRC := $(wildcard selftests/unit/*.c)
UNIT := $(UNIT_SRC:%.c=$(O)/%)
TOOL_SRC := $(wildcard selftests/tools/*.c)
TOOLS := $(TOOL_SRC:%.c=$(O)/%)

MAIN_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard agent/*.c))
BINS := $(if $(wildcard agent/main.c),$(O)/ambientd) $(if $(CTL_OBJ),$(O)/ambientctl)

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all lib unit tools clean

all: $(BINS)
lib: $(O)/libambient.a
unit: $(UNIT)
tools: $(TOOLS)

$(O)/gen/%.pb-c.c $(O)/gen/%.pb-c.h: agent/mesh/proto/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(@D)
	$(Q)$(PROTOC_C) --proto_path=agent/mesh/proto --proto_path=/usr/include --c_out=$(O)/gen $<

$(O)/gen/google/protobuf/%.pb-c.c $(O)/gen/google/protobuf/%.pb-c.h: /usr/include/google/protobuf/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(@D)
	$(Q)$(PROTOC_C) --proto_path=/usr/include --c_out=$(O)/gen $<

$(O)/gen/%.o: $(O)/gen/%.c | $(GEN_H)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -Wno-unused-parameter -MMD -MP -c $< -o $@

$(O)/%.o: %.c | $(GEN_H)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(O)/libambient.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/ambientd: $(MAIN_OBJ) $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

$(O)/ambientctl: $(CTL_OBJ) $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

$(O)/selftests/%: $(O)/selftests/%.o $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

clean:
	rm -rf $(O)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
