# SPDX-License-Identifier: GPL-2.0-or-later
# ambientd: `make` builds without root, `sudo make demo` and `sudo make check` do the rest.
#
#   make [all lib unit tools]   build, in $(O)
#   sudo make check             set-up, every build and every test
#                               (TESTS="net/x.sh unit/y": only those)
#                               (vm/smoke.sh, vm/v6.sh: that test in each VM; scripts/vm)
#                               JOBS= VM_KERNELS="6.1 6.12 newest" VM_CPUS=1
#                               FUZZ_SECONDS=10 FUZZ_SEED=1 (0: another one each time)
#                               VM_FUZZ_SECONDS=20: of malicious peers, in a VM
#   sudo make check-fast        set-up, static checks, unit and namespace tests, plain build
#   sudo make check-debug-kernel  hbone.ko in a kernel of ours that watches itself; not in `check`
#                               (HBONE_CASES="drain notes": only those of vm/hbone.sh)
#   sudo make demo | bench      set-up, then show or measure
#   sudo make bench-vm          measure who should carry tunnels, in a VM (VM_KERNELS=newest;
#                               selftests/bench/vm)
#   make lint fmt arrows        the static checks alone; formatting; the arrows of the layout
#   make vm-modules             hbone.ko for each kernel of the VMs, in $(O)/vm
#   make install uninstall deb image  DESTDIR= PREFIX= CNI_DIR=

O ?= build
CC ?= gcc
CLANG ?= clang
PROTOC_C ?= protoc-c
PKG_CONFIG ?= pkg-config
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
V ?= 0
SAN ?=
OPT ?= -O2 -g
DESTDIR ?=
PREFIX ?= /usr/local
CACHES := $(AMBIENT_CACHE) $(if $(filter 0,$(shell id -u)),/var/cache/ambient) \
	$(HOME)/.cache/ambient /var/cache/ambient
WOLFSSL ?= $(firstword $(wildcard $(CACHES:%=%/wolfssl)))
# Newer than this system's, where scripts/setup could have it.
GCRYPT ?= $(firstword $(wildcard $(CACHES:%=%/gcrypt)))

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

PKGS := libnghttp2 jansson libprotobuf-c yaml-0.1 liburcu liburcu-cds libmicrohttpd \
	libcap-ng libseccomp libnftables libnl-3.0 libnl-genl-3.0 libnl-route-3.0 libbpf zlib libgcrypt
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

VERSION := 0.1.0

# A sanitizer does all of this better, and fortify hides accesses from it.
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2
CPPFLAGS_ALL := -D_GNU_SOURCE -DAMB_VERSION='"$(VERSION)"' -Iinclude -Iinclude/uapi -Iagent -I$(O)/gen \
	-I$(WOLFSSL)/include $(GCRYPT:%=-I%/include) $(PKG_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(OPT) -Wall -Wextra -Werror -fno-strict-aliasing -fno-omit-frame-pointer \
	-pthread -fPIE $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,$(HARDEN)) $(CFLAGS)
LDFLAGS_ALL := -pthread -pie -Wl,--as-needed -Wl,-z,relro,-z,now,-z,noexecstack \
	$(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
LIBS := $(WOLFSSL)/lib/libwolfssl.a \
	$(if $(GCRYPT),$(GCRYPT)/lib/libgcrypt.a $(GCRYPT)/lib/libgpg-error.a) $(PKG_LIBS) -lm
# What only tests use.
TEST_LIBS := $(shell $(PKG_CONFIG) --libs ldns 2>/dev/null)
# AES-GCM with 512 bit instructions, where the CPU has them; there is no such library for others.
ifeq ($(shell uname -m),x86_64)
CPPFLAGS_ALL += -DAMB_IPSEC_MB
LIBS += -lIPSec_MB
endif

PROTOS := $(wildcard agent/*/proto/*.proto)
WKT := google/protobuf/any google/protobuf/wrappers google/protobuf/empty google/protobuf/struct
GEN_H := $(patsubst %.proto,$(O)/gen/%.pb-c.h,$(notdir $(PROTOS))) $(WKT:%=$(O)/gen/%.pb-c.h)
GEN_O := $(GEN_H:.h=.o)

# The maps come first: the linker of libbpf 1.1 loses the place of maps that it meets as extern.
BPF_SRC := bpf/maps.bpf.c $(filter-out bpf/maps.bpf.c bpf/splice.bpf.c,$(wildcard bpf/*.bpf.c))
BPF_OBJ := $(BPF_SRC:%.c=$(O)/%.o)
BPF_CFLAGS := -O2 -g -mcpu=v3 -target bpf -Wall -Wextra -Werror -Iinclude \
	-I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
SKEL := $(O)/gen/amb.skel.h $(O)/gen/splice.skel.h

# The parts beside main.c are in the library too, so that tests can call them.
LIB_SRC := $(filter-out agent/main.c,$(wildcard agent/*.c)) $(wildcard agent/base/*.c \
	agent/mesh/*.c agent/control/*.c agent/kernel/*.c agent/proxy/*.c agent/admin/*.c) \
	$(filter-out agent/cni/main.c,$(wildcard agent/cni/*.c)) agent/ctl/ask.c
LIB_OBJ := $(LIB_SRC:%.c=$(O)/%.o) $(GEN_O)
CTL_OBJ := $(patsubst %.c,$(O)/%.o,$(filter-out agent/ctl/ask.c,$(wildcard agent/ctl/*.c)))
CNI_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard agent/cni/main.c))
# Those that take long begin first: at the end of a group they would have one job, and others none.
UNIT_LONG := $(patsubst %,selftests/unit/%.c,relay stream certs)
UNIT_SRC := $(UNIT_LONG) $(filter-out $(UNIT_LONG),$(wildcard selftests/unit/*.c))
UNIT := $(UNIT_SRC:%.c=$(O)/%)
TOOL_SRC := $(wildcard selftests/tools/*.c)
TOOLS := $(TOOL_SRC:%.c=$(O)/%)
# amb-X of more than one file has the others in tools/X.
TOOL_PARTS := $(patsubst %.c,$(O)/%.o,$(wildcard selftests/tools/*/*.c))

MAIN_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard agent/*.c))
FUZZ := $(patsubst %.c,$(O)/%,$(wildcard selftests/fuzz/fuzz_*.c))

BINS := $(if $(wildcard agent/main.c),$(O)/ambientd) $(if $(CTL_OBJ),$(O)/ambientctl) \
	$(if $(CNI_OBJ),$(O)/ambient-cni)

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all lib unit tools pki fuzz clean setup check check-fast check-build check-debug-kernel \
	root demo bench bench-vm install uninstall deb image fmt lint arrows vm-modules

# These begin by doing, or do not need, what the others check for.
NO_BUILD := clean root setup check check-fast check-debug-kernel demo bench bench-vm uninstall fmt \
	lint arrows vm-modules
ifneq ($(filter-out $(NO_BUILD),$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists $(PKGS) && command -v $(PROTOC_C) >/dev/null && \
	[ -s "$(WOLFSSL)/lib/libwolfssl.a" ] && echo yes),yes)
$(error $(or $(shell scripts/setup --build),A library is missing. Run: scripts/setup))
endif
endif

all: $(BINS)
lib: $(O)/libambient.a
unit: $(UNIT)
tools: $(TOOLS)
fuzz: $(FUZZ)

vpath %.proto $(sort $(dir $(PROTOS)))
$(O)/gen/%.pb-c.c $(O)/gen/%.pb-c.h: %.proto
	$(call say,PROTO,$<)
	@mkdir -p $(@D)
	$(Q)$(PROTOC_C) --proto_path=$(<D) --proto_path=/usr/include --c_out=$(O)/gen $<

$(O)/gen/google/protobuf/%.pb-c.c $(O)/gen/google/protobuf/%.pb-c.h: \
		/usr/include/google/protobuf/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(@D)
	$(Q)$(PROTOC_C) --proto_path=/usr/include --c_out=$(O)/gen $<

$(O)/bpf/%.o: bpf/%.c
	$(call say,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(O)/bpf/amb.o: $(BPF_OBJ)
	$(call say,BPFLD,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

# Loaded when a pod opts in.
$(O)/bpf/splice.o: $(O)/bpf/maps.bpf.o $(O)/bpf/splice.bpf.o
	$(call say,BPFLD,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(O)/gen/%.skel.h: $(O)/bpf/%.o
	$(call say,SKEL,$@)
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_prog >$@

$(O)/agent/kernel/bpf.o $(O)/agent/kernel/splice.o: $(SKEL)

$(O)/gen/%.o: $(O)/gen/%.c | $(GEN_H)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -Wno-unused-parameter -MMD -MP -c $< -o $@

$(O)/%.o: %.c | $(GEN_H)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# Another version of a library.
$(LIB_OBJ): $(wildcard $(WOLFSSL)/stamp $(GCRYPT)/stamp)

$(O)/libambient.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/ambientd: $(MAIN_OBJ) $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

$(O)/ambientctl: $(CTL_OBJ) $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

$(O)/ambient-cni: $(CNI_OBJ) $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) -o $@

$(O)/selftests/fuzz/%: $(O)/selftests/fuzz/%.o $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $^ $(LIBS) $(TEST_LIBS) -o $@

$(foreach t,$(TOOLS),$(eval $(t): $(filter $(subst /amb-,/,$(t))/%,$(TOOL_PARTS))))

$(O)/selftests/%: $(O)/selftests/%.o $(O)/libambient.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS) $(TEST_LIBS) -o $@

clean:
	rm -rf $(O)

setup:
	@scripts/setup

# --- tests -----------------------------------------------------------------------------------

TESTS ?=
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 10
FUZZ_SEED ?= 1
VM_FUZZ_SECONDS ?= 20
VM_FUZZ_ENV = --env FUZZ_SECONDS=$(VM_FUZZ_SECONDS) --env FUZZ_SEED=$(FUZZ_SEED)
ASAN := SAN=address,undefined OPT="-O1 -g" CC=$(CLANG)
TSAN := SAN=thread OPT="-O1 -g" CC=$(CLANG)
FUZZER := SAN=fuzzer-no-link,address,undefined OPT="-O1 -g" CC=$(CLANG)
SAN_ENV := --jobs $(JOBS) \
	--env ASAN_OPTIONS=detect_stack_use_after_return=1 \
	--env UBSAN_OPTIONS=print_stacktrace=1 \
	--env TSAN_OPTIONS=second_deadlock_stack=1:suppressions=$(abspath selftests/tsan.supp)

# Made once for all that run: openssl takes seconds for these, and an emulated one half a minute.
PKI_ENV := --env AMB_PKI=$(abspath $(O))/pki

NET := $(wildcard selftests/net/*.sh)
# Agents capture by BPF programs; these run again with rules of nftables, which some machines need.
NFT := $(patsubst %,selftests/net/%.sh,agent_killed bypass curl_hbone drain enroll \
	label_optout loop_protection passthrough plaintext_inbound pod_gone policy_live_cut same_node \
	sandwich_envoy service_entry service_lb source_address v4_mapped v6 v6_only waypoint)
# A sanitizer's agent keeps its rights, and what it needs in memory is not judged or judged by more.
PLAIN := $(patsubst %,selftests/net/%.sh,direct dns_limits ebpf_life peer_abuse xds_scale)
STATIC := $(wildcard scripts/check-*) $(wildcard selftests/static/*.sh)
SLOW := $(wildcard selftests/slow/*.sh)
# These measure, or have both CPUs; the others wait most of the time.
ALONE := $(patsubst %,selftests/slow/%.sh,demo enrol_many vm xds_churn)
# Of a list of files those that TESTS names, or all.
pick = $(if $(TESTS),$(filter $(TESTS) $(addprefix %/,$(TESTS)),$(1)),$(1))
# Of the VM matrix each kernel boots once, all at the same time, and runs these, with kernel TLS for
# tunnels. One CPU for each: emulated ones that wait for each other cost twice the time. The newest
# is the slowest, and the others give way to it.
VM_KERNELS ?= 6.1 6.12 newest
VM_CPUS ?= 1
VM := $(wildcard selftests/vm/*.sh) \
	$(addprefix selftests/net/,curl_hbone.sh same_node.sh v6.sh policy_deny.sh tier.sh \
		bypass.sh splice.sh) \
	$(addprefix $(O)/selftests/unit/,bpf_decide bpf_guard probe ktls hbone frames)
pick_vm = $(if $(TESTS),$(sort $(filter $(addprefix %/, \
	$(patsubst vm/%,%,$(filter vm/%,$(TESTS)))),$(VM) $(NET) $(UNIT))),$(VM))
# Malicious peers take minutes: all kernels have them where a test is named, else the one that is
# through with all others first.
vm_files = $(if $(TESTS)$(filter 6.1,$(1)),$(pick_vm),$(filter-out %/vm/fuzz.sh,$(pick_vm)))
vm_run = $(if $(filter newest,$(1)),,nice -n 5) scripts/vm run $(1)
vm_group = --group "vm $(1)" $(if $(filter-out $(firstword $(VM_KERNELS)),$(1)),--beside) \
	--via "$(vm_run) --quiet --cpus $(VM_CPUS) --timeout 3500 --out {logs} --" \
	--timeout 1200 --env DEADLINE=180 --env AMBIENT_TIER=ktls $(VM_FUZZ_ENV) \
	--env AMB_BUILD=$(abspath $(O)) $(PKI_ENV) $(vm_files)
SUB = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))
RUN := selftests/run -o $(O)/test-logs

# Namespaces, rules and marks need root; without it most tests could only fail.
root:
	@[ "$$(id -u)" = 0 ] || { echo "The tests need root: sudo make $(MAKECMDGOALS)" >&2; exit 1; }

check: root setup
	+@$(SUB) check-build
	@$(RUN) \
		--group static --jobs $(JOBS) --env AMB_BUILD=$(abspath $(O)) $(call pick,$(STATIC)) \
		--group unit --jobs $(JOBS) $(PKI_ENV) $(call pick,$(UNIT)) \
		--group "unit asan" --jobs $(JOBS) $(SAN_ENV) $(PKI_ENV) \
			$(call pick,$(UNIT:$(O)/%=$(O)/asan/%)) \
		--group "unit tsan" --jobs $(JOBS) $(SAN_ENV) $(PKI_ENV) \
			$(call pick,$(UNIT:$(O)/%=$(O)/tsan/%)) \
		--group fuzz --jobs $(JOBS) $(SAN_ENV) --with selftests/fuzz/run \
			--env FUZZ_SECONDS=$(FUZZ_SECONDS) --env FUZZ_SEED=$(FUZZ_SEED) \
			$(call pick,$(FUZZ:$(O)/%=$(O)/fuzz/%)) \
		--group "net asan" --jobs $(JOBS) $(SAN_ENV) --env AMB_BUILD=$(abspath $(O))/asan \
			--env AMB_SANITIZED=1 $(call pick,$(NET)) \
		--group "net nft" --jobs $(JOBS) --env AMB_BUILD=$(abspath $(O)) \
			--env CAPTURE=nft $(call pick,$(NFT)) \
		--group "net plain" --jobs $(JOBS) --env AMB_BUILD=$(abspath $(O)) \
			$(call pick,$(PLAIN)) \
		--group slow --jobs $(JOBS) --timeout 600 --env AMB_BUILD=$(abspath $(O)) \
			$(call pick,$(filter-out $(ALONE),$(SLOW))) \
		--group "slow alone" --timeout 600 --env AMB_BUILD=$(abspath $(O)) \
			$(call pick,$(ALONE)) \
		$(foreach k,$(VM_KERNELS),$(call vm_group,$(k)))

# What `check` runs, with as few builds as TESTS asks for.
check-build:
	+@$(SUB) all unit tools
	+@$(if $(call pick,$(UNIT) $(NET)),$(SUB) O=$(O)/asan $(ASAN) all unit tools)
	+@$(if $(call pick,$(UNIT)),$(SUB) O=$(O)/tsan $(TSAN) unit)
	+@$(if $(call pick,$(UNIT))$(filter $(UNIT),$(pick_vm)),$(SUB) pki)
	+@$(if $(filter %/image.sh,$(call pick,$(SLOW))),$(SUB) image)
	+@$(if $(call pick,$(FUZZ)),$(SUB) O=$(O)/fuzz $(FUZZER) fuzz)
	-+@$(if $(pick_vm)$(filter %/vm.sh,$(call pick,$(SLOW))),scripts/vm setup $(VM_KERNELS); $(SUB) -k vm-modules)

# Anew each time: they are valid for some weeks.
pki:
	$(call say,PKI,$(O)/pki)
	$(Q)rm -rf $(O)/pki && mkdir -p $(O)/pki && selftests/unit/pki.sh $(O)/pki

# Built each time: the kernel in the cache may be another one than yesterday. One that is missing
# fails its own tests; the others go on.
vm-modules: $(VM_KERNELS:%=vm-module-%)
vm-module-%:
	$(call say,KBUILD,$(O)/vm/$*)
	$(Q)rm -rf $(O)/vm/$* && mkdir -p $(O)/vm/$*/include && cp -r Kbuild kmod $(O)/vm/$*/ && \
		cp -r include/uapi $(O)/vm/$*/include/
	$(Q)scripts/vm kbuild $* $(abspath $(O)/vm/$*) W=1 >$(O)/vm/$*/log 2>&1 || \
		{ cat $(O)/vm/$*/log; exit 1; }

check-fast: root setup
	+@$(SUB) all unit tools pki
	@$(RUN) --group static --jobs $(JOBS) --env AMB_BUILD=$(abspath $(O)) $(call pick,$(STATIC)) \
		--group unit --jobs $(JOBS) $(PKI_ENV) $(call pick,$(UNIT)) \
		--group net --jobs $(JOBS) --env AMB_BUILD=$(abspath $(O)) $(call pick,$(NET))

# The kernel is built once, in some 20 minutes; what runs in it runs for some minutes.
DEBUG_TESTS := $(addprefix selftests/vm/,hbone.sh module.sh debug/faults.sh)
check-debug-kernel: root setup
	+@$(SUB) $(O)/selftests/tools/amb-hbone
	@scripts/vm setup debug
	+@$(SUB) vm-module-debug
	@$(RUN) --group "vm debug" --timeout 1800 --env DEADLINE=180 --env AMB_BUILD=$(abspath $(O)) \
		$(VM_FUZZ_ENV) $(if $(HBONE_CASES),--env "HBONE_CASES=$(HBONE_CASES)") \
		--via "scripts/vm run debug --quiet --cpus $(VM_CPUS) --memory 3072 --timeout 3600 --out {logs} --" \
		$(call pick,$(DEBUG_TESTS))

demo bench: setup
	+@$(SUB) all tools
	@AMB_BUILD=$(abspath $(O)) selftests/$@/run

# One kernel, unless others are asked for; where the module cannot be built its way is left out.
BENCH_KERNELS = $(if $(filter file,$(origin VM_KERNELS)),newest,$(VM_KERNELS))

bench-vm: setup
	+@$(SUB) all tools
	+@scripts/vm setup $(BENCH_KERNELS)
	-+@$(SUB) -k vm-modules VM_KERNELS="$(BENCH_KERNELS)"
	@AMB_BUILD=$(abspath $(O)) selftests/bench/vm $(BENCH_KERNELS)

lint:
	@$(RUN) --group static --jobs $(JOBS) $(wildcard scripts/check-*)

arrows:
	@scripts/check-arrows

fmt:
	git ls-files '*.c' | xargs clang-format -i

# --- installing ------------------------------------------------------------------------------

INSTALL ?= install
# Where container runtimes look for CNI plugins: kubelet's in /opt/cni/bin, Debian's podman here.
CNI_DIR ?= $(PREFIX)/lib/cni
SBIN := $(DESTDIR)$(PREFIX)/sbin
BIN := $(DESTDIR)$(PREFIX)/bin
CNI := $(DESTDIR)$(CNI_DIR)
MAN := $(DESTDIR)$(PREFIX)/share/man
SHARE := $(DESTDIR)$(PREFIX)/share/ambientd
COMPLETION := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
UNITS := $(DESTDIR)$(if $(filter /usr,$(PREFIX)),/lib,$(PREFIX)/lib)/systemd/system
MAN_PAGES := $(wildcard agent/man/*.[1-9])

install: all
	$(Q)$(INSTALL) -d $(SBIN) $(BIN) $(CNI) $(UNITS) $(COMPLETION)
	$(Q)$(INSTALL) -m 755 $(O)/ambientd $(SBIN)/ambientd
	$(Q)$(INSTALL) -m 755 $(O)/ambientctl $(BIN)/ambientctl
	$(Q)$(INSTALL) -m 755 $(O)/ambient-cni $(CNI)/ambient-cni
	$(Q)sed 's,@SBIN@,$(PREFIX)/sbin,' scripts/ambientd.service >$(UNITS)/ambientd.service
	$(Q)chmod 644 $(UNITS)/ambientd.service
	$(Q)$(INSTALL) -d $(SHARE)
	$(Q)$(INSTALL) -m 644 scripts/daemonset.yaml scripts/daemonset-direct.yaml $(SHARE)
	$(Q)$(INSTALL) -m 644 scripts/ambientctl.bash $(COMPLETION)/ambientctl
	$(Q)$(foreach p,$(MAN_PAGES),$(INSTALL) -D -m 644 $(p) \
		$(MAN)/man$(subst .,,$(suffix $(p)))/$(notdir $(p)) &&) true

uninstall:
	rm -f $(SBIN)/ambientd $(BIN)/ambientctl $(CNI)/ambient-cni $(UNITS)/ambientd.service \
		$(COMPLETION)/ambientctl $(SHARE)/daemonset.yaml $(SHARE)/daemonset-direct.yaml \
		$(foreach p,$(MAN_PAGES),$(MAN)/man$(subst .,,$(suffix $(p)))/$(notdir $(p)))

DEB ?= $(O)/ambientd_$(VERSION).deb

deb: all
	$(Q)rm -rf $(O)/deb
	+$(Q)$(MAKE) --no-print-directory install DESTDIR=$(abspath $(O))/deb PREFIX=/usr
	$(Q)scripts/make-deb $(abspath $(O))/deb $(VERSION) $(DEB)
	$(call say,DEB,$(DEB))

# To be pushed to a registry as it is: `skopeo copy oci-archive:FILE docker://...`.
IMAGE ?= $(O)/ambientd.oci.tar
IMAGE_NAME ?= ambientd:$(VERSION)

image: deb
	$(Q)scripts/make-image $(DEB) $(IMAGE) $(IMAGE_NAME)
	$(call say,IMAGE,$(IMAGE))

-include $(patsubst %.o,%.d,$(LIB_OBJ) $(CTL_OBJ) $(CNI_OBJ) $(O)/agent/main.o $(UNIT:=.o) \
	$(TOOLS:=.o) $(TOOL_PARTS) $(FUZZ:=.o)) $(BPF_OBJ:.o=.d) $(O)/bpf/splice.bpf.d
