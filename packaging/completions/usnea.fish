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
complete -c usnea -n "__fish_usnea_needs_command" -f -a "container" -d 'Manage containers'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "create" -d 'Make a container without starting it'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "start" -d 'Start containers'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "stop" -d 'Stop containers'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "restart" -d 'Stop containers and start them again'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "kill" -d 'Send containers a signal'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "rm" -d 'Remove containers'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "ps" -d 'List containers'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "logs" -d 'Show what containers wrote'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "attach" -d 'Be with a running container'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "exec" -d 'Run a command in a running container'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "healthcheck" -d 'Check the health of containers'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "wait" -d 'Wait until containers have ended'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "inspect" -d 'Show all that is known of containers and images'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "rename" -d 'Give a container another name'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "top" -d 'Show the processes of a container'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "spec" -d 'Print the OCI runtime config.json that run with the same flags would run'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "image" -d 'Manage images'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "images" -d 'List images'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "pull" -d 'Pull images from a registry, a layout or an archive'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "history" -d 'Show what made the layers of an image, the newest first'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "push" -d 'Push an image to a registry, a layout or an archive'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "save" -d 'Write images to an archive'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "load" -d 'Load images from an archive'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "import" -d 'Make an image of a root directory\'s tarball'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "export" -d 'Write the file system of an image as one tar'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "rmi" -d 'Remove images'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "tag" -d 'Give an image more names'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "untag" -d 'Take names from an image'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "system" -d 'Show and clear what usnea keeps'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "check" -d 'Look whether all that is kept is as it should be, and mend it'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "login" -d 'Log in to a registry'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "logout" -d 'Forget the login for a registry'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "mount" -d 'Mount a file system of usnea\'s own'
complete -c usnea -n "__fish_usnea_needs_command" -f -a "doctor" -d 'Try what containers need on this machine, and say how to mend what is missing'
complete -c usnea -n "__fish_usnea_using_subcommand run" -s d -l detach -d 'Leave it running: print its ID and come back' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand run" -l sig-proxy -d 'Signals that come to us are the command\'s' -r -f -a "true\t''
false\t''"
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
complete -c usnea -n "__fish_usnea_using_subcommand run" -l root-emulation -d 'Answer the system calls that need other IDs (chown, setuid, setgroups, mknod and their like) as if they were there, so that packages can be installed. auto: where the container has one ID alone, and that is root\'s' -r -f -a "auto\t'Where it has one ID alone, and that is root\'s'
seccomp\t'The IDs of processes; owners given to files are kept for a commit'
owners\t'And owners of files are shown as they were given; each look at a file takes some microseconds more'
off\t'Not at all'"
complete -c usnea -n "__fish_usnea_using_subcommand run" -l storage-driver -d 'Who stacks the layers of the root: overlay (the kernel), fuse (usnea\'s own server, which also shows files under the container\'s own IDs) or copy (nobody: they are copied). Default: the first that serves' -r -f -a "overlay\t'The kernel\'s overlay'
fuse\t'usnea\'s own overlay, by FUSE'
copy\t'Nobody: the layers are copied'"
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
complete -c usnea -n "__fish_usnea_using_subcommand run" -l restart -d 'When the container is started again: no, on-failure[:N], always, unless-stopped' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l stop-signal -d 'The signal that asks the container to end. Default: the image\'s, else SIGTERM' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l stop-timeout -d 'How many seconds it has to do so before it is killed. Default: 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -s l -l label -d 'A label' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l label-file -d 'Labels from a file, one a line' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l cidfile -d 'Write the container\'s ID to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l pidfile -d 'Write the number of the container\'s process to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l log-driver -d 'Where the output is kept: file (also json-file, k8s-file, local), journald, none, or passthrough (the command has our standard streams itself)' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l log-opt -d 'Options of the log: max-size=BYTES, max-file=N, tag=TEXT' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l detach-keys -d 'The keys that leave the terminal of a container that goes on. Default: ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l health-cmd -d 'A command that tells whether the container is well; none: not even the image\'s' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l health-interval -d 'How long between two checks, such as 30s. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l health-retries -d 'How many failures in a row are ill. Default: 3' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l health-start-period -d 'How long failures do not count after the start. Default: 0s' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l health-start-interval -d 'How long between two checks within the start period. Default: 5s' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l health-timeout -d 'How long one check may take. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l health-on-failure -d 'What is done when it is ill' -r -f -a "none\t'Nothing'
kill\t'It is killed; its restart policy decides what is next'
restart\t'It is stopped and started again, whatever its restart policy'
stop\t'It is stopped'"
complete -c usnea -n "__fish_usnea_using_subcommand run" -l pull -d 'When an image is pulled before it is run. newer: when the registry has another one by this name' -r -f -a "missing\t'When it is not here'
always\t'Each time'
never\t'Not at all'
newer\t'When the registry has another one by this name; what is here serves when the registry cannot be asked'"
complete -c usnea -n "__fish_usnea_using_subcommand run" -l platform -d 'The image for this machine: OS/ARCH[/VARIANT]. Default: the one we run on' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand run" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand run" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l signature-policy -d 'Which images are accepted. Default: policy.json in ~/.config/containers, else in /etc/containers' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand run" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand run" -l explain -d 'Print the steps as the commands that an administrator would type, and do nothing'
complete -c usnea -n "__fish_usnea_using_subcommand run" -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand run" -l replace -d 'Remove the container that has the name'
complete -c usnea -n "__fish_usnea_using_subcommand run" -l no-healthcheck -d 'No checks of health, not even the image\'s'
complete -c usnea -n "__fish_usnea_using_subcommand run" -s q -l quiet -d 'Pull without showing how far it is'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "attach" -d 'Be with a running container'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "create" -d 'Make a container without starting it'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "exec" -d 'Run a command in a running container'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "inspect" -d 'Show all that is known of containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "kill" -d 'Send containers a signal'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "logs" -d 'Show what containers wrote'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "ps" -d 'List containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "ls" -d 'List containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "list" -d 'List containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "prune" -d 'Remove all containers that do not run'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "rename" -d 'Give a container another name'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "restart" -d 'Stop containers and start them again'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "rm" -d 'Remove containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "run" -d 'Run a command in a new container'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "start" -d 'Start containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "stop" -d 'Stop containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "top" -d 'Show the processes of a container'
complete -c usnea -n "__fish_usnea_using_subcommand container; and not __fish_seen_subcommand_from attach create exec inspect kill logs ps ls list prune rename restart rm run start stop top wait" -f -a "wait" -d 'Wait until containers have ended'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from attach" -l detach-keys -d 'The keys that leave its terminal. Default: the container\'s own, else ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from attach" -l sig-proxy -d 'Signals that come to us are its own' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from attach" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from attach" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from attach" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from attach" -l no-stdin -d 'Leave its input alone'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from attach" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s i -l interactive -d 'Keep standard input open' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s t -l tty -d 'Give the container a terminal of its own' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l rm -d 'Remove the container when it exits' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l name -d 'Name the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s h -l hostname -d 'Set the container\'s host name. Default: the first 12 digits of its ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l entrypoint -d 'Run this program instead of the image\'s; empty: only the command that is given. Podman\'s JSON array is taken too' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s e -l env -d 'Set an environment variable. NAME alone takes the host\'s value, NAME* every variable of the host that begins so' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l env-file -d 'Read environment variables from a file: NAME=VALUE or NAME on each line, # begins a comment' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s w -l workdir -d 'Working directory inside the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s u -l user -d 'Run as this user and group, by name (in the image\'s own accounts) or ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s v -l volume -d 'Bind a file or folder of the host into the container. Options: ro, rw, O (changes go to a layer that is thrown away), bind, rbind, private, rprivate, slave, rslave, shared, rshared, nosuid, nodev, noexec, suid, dev, exec; z and Z are accepted and do nothing: usnea does not confine by SELinux, so there is nothing to relabel' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l mount -d 'Attach a file system: type=bind,source=HOST,target=CONTAINER[,readonly][,bind-propagation=...] [,bind-nonrecursive][,relabel=shared|private] or type=tmpfs,target=CONTAINER[,tmpfs-size=BYTES][,tmpfs-mode=OCTAL]' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l tmpfs -d 'Mount a tmpfs. Options: size, mode, uid, gid, nr_inodes, rw, ro, exec, noexec, suid, nosuid, dev, nodev. Default: rw,noexec,nosuid,nodev,mode=1777' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l read-only -d 'Mount the container\'s root file system read-only' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l rw-root -d 'Write to the root directory itself, without a layer that is thrown away' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l cap-add -d 'Add a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l cap-drop -d 'Drop a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l security-opt -d 'Security options: no-new-privileges[=true|false]' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l userns -d 'How IDs inside lie over those outside: host (root inside is you), keep-id[:uid=N,gid=N] (you stay yourself), nomap (you have no ID inside)' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l root-emulation -d 'Answer the system calls that need other IDs (chown, setuid, setgroups, mknod and their like) as if they were there, so that packages can be installed. auto: where the container has one ID alone, and that is root\'s' -r -f -a "auto\t'Where it has one ID alone, and that is root\'s'
seccomp\t'The IDs of processes; owners given to files are kept for a commit'
owners\t'And owners of files are shown as they were given; each look at a file takes some microseconds more'
off\t'Not at all'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l storage-driver -d 'Who stacks the layers of the root: overlay (the kernel), fuse (usnea\'s own server, which also shows files under the container\'s own IDs) or copy (nobody: they are copied). Default: the first that serves' -r -f -a "overlay\t'The kernel\'s overlay'
fuse\t'usnea\'s own overlay, by FUSE'
copy\t'Nobody: the layers are copied'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l uidmap -d 'Map user IDs yourself. Base 0 is you, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l gidmap -d 'Map group IDs yourself. Base 0 is your group, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l group-add -d 'Add the process to a group, by name (in the image\'s own accounts) or ID; keep-groups keeps your own ones' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l network -l net -d 'Network: none, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l pid -d 'PID namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l ipc -d 'IPC namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l uts -d 'UTS namespace (host name): private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l ulimit -d 'Set a resource limit of processes, such as nofile=1024:2048; -1 is unlimited; "host" keeps all of yours' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l sysctl -d 'Set a kernel parameter that belongs to a namespace of the container, such as net.ipv4.ip_forward=1' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l init -d 'Run a small init as PID 1 that forwards signals and reaps processes' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l shm-size -d 'Size of /dev/shm, such as 64m or 1g. Default: 64m' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l device -d 'Give the container a device of the host, or all devices below a folder' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l preserve-fds -d 'Hand N more open descriptors to the container, from 3 on' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l restart -d 'When the container is started again: no, on-failure[:N], always, unless-stopped' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l stop-signal -d 'The signal that asks the container to end. Default: the image\'s, else SIGTERM' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l stop-timeout -d 'How many seconds it has to do so before it is killed. Default: 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s l -l label -d 'A label' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l label-file -d 'Labels from a file, one a line' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l cidfile -d 'Write the container\'s ID to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l pidfile -d 'Write the number of the container\'s process to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l log-driver -d 'Where the output is kept: file (also json-file, k8s-file, local), journald, none, or passthrough (the command has our standard streams itself)' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l log-opt -d 'Options of the log: max-size=BYTES, max-file=N, tag=TEXT' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l detach-keys -d 'The keys that leave the terminal of a container that goes on. Default: ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l health-cmd -d 'A command that tells whether the container is well; none: not even the image\'s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l health-interval -d 'How long between two checks, such as 30s. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l health-retries -d 'How many failures in a row are ill. Default: 3' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l health-start-period -d 'How long failures do not count after the start. Default: 0s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l health-start-interval -d 'How long between two checks within the start period. Default: 5s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l health-timeout -d 'How long one check may take. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l health-on-failure -d 'What is done when it is ill' -r -f -a "none\t'Nothing'
kill\t'It is killed; its restart policy decides what is next'
restart\t'It is stopped and started again, whatever its restart policy'
stop\t'It is stopped'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l pull -d 'When an image is pulled before it is run. newer: when the registry has another one by this name' -r -f -a "missing\t'When it is not here'
always\t'Each time'
never\t'Not at all'
newer\t'When the registry has another one by this name; what is here serves when the registry cannot be asked'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l platform -d 'The image for this machine: OS/ARCH[/VARIANT]. Default: the one we run on' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l signature-policy -d 'Which images are accepted. Default: policy.json in ~/.config/containers, else in /etc/containers' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l replace -d 'Remove the container that has the name'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -l no-healthcheck -d 'No checks of health, not even the image\'s'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Pull without showing how far it is'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s e -l env -d 'Set an environment variable. NAME alone takes the host\'s value, NAME* every variable of the host that begins so' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -l env-file -d 'Read environment variables from a file: NAME=VALUE or NAME on each line, # begins a comment' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s w -l workdir -d 'Working directory inside the container. Default: the container\'s own' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s u -l user -d 'Run as this user and group, by name (in the container\'s own accounts) or ID. Default: the container\'s own' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -l preserve-fds -d 'Hand N more open descriptors to the command, from 3 on' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -l detach-keys -d 'The keys that leave the terminal, while the command goes on. Default: the container\'s own, else ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s i -l interactive -d 'Keep standard input open'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s t -l tty -d 'Give the command a terminal of its own'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s d -l detach -d 'Leave it running and come back'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s l -l latest -d 'The container that was made last; all words are the command\'s'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -l privileged -d 'All capabilities over the container, whatever its own command may do'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from exec" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from inspect" -s f -l format -d 'json, or a Go template, such as \'{{.State.Status}}\' or \'{{json .Config.Labels}}\'' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from inspect" -l type -d 'What the names are. Default: a container, else an image' -r -f -a "container\t'A container'
image\t'An image'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from inspect" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from inspect" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from inspect" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from inspect" -s s -l size -d 'Show how much disk space a container takes'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -s s -l signal -d 'The signal, by name or number' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from kill" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -s n -l tail -d 'Only the last N lines; all' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -l since -d 'Only what is as new: a time, or how long ago (10m)' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -l until -d 'Only what is as old: a time, or how long ago (10m)' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -s f -l follow -d 'Go on with what is written later, until the container ends'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -s t -l timestamps -d 'The time before each line'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -l names -d 'The container\'s name before each line'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from logs" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -s n -l last -d 'The N that were made last, whether they run or not' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -s f -l filter -d 'Only those that fit: id, name, label, label!, status, exited, ancestor, before, since, until or restart-policy, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .ID .Image .Command .CreatedAt .RunningFor .Status .State .Ports .Names .Labels .Mounts .Networks .LocalVolumes .Size .Pid .ExitCode .Restarts' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -s a -l all -d 'All containers, not only those that run'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -s l -l latest -d 'The one that was made last, whether it runs or not'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -s q -l quiet -d 'Print IDs alone'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -l no-trunc -d 'Print IDs and commands whole'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -s s -l size -d 'Show how much disk space each takes'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -l noheading -d 'Leave out the line with the names of the columns'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ps" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -s n -l last -d 'The N that were made last, whether they run or not' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -s f -l filter -d 'Only those that fit: id, name, label, label!, status, exited, ancestor, before, since, until or restart-policy, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .ID .Image .Command .CreatedAt .RunningFor .Status .State .Ports .Names .Labels .Mounts .Networks .LocalVolumes .Size .Pid .ExitCode .Restarts' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -s a -l all -d 'All containers, not only those that run'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -s l -l latest -d 'The one that was made last, whether it runs or not'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print IDs alone'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -l no-trunc -d 'Print IDs and commands whole'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -s s -l size -d 'Show how much disk space each takes'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -l noheading -d 'Leave out the line with the names of the columns'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -s n -l last -d 'The N that were made last, whether they run or not' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -s f -l filter -d 'Only those that fit: id, name, label, label!, status, exited, ancestor, before, since, until or restart-policy, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .ID .Image .Command .CreatedAt .RunningFor .Status .State .Ports .Names .Labels .Mounts .Networks .LocalVolumes .Size .Pid .ExitCode .Restarts' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -s a -l all -d 'All containers, not only those that run'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -s l -l latest -d 'The one that was made last, whether it runs or not'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print IDs alone'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -l no-trunc -d 'Print IDs and commands whole'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -s s -l size -d 'Show how much disk space each takes'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -l noheading -d 'Leave out the line with the names of the columns'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from prune" -l filter -d 'Only those that fit: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from prune" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from prune" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rename" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rename" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rename" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -s t -l time -l timeout -d 'How many seconds the command has to end; -1: as long as it takes. Default: the container\'s own, else 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from restart" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -s t -l time -d 'How many seconds a running one has to end, with --force. Default: 0' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -s f -l force -d 'Kill a container that runs; one that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -s v -l volumes -d 'Remove its anonymous volumes too'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -s i -l ignore -d 'A container that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s d -l detach -d 'Leave it running: print its ID and come back' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l sig-proxy -d 'Signals that come to us are the command\'s' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s i -l interactive -d 'Keep standard input open' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s t -l tty -d 'Give the container a terminal of its own' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l rm -d 'Remove the container when it exits' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l name -d 'Name the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s h -l hostname -d 'Set the container\'s host name. Default: the first 12 digits of its ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l entrypoint -d 'Run this program instead of the image\'s; empty: only the command that is given. Podman\'s JSON array is taken too' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s e -l env -d 'Set an environment variable. NAME alone takes the host\'s value, NAME* every variable of the host that begins so' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l env-file -d 'Read environment variables from a file: NAME=VALUE or NAME on each line, # begins a comment' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s w -l workdir -d 'Working directory inside the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s u -l user -d 'Run as this user and group, by name (in the image\'s own accounts) or ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s v -l volume -d 'Bind a file or folder of the host into the container. Options: ro, rw, O (changes go to a layer that is thrown away), bind, rbind, private, rprivate, slave, rslave, shared, rshared, nosuid, nodev, noexec, suid, dev, exec; z and Z are accepted and do nothing: usnea does not confine by SELinux, so there is nothing to relabel' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l mount -d 'Attach a file system: type=bind,source=HOST,target=CONTAINER[,readonly][,bind-propagation=...] [,bind-nonrecursive][,relabel=shared|private] or type=tmpfs,target=CONTAINER[,tmpfs-size=BYTES][,tmpfs-mode=OCTAL]' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l tmpfs -d 'Mount a tmpfs. Options: size, mode, uid, gid, nr_inodes, rw, ro, exec, noexec, suid, nosuid, dev, nodev. Default: rw,noexec,nosuid,nodev,mode=1777' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l read-only -d 'Mount the container\'s root file system read-only' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l rw-root -d 'Write to the root directory itself, without a layer that is thrown away' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l cap-add -d 'Add a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l cap-drop -d 'Drop a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l security-opt -d 'Security options: no-new-privileges[=true|false]' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l userns -d 'How IDs inside lie over those outside: host (root inside is you), keep-id[:uid=N,gid=N] (you stay yourself), nomap (you have no ID inside)' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l root-emulation -d 'Answer the system calls that need other IDs (chown, setuid, setgroups, mknod and their like) as if they were there, so that packages can be installed. auto: where the container has one ID alone, and that is root\'s' -r -f -a "auto\t'Where it has one ID alone, and that is root\'s'
seccomp\t'The IDs of processes; owners given to files are kept for a commit'
owners\t'And owners of files are shown as they were given; each look at a file takes some microseconds more'
off\t'Not at all'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l storage-driver -d 'Who stacks the layers of the root: overlay (the kernel), fuse (usnea\'s own server, which also shows files under the container\'s own IDs) or copy (nobody: they are copied). Default: the first that serves' -r -f -a "overlay\t'The kernel\'s overlay'
fuse\t'usnea\'s own overlay, by FUSE'
copy\t'Nobody: the layers are copied'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l uidmap -d 'Map user IDs yourself. Base 0 is you, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l gidmap -d 'Map group IDs yourself. Base 0 is your group, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l group-add -d 'Add the process to a group, by name (in the image\'s own accounts) or ID; keep-groups keeps your own ones' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l network -l net -d 'Network: none, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l pid -d 'PID namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l ipc -d 'IPC namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l uts -d 'UTS namespace (host name): private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l ulimit -d 'Set a resource limit of processes, such as nofile=1024:2048; -1 is unlimited; "host" keeps all of yours' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l sysctl -d 'Set a kernel parameter that belongs to a namespace of the container, such as net.ipv4.ip_forward=1' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l init -d 'Run a small init as PID 1 that forwards signals and reaps processes' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l shm-size -d 'Size of /dev/shm, such as 64m or 1g. Default: 64m' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l device -d 'Give the container a device of the host, or all devices below a folder' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l preserve-fds -d 'Hand N more open descriptors to the container, from 3 on' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l restart -d 'When the container is started again: no, on-failure[:N], always, unless-stopped' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l stop-signal -d 'The signal that asks the container to end. Default: the image\'s, else SIGTERM' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l stop-timeout -d 'How many seconds it has to do so before it is killed. Default: 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s l -l label -d 'A label' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l label-file -d 'Labels from a file, one a line' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l cidfile -d 'Write the container\'s ID to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l pidfile -d 'Write the number of the container\'s process to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l log-driver -d 'Where the output is kept: file (also json-file, k8s-file, local), journald, none, or passthrough (the command has our standard streams itself)' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l log-opt -d 'Options of the log: max-size=BYTES, max-file=N, tag=TEXT' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l detach-keys -d 'The keys that leave the terminal of a container that goes on. Default: ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l health-cmd -d 'A command that tells whether the container is well; none: not even the image\'s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l health-interval -d 'How long between two checks, such as 30s. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l health-retries -d 'How many failures in a row are ill. Default: 3' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l health-start-period -d 'How long failures do not count after the start. Default: 0s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l health-start-interval -d 'How long between two checks within the start period. Default: 5s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l health-timeout -d 'How long one check may take. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l health-on-failure -d 'What is done when it is ill' -r -f -a "none\t'Nothing'
kill\t'It is killed; its restart policy decides what is next'
restart\t'It is stopped and started again, whatever its restart policy'
stop\t'It is stopped'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l pull -d 'When an image is pulled before it is run. newer: when the registry has another one by this name' -r -f -a "missing\t'When it is not here'
always\t'Each time'
never\t'Not at all'
newer\t'When the registry has another one by this name; what is here serves when the registry cannot be asked'"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l platform -d 'The image for this machine: OS/ARCH[/VARIANT]. Default: the one we run on' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l signature-policy -d 'Which images are accepted. Default: policy.json in ~/.config/containers, else in /etc/containers' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l explain -d 'Print the steps as the commands that an administrator would type, and do nothing'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l replace -d 'Remove the container that has the name'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -l no-healthcheck -d 'No checks of health, not even the image\'s'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Pull without showing how far it is'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -l detach-keys -d 'The keys that leave its terminal. Default: ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -l sig-proxy -d 'Signals that come to us are its own; with --attach' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -s a -l attach -d 'Stay with it: its output is ours, and so is its exit status'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -s i -l interactive -d 'Our standard input is its too; with --attach'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -s t -l time -l timeout -d 'How many seconds it has to end; -1: as long as it takes. Default: the container\'s own, else 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -s i -l ignore -d 'A container that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from top" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from top" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from top" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from wait" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from wait" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from wait" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from wait" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from wait" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from wait" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand container; and __fish_seen_subcommand_from wait" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand create" -s i -l interactive -d 'Keep standard input open' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -s t -l tty -d 'Give the container a terminal of its own' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l rm -d 'Remove the container when it exits' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l name -d 'Name the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -s h -l hostname -d 'Set the container\'s host name. Default: the first 12 digits of its ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l entrypoint -d 'Run this program instead of the image\'s; empty: only the command that is given. Podman\'s JSON array is taken too' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -s e -l env -d 'Set an environment variable. NAME alone takes the host\'s value, NAME* every variable of the host that begins so' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l env-file -d 'Read environment variables from a file: NAME=VALUE or NAME on each line, # begins a comment' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -s w -l workdir -d 'Working directory inside the container' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -s u -l user -d 'Run as this user and group, by name (in the image\'s own accounts) or ID' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -s v -l volume -d 'Bind a file or folder of the host into the container. Options: ro, rw, O (changes go to a layer that is thrown away), bind, rbind, private, rprivate, slave, rslave, shared, rshared, nosuid, nodev, noexec, suid, dev, exec; z and Z are accepted and do nothing: usnea does not confine by SELinux, so there is nothing to relabel' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l mount -d 'Attach a file system: type=bind,source=HOST,target=CONTAINER[,readonly][,bind-propagation=...] [,bind-nonrecursive][,relabel=shared|private] or type=tmpfs,target=CONTAINER[,tmpfs-size=BYTES][,tmpfs-mode=OCTAL]' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l tmpfs -d 'Mount a tmpfs. Options: size, mode, uid, gid, nr_inodes, rw, ro, exec, noexec, suid, nosuid, dev, nodev. Default: rw,noexec,nosuid,nodev,mode=1777' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l read-only -d 'Mount the container\'s root file system read-only' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l rw-root -d 'Write to the root directory itself, without a layer that is thrown away' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l cap-add -d 'Add a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l cap-drop -d 'Drop a capability, or ALL' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l security-opt -d 'Security options: no-new-privileges[=true|false]' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l userns -d 'How IDs inside lie over those outside: host (root inside is you), keep-id[:uid=N,gid=N] (you stay yourself), nomap (you have no ID inside)' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l root-emulation -d 'Answer the system calls that need other IDs (chown, setuid, setgroups, mknod and their like) as if they were there, so that packages can be installed. auto: where the container has one ID alone, and that is root\'s' -r -f -a "auto\t'Where it has one ID alone, and that is root\'s'
seccomp\t'The IDs of processes; owners given to files are kept for a commit'
owners\t'And owners of files are shown as they were given; each look at a file takes some microseconds more'
off\t'Not at all'"
complete -c usnea -n "__fish_usnea_using_subcommand create" -l storage-driver -d 'Who stacks the layers of the root: overlay (the kernel), fuse (usnea\'s own server, which also shows files under the container\'s own IDs) or copy (nobody: they are copied). Default: the first that serves' -r -f -a "overlay\t'The kernel\'s overlay'
fuse\t'usnea\'s own overlay, by FUSE'
copy\t'Nobody: the layers are copied'"
complete -c usnea -n "__fish_usnea_using_subcommand create" -l uidmap -d 'Map user IDs yourself. Base 0 is you, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l gidmap -d 'Map group IDs yourself. Base 0 is your group, 1 and following are your subordinate IDs' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l group-add -d 'Add the process to a group, by name (in the image\'s own accounts) or ID; keep-groups keeps your own ones' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l network -l net -d 'Network: none, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l pid -d 'PID namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l ipc -d 'IPC namespace: private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l uts -d 'UTS namespace (host name): private, or host' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l ulimit -d 'Set a resource limit of processes, such as nofile=1024:2048; -1 is unlimited; "host" keeps all of yours' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l sysctl -d 'Set a kernel parameter that belongs to a namespace of the container, such as net.ipv4.ip_forward=1' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l init -d 'Run a small init as PID 1 that forwards signals and reaps processes' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l shm-size -d 'Size of /dev/shm, such as 64m or 1g. Default: 64m' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l device -d 'Give the container a device of the host, or all devices below a folder' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l preserve-fds -d 'Hand N more open descriptors to the container, from 3 on' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l restart -d 'When the container is started again: no, on-failure[:N], always, unless-stopped' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l stop-signal -d 'The signal that asks the container to end. Default: the image\'s, else SIGTERM' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l stop-timeout -d 'How many seconds it has to do so before it is killed. Default: 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -s l -l label -d 'A label' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l label-file -d 'Labels from a file, one a line' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -l cidfile -d 'Write the container\'s ID to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -l pidfile -d 'Write the number of the container\'s process to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -l log-driver -d 'Where the output is kept: file (also json-file, k8s-file, local), journald, none, or passthrough (the command has our standard streams itself)' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l log-opt -d 'Options of the log: max-size=BYTES, max-file=N, tag=TEXT' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l detach-keys -d 'The keys that leave the terminal of a container that goes on. Default: ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l health-cmd -d 'A command that tells whether the container is well; none: not even the image\'s' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l health-interval -d 'How long between two checks, such as 30s. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l health-retries -d 'How many failures in a row are ill. Default: 3' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l health-start-period -d 'How long failures do not count after the start. Default: 0s' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l health-start-interval -d 'How long between two checks within the start period. Default: 5s' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l health-timeout -d 'How long one check may take. Default: 30s' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l health-on-failure -d 'What is done when it is ill' -r -f -a "none\t'Nothing'
kill\t'It is killed; its restart policy decides what is next'
restart\t'It is stopped and started again, whatever its restart policy'
stop\t'It is stopped'"
complete -c usnea -n "__fish_usnea_using_subcommand create" -l pull -d 'When an image is pulled before it is run. newer: when the registry has another one by this name' -r -f -a "missing\t'When it is not here'
always\t'Each time'
never\t'Not at all'
newer\t'When the registry has another one by this name; what is here serves when the registry cannot be asked'"
complete -c usnea -n "__fish_usnea_using_subcommand create" -l platform -d 'The image for this machine: OS/ARCH[/VARIANT]. Default: the one we run on' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand create" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand create" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -l signature-policy -d 'Which images are accepted. Default: policy.json in ~/.config/containers, else in /etc/containers' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand create" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand create" -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand create" -l replace -d 'Remove the container that has the name'
complete -c usnea -n "__fish_usnea_using_subcommand create" -l no-healthcheck -d 'No checks of health, not even the image\'s'
complete -c usnea -n "__fish_usnea_using_subcommand create" -s q -l quiet -d 'Pull without showing how far it is'
complete -c usnea -n "__fish_usnea_using_subcommand start" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand start" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand start" -l detach-keys -d 'The keys that leave its terminal. Default: ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand start" -l sig-proxy -d 'Signals that come to us are its own; with --attach' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand start" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand start" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand start" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand start" -s a -l attach -d 'Stay with it: its output is ours, and so is its exit status'
complete -c usnea -n "__fish_usnea_using_subcommand start" -s i -l interactive -d 'Our standard input is its too; with --attach'
complete -c usnea -n "__fish_usnea_using_subcommand start" -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand start" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand stop" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand stop" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand stop" -s t -l time -l timeout -d 'How many seconds it has to end; -1: as long as it takes. Default: the container\'s own, else 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand stop" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand stop" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand stop" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand stop" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand stop" -s i -l ignore -d 'A container that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand stop" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand restart" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand restart" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand restart" -s t -l time -l timeout -d 'How many seconds the command has to end; -1: as long as it takes. Default: the container\'s own, else 10' -r
complete -c usnea -n "__fish_usnea_using_subcommand restart" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand restart" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand restart" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand restart" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand restart" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand kill" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand kill" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand kill" -s s -l signal -d 'The signal, by name or number' -r
complete -c usnea -n "__fish_usnea_using_subcommand kill" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand kill" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand kill" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand kill" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand kill" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand rm" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand rm" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand rm" -s t -l time -d 'How many seconds a running one has to end, with --force. Default: 0' -r
complete -c usnea -n "__fish_usnea_using_subcommand rm" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand rm" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand rm" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand rm" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand rm" -s f -l force -d 'Kill a container that runs; one that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand rm" -s v -l volumes -d 'Remove its anonymous volumes too'
complete -c usnea -n "__fish_usnea_using_subcommand rm" -s i -l ignore -d 'A container that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand rm" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand ps" -s n -l last -d 'The N that were made last, whether they run or not' -r
complete -c usnea -n "__fish_usnea_using_subcommand ps" -s f -l filter -d 'Only those that fit: id, name, label, label!, status, exited, ancestor, before, since, until or restart-policy, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand ps" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .ID .Image .Command .CreatedAt .RunningFor .Status .State .Ports .Names .Labels .Mounts .Networks .LocalVolumes .Size .Pid .ExitCode .Restarts' -r
complete -c usnea -n "__fish_usnea_using_subcommand ps" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand ps" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand ps" -s a -l all -d 'All containers, not only those that run'
complete -c usnea -n "__fish_usnea_using_subcommand ps" -s l -l latest -d 'The one that was made last, whether it runs or not'
complete -c usnea -n "__fish_usnea_using_subcommand ps" -s q -l quiet -d 'Print IDs alone'
complete -c usnea -n "__fish_usnea_using_subcommand ps" -l no-trunc -d 'Print IDs and commands whole'
complete -c usnea -n "__fish_usnea_using_subcommand ps" -s s -l size -d 'Show how much disk space each takes'
complete -c usnea -n "__fish_usnea_using_subcommand ps" -l noheading -d 'Leave out the line with the names of the columns'
complete -c usnea -n "__fish_usnea_using_subcommand ps" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand logs" -s n -l tail -d 'Only the last N lines; all' -r
complete -c usnea -n "__fish_usnea_using_subcommand logs" -l since -d 'Only what is as new: a time, or how long ago (10m)' -r
complete -c usnea -n "__fish_usnea_using_subcommand logs" -l until -d 'Only what is as old: a time, or how long ago (10m)' -r
complete -c usnea -n "__fish_usnea_using_subcommand logs" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand logs" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand logs" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand logs" -s f -l follow -d 'Go on with what is written later, until the container ends'
complete -c usnea -n "__fish_usnea_using_subcommand logs" -s t -l timestamps -d 'The time before each line'
complete -c usnea -n "__fish_usnea_using_subcommand logs" -l names -d 'The container\'s name before each line'
complete -c usnea -n "__fish_usnea_using_subcommand logs" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand attach" -l detach-keys -d 'The keys that leave its terminal. Default: the container\'s own, else ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand attach" -l sig-proxy -d 'Signals that come to us are its own' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand attach" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand attach" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand attach" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand attach" -l no-stdin -d 'Leave its input alone'
complete -c usnea -n "__fish_usnea_using_subcommand attach" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s e -l env -d 'Set an environment variable. NAME alone takes the host\'s value, NAME* every variable of the host that begins so' -r
complete -c usnea -n "__fish_usnea_using_subcommand exec" -l env-file -d 'Read environment variables from a file: NAME=VALUE or NAME on each line, # begins a comment' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s w -l workdir -d 'Working directory inside the container. Default: the container\'s own' -r
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s u -l user -d 'Run as this user and group, by name (in the container\'s own accounts) or ID. Default: the container\'s own' -r
complete -c usnea -n "__fish_usnea_using_subcommand exec" -l preserve-fds -d 'Hand N more open descriptors to the command, from 3 on' -r
complete -c usnea -n "__fish_usnea_using_subcommand exec" -l detach-keys -d 'The keys that leave the terminal, while the command goes on. Default: the container\'s own, else ctrl-p,ctrl-q' -r
complete -c usnea -n "__fish_usnea_using_subcommand exec" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand exec" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s i -l interactive -d 'Keep standard input open'
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s t -l tty -d 'Give the command a terminal of its own'
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s d -l detach -d 'Leave it running and come back'
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s l -l latest -d 'The container that was made last; all words are the command\'s'
complete -c usnea -n "__fish_usnea_using_subcommand exec" -l privileged -d 'All capabilities over the container, whatever its own command may do'
complete -c usnea -n "__fish_usnea_using_subcommand exec" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand healthcheck; and not __fish_seen_subcommand_from run" -f -a "run" -d 'Check a container now'
complete -c usnea -n "__fish_usnea_using_subcommand healthcheck; and __fish_seen_subcommand_from run" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand healthcheck; and __fish_seen_subcommand_from run" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand healthcheck; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand wait" -l filter -d 'Those that fit: id, name, label, label!, status, exited, ancestor, before, since, until, restart-policy or health, =, and a value. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand wait" -l cidfile -d 'The container whose ID is in this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand wait" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand wait" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand wait" -s a -l all -d 'All containers'
complete -c usnea -n "__fish_usnea_using_subcommand wait" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand wait" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand inspect" -s f -l format -d 'json, or a Go template, such as \'{{.State.Status}}\' or \'{{json .Config.Labels}}\'' -r
complete -c usnea -n "__fish_usnea_using_subcommand inspect" -l type -d 'What the names are. Default: a container, else an image' -r -f -a "container\t'A container'
image\t'An image'"
complete -c usnea -n "__fish_usnea_using_subcommand inspect" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand inspect" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand inspect" -s l -l latest -d 'The container that was made last'
complete -c usnea -n "__fish_usnea_using_subcommand inspect" -s s -l size -d 'Show how much disk space a container takes'
complete -c usnea -n "__fish_usnea_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand rename" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand rename" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand rename" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand top" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand top" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand top" -s h -l help -d 'Print help'
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
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l root-emulation -d 'Answer the system calls that need other IDs (chown, setuid, setgroups, mknod and their like) as if they were there, so that packages can be installed. auto: where the container has one ID alone, and that is root\'s' -r -f -a "auto\t'Where it has one ID alone, and that is root\'s'
seccomp\t'The IDs of processes; owners given to files are kept for a commit'
owners\t'And owners of files are shown as they were given; each look at a file takes some microseconds more'
off\t'Not at all'"
complete -c usnea -n "__fish_usnea_using_subcommand spec" -l storage-driver -d 'Who stacks the layers of the root: overlay (the kernel), fuse (usnea\'s own server, which also shows files under the container\'s own IDs) or copy (nobody: they are copied). Default: the first that serves' -r -f -a "overlay\t'The kernel\'s overlay'
fuse\t'usnea\'s own overlay, by FUSE'
copy\t'Nobody: the layers are copied'"
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
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "ls" -d 'List images'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "list" -d 'List images'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "inspect" -d 'Show all that is known of images'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "history" -d 'Show what made the layers of an image, the newest first'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "tree" -d 'Show the layers of images, how large they are, and which images share them'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "exists" -d 'Exit with 0 when the image is here, with 1 when it is not'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "pull" -d 'Pull images from a registry, a layout or an archive'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "push" -d 'Push an image to a registry, a layout or an archive'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "save" -d 'Write images to an archive'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "load" -d 'Load images from an archive'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "import" -d 'Make an image of a root directory\'s tarball'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "export" -d 'Write the file system of an image as one tar'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "rm" -d 'Remove images'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "remove" -d 'Remove images'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "tag" -d 'Give an image more names'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "untag" -d 'Take names from an image'
complete -c usnea -n "__fish_usnea_using_subcommand image; and not __fish_seen_subcommand_from ls list inspect history tree exists pull push save load import export rm remove tag untag prune" -f -a "prune" -d 'Remove images without a name, and what no image needs'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -s f -l filter -d 'Only some: reference=PATTERN, dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -l sort -d 'The order' -r -f -a "created\t'The newest first'
id\t''
repository\t''
size\t'The largest first'
tag\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .Repository .Tag .ID .Digest .CreatedSince .CreatedAt .Size .ReadOnly' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -s a -l all -d 'All images. There are no intermediate ones to hide: the same list, for scripts that ask so'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print IDs alone, each once'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -l no-trunc -d 'Print IDs whole'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -l digests -d 'Show digests too'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -s n -l noheading -d 'Leave out the line with the names of the columns'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -s f -l filter -d 'Only some: reference=PATTERN, dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -l sort -d 'The order' -r -f -a "created\t'The newest first'
id\t''
repository\t''
size\t'The largest first'
tag\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .Repository .Tag .ID .Digest .CreatedSince .CreatedAt .Size .ReadOnly' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -s a -l all -d 'All images. There are no intermediate ones to hide: the same list, for scripts that ask so'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print IDs alone, each once'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -l no-trunc -d 'Print IDs whole'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -l digests -d 'Show digests too'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -s n -l noheading -d 'Leave out the line with the names of the columns'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from inspect" -s f -l format -d 'json, or a Go template, such as \'{{.Config.User}}\' or \'{{json .RootFS.Layers}}\'' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from inspect" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from inspect" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from history" -s H -l human -d 'Sizes and times for people; false: bytes, and times as in RFC 3339' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from history" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .ID .CreatedSince .CreatedAt .CreatedBy .Size .Comment' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from history" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from history" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from history" -l no-trunc -d 'Print IDs and commands whole'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from history" -s q -l quiet -d 'Print IDs alone'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tree" -l format -d 'json, table [TEMPLATE], or a Go template, once for each image. Fields: .ID .Names .Size .Packed .Unique .Shared .Layers; of each layer .DiffID .Blob .Size .Packed .SharedWith. Sizes in bytes' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tree" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tree" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tree" -l no-trunc -d 'Print digests whole'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tree" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from exists" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from exists" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from exists" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l platform -d 'The image for this machine: OS/ARCH[/VARIANT]. Default: the one we run on' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l signature-policy -d 'Which images are accepted. Default: policy.json in ~/.config/containers, else in /etc/containers' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -s q -l quiet -d 'Print nothing but the image\'s ID'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from pull" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -l digestfile -d 'Write the digest of the manifest, as it is there, to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -s q -l quiet -d 'Print nothing but where it is now'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from push" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from save" -s o -l output -d 'Write to this file, or with oci-dir into this folder. Default: standard output, which must not be a terminal' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from save" -l format -d 'What is written' -r -f -a "docker-archive\t'As docker save writes it: layers without compression'
oci-archive\t'A tar of an OCI image layout: everything as it was pulled'
oci-dir\t'The folder of an OCI image layout'"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from save" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from save" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from save" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from load" -s i -l input -d 'Read this file or folder. Default: standard input' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from load" -l platform -d 'Of an image for several platforms, the one for this: OS/ARCH[/VARIANT]. Default: this machine\'s' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from load" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from load" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from load" -s q -l quiet -d 'Print nothing'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from load" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from import" -s c -l change -d 'An instruction for its config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR, as in a Dockerfile. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from import" -s m -l message -d 'The remark in its history. Default: where it was imported from' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from import" -l platform -d 'For which machine it is: OS/ARCH[/VARIANT]. Default: this one' -r
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from import" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from import" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Do not print the ID'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from export" -s o -l output -d 'Write to this file. Default: standard output, which must not be a terminal' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from export" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from export" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from rm" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from rm" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from rm" -s f -l force -d 'Remove an image by its ID even if it has several names'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from rm" -s i -l ignore -d 'An image that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from remove" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from remove" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from remove" -s f -l force -d 'Remove an image by its ID even if it has several names'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from remove" -s i -l ignore -d 'An image that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tag" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tag" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from tag" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from untag" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from untag" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from untag" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from prune" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from prune" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from prune" -s a -l all -d 'Remove all images that no container runs on, those with names too'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c usnea -n "__fish_usnea_using_subcommand image; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand images" -s f -l filter -d 'Only some: reference=PATTERN, dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand images" -l sort -d 'The order' -r -f -a "created\t'The newest first'
id\t''
repository\t''
size\t'The largest first'
tag\t''"
complete -c usnea -n "__fish_usnea_using_subcommand images" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .Repository .Tag .ID .Digest .CreatedSince .CreatedAt .Size .ReadOnly' -r
complete -c usnea -n "__fish_usnea_using_subcommand images" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand images" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand images" -s a -l all -d 'All images. There are no intermediate ones to hide: the same list, for scripts that ask so'
complete -c usnea -n "__fish_usnea_using_subcommand images" -s q -l quiet -d 'Print IDs alone, each once'
complete -c usnea -n "__fish_usnea_using_subcommand images" -l no-trunc -d 'Print IDs whole'
complete -c usnea -n "__fish_usnea_using_subcommand images" -l digests -d 'Show digests too'
complete -c usnea -n "__fish_usnea_using_subcommand images" -s n -l noheading -d 'Leave out the line with the names of the columns'
complete -c usnea -n "__fish_usnea_using_subcommand images" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l platform -d 'The image for this machine: OS/ARCH[/VARIANT]. Default: the one we run on' -r
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l signature-policy -d 'Which images are accepted. Default: policy.json in ~/.config/containers, else in /etc/containers' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand pull" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand pull" -s q -l quiet -d 'Print nothing but the image\'s ID'
complete -c usnea -n "__fish_usnea_using_subcommand pull" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand history" -s H -l human -d 'Sizes and times for people; false: bytes, and times as in RFC 3339' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand history" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .ID .CreatedSince .CreatedAt .CreatedBy .Size .Comment' -r
complete -c usnea -n "__fish_usnea_using_subcommand history" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand history" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand history" -l no-trunc -d 'Print IDs and commands whole'
complete -c usnea -n "__fish_usnea_using_subcommand history" -s q -l quiet -d 'Print IDs alone'
complete -c usnea -n "__fish_usnea_using_subcommand history" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand push" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand push" -l creds -d 'Who you are for the registry, in the place of a login. Without a password it is asked for; one that is given here can be seen by others in ps' -r
complete -c usnea -n "__fish_usnea_using_subcommand push" -l authfile -d 'Look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand push" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand push" -l digestfile -d 'Write the digest of the manifest, as it is there, to this file' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand push" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand push" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand push" -s q -l quiet -d 'Print nothing but where it is now'
complete -c usnea -n "__fish_usnea_using_subcommand push" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand save" -s o -l output -d 'Write to this file, or with oci-dir into this folder. Default: standard output, which must not be a terminal' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand save" -l format -d 'What is written' -r -f -a "docker-archive\t'As docker save writes it: layers without compression'
oci-archive\t'A tar of an OCI image layout: everything as it was pulled'
oci-dir\t'The folder of an OCI image layout'"
complete -c usnea -n "__fish_usnea_using_subcommand save" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand save" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand save" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand load" -s i -l input -d 'Read this file or folder. Default: standard input' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand load" -l platform -d 'Of an image for several platforms, the one for this: OS/ARCH[/VARIANT]. Default: this machine\'s' -r
complete -c usnea -n "__fish_usnea_using_subcommand load" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand load" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand load" -s q -l quiet -d 'Print nothing'
complete -c usnea -n "__fish_usnea_using_subcommand load" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand import" -s c -l change -d 'An instruction for its config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR, as in a Dockerfile. May be given more than once' -r
complete -c usnea -n "__fish_usnea_using_subcommand import" -s m -l message -d 'The remark in its history. Default: where it was imported from' -r
complete -c usnea -n "__fish_usnea_using_subcommand import" -l platform -d 'For which machine it is: OS/ARCH[/VARIANT]. Default: this one' -r
complete -c usnea -n "__fish_usnea_using_subcommand import" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand import" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand import" -s q -l quiet -d 'Do not print the ID'
complete -c usnea -n "__fish_usnea_using_subcommand import" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand export" -s o -l output -d 'Write to this file. Default: standard output, which must not be a terminal' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand export" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand export" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand export" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand rmi" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand rmi" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand rmi" -s f -l force -d 'Remove an image by its ID even if it has several names'
complete -c usnea -n "__fish_usnea_using_subcommand rmi" -s i -l ignore -d 'An image that is not here is no error'
complete -c usnea -n "__fish_usnea_using_subcommand rmi" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand tag" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand tag" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand tag" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand untag" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand untag" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand untag" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand system; and not __fish_seen_subcommand_from df prune" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand system; and not __fish_seen_subcommand_from df prune" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand system; and not __fish_seen_subcommand_from df prune" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand system; and not __fish_seen_subcommand_from df prune" -f -a "df" -d 'Show what takes how much of the disk'
complete -c usnea -n "__fish_usnea_using_subcommand system; and not __fish_seen_subcommand_from df prune" -f -a "prune" -d 'Remove what nobody needs'
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from df" -l format -d 'json, table [TEMPLATE], or a Go template. Fields: .Type .TotalCount .Active .Size .Reclaimable; with --verbose .Repository .Tag .ID .CreatedSince .Size .SharedSize .UniqueSize .InUse' -r
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from df" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from df" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from df" -s v -l verbose -d 'Show each image'
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from df" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from prune" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from prune" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from prune" -s a -l all -d 'Remove all images that no container runs on, those with names too'
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from prune" -s f -l force -d 'Do not ask'
complete -c usnea -n "__fish_usnea_using_subcommand system; and __fish_seen_subcommand_from prune" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand check" -l format -d 'How the faults are printed' -r -f -a "text\t'A line for each'
json\t'One array of objects: what, fault, images, outcome (found, mended, left), how'"
complete -c usnea -n "__fish_usnea_using_subcommand check" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand check" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand check" -l repair -d 'Mend what can be mended: unpack layers anew, remove what is damaged, make the list of images anew'
complete -c usnea -n "__fish_usnea_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c usnea -n "__fish_usnea_using_subcommand login" -s u -l username -d 'User name' -r
complete -c usnea -n "__fish_usnea_using_subcommand login" -s p -l password -d 'Password. Every user of the machine can see it in ps: --password-stdin is safer' -r
complete -c usnea -n "__fish_usnea_using_subcommand login" -l authfile -d 'Keep and look up logins in this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand login" -l cert-dir -d 'Certificates for the registry: *.crt authorities, *.cert with *.key who we are' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand login" -l tls-verify -d 'Require HTTPS with a certificate that holds; false: any certificate, or plain HTTP. Default: true, unless registries.conf says that the registry is insecure' -r -f -a "true\t''
false\t''"
complete -c usnea -n "__fish_usnea_using_subcommand login" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand login" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand login" -l password-stdin -d 'Read the password from standard input'
complete -c usnea -n "__fish_usnea_using_subcommand login" -l get-login -d 'Print the name with which you are logged in, and do nothing'
complete -c usnea -n "__fish_usnea_using_subcommand login" -s v -l verbose -d 'Say where the login is kept'
complete -c usnea -n "__fish_usnea_using_subcommand login" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand logout" -l authfile -d 'Take the login out of this file. Default: $REGISTRY_AUTH_FILE' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand logout" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand logout" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand logout" -s a -l all -d 'Forget the logins for all registries'
complete -c usnea -n "__fish_usnea_using_subcommand logout" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand mount; and not __fish_seen_subcommand_from overlay" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand mount; and not __fish_seen_subcommand_from overlay" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand mount; and not __fish_seen_subcommand_from overlay" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand mount; and not __fish_seen_subcommand_from overlay" -f -a "overlay" -d 'Mount folders over each other, by FUSE'
complete -c usnea -n "__fish_usnea_using_subcommand mount; and __fish_seen_subcommand_from overlay" -s o -l options -d 'Options with commas between: lowerdir=DIR[:DIR...], upperdir=DIR and workdir=DIR (else nothing can be written), uidmapping= and gidmapping=DISK:SHOWN:COUNT[:...], xattr_permissions=2 (owners are kept in attributes), X-mount.idmap=/proc/PID/ns/user (kernel 6.12), ro, nosuid, nodev, noexec, noatime' -r
complete -c usnea -n "__fish_usnea_using_subcommand mount; and __fish_seen_subcommand_from overlay" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand mount; and __fish_seen_subcommand_from overlay" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand mount; and __fish_seen_subcommand_from overlay" -s f -l foreground -d 'Stay until the mount is gone; otherwise the command ends when the mount is ready'
complete -c usnea -n "__fish_usnea_using_subcommand mount; and __fish_seen_subcommand_from overlay" -s h -l help -d 'Print help'
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -l format -d 'How to print: a page to read, or an array of objects with name, status, found, costs and fix' -r -f -a "table\t'A page to read'
json\t'An array of objects'"
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -l root -d 'Keep usnea\'s files in this folder. Default: $USNEA_ROOT, else $XDG_DATA_HOME/usnea, else ~/.local/share/usnea' -r -F
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -l log-level -d 'Say more or less on standard error; debug prints each step of a launch with its time' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c usnea -n "__fish_usnea_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
