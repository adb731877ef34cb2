#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# 10 000 enrolments of short-lived network namespaces leave no row, no pin, no descriptor; and
# 5 000 pods at once fit the maps. The test is unit/enrol, with more of it.
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
exec env AMB_ENROLMENTS="${AMB_ENROLMENTS:-10000}" \
	"${AMB_BUILD:-$TOP/build}/selftests/unit/enrol"
