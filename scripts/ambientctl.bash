# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion of ambientctl: commands, options, and the names that the agent knows.

_ambientctl_pods() {
	ambientctl status -o json 2>/dev/null |
		sed -n 's/^ *"namespace": "\(.*\)",$/\1/p; s/^ *"name": "\(.*\)",$/\1/p' |
		paste -d / - - 2>/dev/null
}

_ambientctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local commands="status workloads services policies certs connections why validate enroll
		unenroll reload log probe dump uninstall ca help"
	local command="" folder="" i words="--output --socket --help"

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-o | --output | --socket) ((i++)) ;;
		-*) ;;
		*)
			command=${COMP_WORDS[i]}
			break
			;;
		esac
	done
	case $prev in
	-o | --output)
		mapfile -t COMPREPLY < <(compgen -W "table json" -- "$cur")
		return
		;;
	--socket | --netns | --bpf-dir)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--pid)
		mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [0-9]*)" -- "$cur")
		return
		;;
	esac
	case $command in
	"") words="$commands $words" ;;
	workloads | services | policies | certs | connections) words+=" --namespace" ;;
	why) words+=" $(_ambientctl_pods)" ;;
	enroll) words+=" --netns --pid $(_ambientctl_pods)" ;;
	unenroll) words+=" $(_ambientctl_pods)" ;;
	uninstall) words="--output --bpf-dir --help" ;;
	ca)
		words="--trust-domain --p384 --days --help"
		((COMP_CWORD == i + 1)) && words+=" init node rotate retire revoke"
		((COMP_CWORD == i + 2)) && folder=1
		;;
	validate)
		words="--output --help"
		folder=1
		;;
	esac
	# Options would hide the folders, so they are offered to who asks for them.
	if [ -n "$folder" ] && [[ $cur != -* ]]; then
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _ambientctl ambientctl
