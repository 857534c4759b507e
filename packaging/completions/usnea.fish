# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_usnea_global_optspecs
    string join \n root= log-level= h/help V/version
end

function __fish_usnea_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_usnea_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_usnea_using_subcommand
    set -l cmd (__fish_usnea_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c usnea -n "__fish_usnea_needs_command" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_needs_command" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_needs_command" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_needs_command" -s V -l version -d 'Print version'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "run" -d 'Run a command in a new container'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "spec" -d 'Print the OCI runtime config.json that run with the same flags would run'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "doctor" -d 'Try what containers need on this machine, and say how to mend what is missing'
complete -c usnea -n "__fish_usnea_using_subcommand run" -s i -l interactive -d 'Keep standard input open' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -s t -l tty -d 'Give the container a terminal of its own' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l rm -d 'Remove the container when it exits' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l name -d 'Name the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -s h -l hostname -d 'Set the container\'s host name. Default: the first 12 digits of its ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l entrypoint -d 'Run this program instead of the image\'s; empty: only the command that is given. Podman\'s JSON array is taken too' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -s e -l env -d 'Set an environment variable. NAME alone takes the host\'s value, NAME* every variable of the host that begins so' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l env-file -d 'Read environment variables from a file: NAME=VALUE or NAME on each line, # begins a comment' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -s w -l workdir -d 'Working directory inside the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -s u -l user -d 'Run as this user and group, by name (in the image\'s own accounts) or ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -s v -l volume -d 'Bind a file or folder of the host into the container. Options: ro, rw, O (changes go to a layer that is thrown away), bind, rbind, private, rprivate, slave, rslave, shared, rshared, nosuid, nodev, noexec, suid, dev, exec; z and Z are accepted and do nothing: usnea does not confine by SELinux, so there is nothing to relabel' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l mount -d 'Attach a file system: type=bind,source=HOST,target=CONTAINER[,readonly][,bind-propagation=...] [,bind-nonrecursive][,relabel=shared|private] or type=tmpfs,target=CONTAINER[,tmpfs-size=BYTES][,tmpfs-mode=OCTAL]' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l tmpfs -d 'Mount a tmpfs. Options: size, mode, uid, gid, nr_inodes, rw, ro, exec, noexec, suid, nosuid, dev, nodev. Default: rw,noexec,nosuid,nodev,mode=1777' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l read-only -d 'Mount the container\'s root file system read-only' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l rw-root -d 'Write to the root directory itself, without a layer that is thrown away' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l cap-add -d 'Add a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l cap-drop -d 'Drop a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l security-opt -d 'Security options: no-new-privileges[=true|false]' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l userns -d 'How IDs inside lie over those outside: host (root inside is you), keep-id[:uid=N,gid=N] (you stay yourself), nomap (you have no ID inside)' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l uidmap -d 'Map user IDs yourself. Base 0 is you, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l gidmap -d 'Map group IDs yourself. Base 0 is your group, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l group-add -d 'Add the process to a group, by name (in the image\'s own accounts) or ID; keep-groups keeps your own ones' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l network -l net -d 'Network: none, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l pid -d 'PID namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l ipc -d 'IPC namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l uts -d 'UTS namespace (host name): private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l ulimit -d 'Set a resource limit of processes, such as nofile=1024:2048; -1 is unlimited; "host" keeps all of yours' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l sysctl -d 'Set a kernel parameter that belongs to a namespace of the container, such as net.ipv4.ip_forward=1' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l init -d 'Run a small init as PID 1 that forwards signals and reaps processes' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l shm-size -d 'Size of /dev/shm, such as 64m or 1g. Default: 64m' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l device -d 'Give the container a device of the host, or all devices below a folder' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l preserve-fds -d 'Hand N more open descriptors to the container, from 3 on' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand run" -l explain -d 'Print the steps as the commands that an administrator would type, and do nothing'
complete -c usnea -n "__fish_usnea_using_subcommand run" -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand spec" -s i -l interactive -d 'Keep standard input open' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -s t -l tty -d 'Give the container a terminal of its own' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l rm -d 'Remove the container when it exits' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l name -d 'Name the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -s h -l hostname -d 'Set the container\'s host name. Default: the first 12 digits of its ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l entrypoint -d 'Run this program instead of the image\'s; empty: only the command that is given. Podman\'s JSON array is taken too' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -s e -l env -d 'Set an environment variable. NAME alone takes the host\'s value, NAME* every variable of the host that begins so' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l env-file -d 'Read environment variables from a file: NAME=VALUE or NAME on each line, # begins a comment' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand spec" -s w -l workdir -d 'Working directory inside the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -s u -l user -d 'Run as this user and group, by name (in the image\'s own accounts) or ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -s v -l volume -d 'Bind a file or folder of the host into the container. Options: ro, rw, O (changes go to a layer that is thrown away), bind, rbind, private, rprivate, slave, rslave, shared, rshared, nosuid, nodev, noexec, suid, dev, exec; z and Z are accepted and do nothing: usnea does not confine by SELinux, so there is nothing to relabel' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l mount -d 'Attach a file system: type=bind,source=HOST,target=CONTAINER[,readonly][,bind-propagation=...] [,bind-nonrecursive][,relabel=shared|private] or type=tmpfs,target=CONTAINER[,tmpfs-size=BYTES][,tmpfs-mode=OCTAL]' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l tmpfs -d 'Mount a tmpfs. Options: size, mode, uid, gid, nr_inodes, rw, ro, exec, noexec, suid, nosuid, dev, nodev. Default: rw,noexec,nosuid,nodev,mode=1777' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l read-only -d 'Mount the container\'s root file system read-only' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l rw-root -d 'Write to the root directory itself, without a layer that is thrown away' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l cap-add -d 'Add a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l cap-drop -d 'Drop a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l security-opt -d 'Security options: no-new-privileges[=true|false]' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l userns -d 'How IDs inside lie over those outside: host (root inside is you), keep-id[:uid=N,gid=N] (you stay yourself), nomap (you have no ID inside)' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l uidmap -d 'Map user IDs yourself. Base 0 is you, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l gidmap -d 'Map group IDs yourself. Base 0 is your group, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l group-add -d 'Add the process to a group, by name (in the image\'s own accounts) or ID; keep-groups keeps your own ones' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l network -l net -d 'Network: none, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l pid -d 'PID namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l ipc -d 'IPC namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l uts -d 'UTS namespace (host name): private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l ulimit -d 'Set a resource limit of processes, such as nofile=1024:2048; -1 is unlimited; "host" keeps all of yours' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l sysctl -d 'Set a kernel parameter that belongs to a namespace of the container, such as net.ipv4.ip_forward=1' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l init -d 'Run a small init as PID 1 that forwards signals and reaps processes' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l shm-size -d 'Size of /dev/shm, such as 64m or 1g. Default: 64m' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l device -d 'Give the container a device of the host, or all devices below a folder' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l preserve-fds -d 'Hand N more open descriptors to the container, from 3 on' -r
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -l format -d 'How to print: a page to read, or an array of objects with name, status, found, costs and fix' -r -f -a "table\t'A page to read'
json\t'An array of objects'"
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
