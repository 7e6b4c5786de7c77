# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by: ipseckey --completion
# shellcheck shell=bash disable=SC2207

_ipseckey() {
    local word command="" at=0 first="" rest="" current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    case $before in
        -f | -c | -s | --apply | --compare | --remove | --rotation-due)
            COMPREPLY=($(compgen -f -- "$current"))
            return
            ;;
    esac
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        case $word in
            -f | -c | -s | --apply | --compare | --remove | --rotation-due)
                at=$((at + 1))
                continue
                ;;
        esac
        if [[ $word != -* ]]; then
            command=$word
            break
        fi
    done
    case $command in
        "") first="? delete delete-pair dump exit flush get help monitor passive_monitor pmonitor quit save -f -c -s --apply --compare --remove --rotation-due -n -p -v --json --show-keys --allow-static-counter-mode --allow-unsafe-file --allow-network-file --allow-clear-text-login --man --completion --help" ;;
        delete) first="esp ah"; rest="spi src src6 dst dst6 mark proto sport dport inbound outbound" ;;
        delete-pair) first="esp ah"; rest="spi src src6 dst dst6 mark proto sport dport inbound outbound" ;;
        get) first="esp ah"; rest="spi src src6 dst dst6 mark proto sport dport inbound outbound" ;;
        flush) first="esp ah all"; rest="" ;;
        dump) first="esp ah all"; rest="" ;;
        save) first="esp ah all"; rest="" ;;
        help) first="? add attr delete delete-pair dump exit flush get help monitor passive_monitor pmonitor quit save update update-pair"; rest="" ;;
    esac
    if [[ -z $command || $((COMP_CWORD - at)) -eq 1 ]]; then
        COMPREPLY=($(compgen -W "$first" -- "$current"))
    else
        COMPREPLY=($(compgen -W "$rest" -- "$current"))
    fi
}
complete -F _ipseckey ipseckey
