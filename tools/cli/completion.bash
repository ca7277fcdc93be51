# SPDX-License-Identifier: Apache-2.0
# completion.bash - completes commands, options and names of topics and brokers for bash.

_ternmq() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local -a words=()
    local i cluster=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -n | -b | --nameserver | --broker)
            cluster=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]-}")
            ((i++))
            ;;
        -*) ;;
        *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done

    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(ternmq "${words[@]:0:2}" --help 2>/dev/null |
            grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$word")
        return
    fi
    case $previous in
    -f | --file | inspect)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    esac
    case "${words[*]}" in
    "") mapfile -t COMPREPLY < <(compgen -W "topic produce consume group explain filter broker route ping stats inspect help version" -- "$word") ;;
    topic) mapfile -t COMPREPLY < <(compgen -W "create set list show delete" -- "$word") ;;
    group) mapfile -t COMPREPLY < <(compgen -W "create set list show members seek dead delete" -- "$word") ;;
    explain) mapfile -t COMPREPLY < <(compgen -W "group message" -- "$word") ;;
    broker) mapfile -t COMPREPLY < <(compgen -W "list show" -- "$word") ;;
    filter) mapfile -t COMPREPLY < <(compgen -W "test" -- "$word") ;;
    "inspect "*) mapfile -t COMPREPLY < <(compgen -W "verify records" -- "$word") ;;
    produce | consume | route | "filter test" | "topic set" | "topic show" | "topic delete")
        mapfile -t COMPREPLY < <(compgen -W "$(timeout 2 ternmq topic list "${cluster[@]}" --json 2>/dev/null |
            sed -n 's/.*"name":"\([^"]*\)".*/\1/p')" -- "$word")
        ;;
    "group set" | "group delete" | "group show" | "group members" | "group seek" | "group dead" | "explain group")
        mapfile -t COMPREPLY < <(compgen -W "$(timeout 2 ternmq group list "${cluster[@]}" --json 2>/dev/null |
            sed -n 's/.*"name":"\([^"]*\)".*/\1/p' | sort -u)" -- "$word")
        ;;
    "broker show")
        mapfile -t COMPREPLY < <(compgen -W "$(timeout 2 ternmq broker list "${cluster[@]}" --json 2>/dev/null |
            sed -n 's/.*"name":"\([^"]*\)".*/\1/p')" -- "$word")
        ;;
    esac
}
complete -F _ternmq ternmq
