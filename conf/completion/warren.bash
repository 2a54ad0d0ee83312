# bash completion for warren(1). The words come from the program itself, which knows the commands
# of all plugins: one candidate a line, a word, a blank and what it means; ":file" asks for names
# of files.
_warren()
{
    local line word first=1 options=() args=()
    COMPREPLY=()

    # Options in front of the command are for the client and decide whom it asks.
    while [ $first -lt $COMP_CWORD ]; do
        case ${COMP_WORDS[first]} in
        --socket|--plugin-dir|--config)
            options+=("${COMP_WORDS[first]}" "${COMP_WORDS[first + 1]}")
            [ $((first + 1)) -lt $COMP_CWORD ] || { compopt -o default; return; }
            first=$((first + 2)) ;;
        -*)
            first=$((first + 1)) ;;
        *)
            break ;;
        esac
    done
    word=${COMP_WORDS[COMP_CWORD]}
    args=("${COMP_WORDS[@]:first:COMP_CWORD - first}" "$word")
    while IFS= read -r line; do
        case $line in
        :file)
            compopt -o default ;;
        "$word"*)
            COMPREPLY+=("${line%% *}") ;;
        esac
    done < <("${COMP_WORDS[0]}" "${options[@]}" __complete -- "${args[@]}" 2>/dev/null)
}
complete -F _warren warren
