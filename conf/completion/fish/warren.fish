# fish completion for warren(1). The words come from the program itself, which knows the commands
# of all plugins: one candidate a line, a word, a blank and what it means; ":file" asks for names
# of files.
function __warren_complete
    set -l words (commandline -opc)
    for line in ($words[1] __complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
        if test "$line" = ":file"
            __fish_complete_path (commandline -ct)
        else
            string replace ' ' \t -- $line
        end
    end
end
complete -c warren -f -a '(__warren_complete)'
