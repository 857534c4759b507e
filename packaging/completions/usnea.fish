# fish completion for usnea: it is usnea itself that knows what can be typed.

function __usnea_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    command $before[1] __complete (count $before) $before "$current" 2>/dev/null
end

# Where usnea knows nothing, it is a file of the host.
complete -c usnea -n 'test (count (__usnea_complete)) -gt 0' -f -a '(__usnea_complete)'
