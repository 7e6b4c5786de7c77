# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by: ipseckey --completion
# shellcheck shell=bash

_ipseckey() {
    local word command="" at=0 first="" rest="" files=""
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local topics="
        ? add attr delete delete-pair dump exit flush get help monitor passive_monitor pmonitor quit
        save status update update-pair"
    local options="
        -f -c --text-only -s --apply --compare --remove --policies --boot-file --no-policies
        --show-policies --save-policies --delete-policy --flush-policies --rotation-due -n -p -v
        --json --show-keys --allow-static-counter-mode --allow-reserved-spi --allow-shared-key
        --allow-unsafe-file --allow-network-file --allow-clear-text-login --man --completion --help"
    COMPREPLY=()
    case $before in
        -f | -c | -s | --apply | --compare | --remove | --policies | --boot-file | \
                --save-policies | --delete-policy | --rotation-due)
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
    esac
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        case $word in
            -f | -c | -s | --apply | --compare | --remove | --policies | --boot-file | \
                --save-policies | --delete-policy | --rotation-due)
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
        "") first="? delete delete-pair dump exit flush get help monitor passive_monitor pmonitor quit save status" ;;
        delete) first="esp ah" rest="spi src src6 dst dst6 mark proto sport dport inbound outbound" ;;
        delete-pair) first="esp ah" rest="spi src src6 dst dst6 mark proto sport dport inbound outbound" ;;
        get) first="esp ah" rest="spi src src6 dst dst6 mark proto sport dport inbound outbound" ;;
        flush) first="esp ah all" rest="" ;;
        dump) first="esp ah all" rest="" ;;
        save) first="esp ah all" rest="" files=1 ;;
        status) first="$topics" rest="" files=1 ;;
        help) first="$topics" rest="" ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ -z $command || $((COMP_CWORD - at)) -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$first" -- "$current")
    elif [[ -n $files ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        case $before in
            auth_alg | authalg | authkey | daddr | daddr6 | dport | dst | dst6 | dstaddr | dstaddr6 | \
                dstidtype | encap | encr_alg | encralg | encrkey | hard_addtime | hard_alloc | \
                hard_bytes | hard_packets | hard_usetime | icv_bits | idle_addtime | idle_usetime | \
                idport | idst | idst6 | if_id | implicit-label | innerdport | innerdst | innerdst6 | \
                innersport | innersrc | innersrc6 | iproto | isport | isrc | isrc6 | iulp | label | mark | \
                mode | nat_loc | nat_lport | nat_rem | nat_rport | outer-label | pair-spi | proto | \
                proxy | proxy6 | proxyaddr | proxyaddr6 | replay | replay_value | reqid | \
                reserved_bits | saddr | saddr6 | soft_addtime | soft_alloc | soft_bytes | \
                soft_packets | soft_usetime | spi | sport | src | src6 | srcaddr | srcaddr6 | srcidtype | \
                state | ulp) ;; # its value follows
            *) mapfile -t COMPREPLY < <(compgen -W "$rest" -- "$current") ;;
        esac
    fi
}
complete -o filenames -F _ipseckey ipseckey
