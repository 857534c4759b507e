# bash completion for usnea: it is usnea itself that knows what can be typed.

_usnea() {
    # bash parts words at : and =, which belong to names of images and to flags: they are put together again.
    local line=${COMP_LINE:0:COMP_POINT} words=() word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $i -eq 0 || -z $line || $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            [[ $i -lt $COMP_CWORD ]] || word=$line
            words+=("$word")
        else
            [[ $i -lt $COMP_CWORD ]] || word=$line
            words[${#words[@]} - 1]+=$word
        fi
        line=${line#"$word"}
    done
    local current=${words[${#words[@]} - 1]} value
    # What is before the last of those signs is on the line already.
    local before=
    case $current in
        *:*) [[ $COMP_WORDBREAKS != *:* ]] || before=${current%"${current##*:}"} ;;
        *=*) [[ $COMP_WORDBREAKS != *=* ]] || before=${current%"${current##*=}"} ;;
    esac
    COMPREPLY=()
    while IFS= read -r value; do
        value=${value%%$'\t'*}
        COMPREPLY+=("${value#"$before"}")
    done < <("$1" __complete $((${#words[@]} - 1)) "${words[@]}" 2> /dev/null)
}

# Where usnea knows nothing, it is a file of the host.
complete -o bashdefault -o default -F _usnea usnea
