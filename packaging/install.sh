#!/bin/sh
# Installs usnea from the unpacked archive in which this file lies; needs no root.
#
#   ./install.sh [--prefix DIR] [--destdir DIR]     default prefix: ~/.local
#   ./install.sh --uninstall [--prefix DIR] [--destdir DIR]
#
# Images, containers and settings of users are never touched. With --destdir, files are put below DIR for a package, and
# nothing is checked. The list of installed files is PREFIX/share/doc/usnea/installed-files: --uninstall removes these files alone.
set -eu
umask 022

prefix=${HOME:+$HOME/.local} destdir='' uninstall=no
usage() {
    sed -n '2,7s/^# \{0,1\}//p' "$0"
}
fail() {
    echo "install.sh: $*" >&2
    exit 1
}
while [ $# -gt 0 ]; do
    case $1 in
        --prefix=*) prefix=${1#*=} ;;
        --destdir=*) destdir=${1#*=} ;;
        --prefix | --destdir)
            [ $# -ge 2 ] || fail "$1 needs a directory"
            if [ "$1" = --prefix ]; then prefix=$2; else destdir=$2; fi
            shift
            ;;
        --uninstall) uninstall=yes ;;
        -h | --help) usage && exit 0 ;;
        *) fail "unknown argument $1 (--help shows the usage)" ;;
    esac
    shift
done
[ -n "$prefix" ] || fail "HOME is not set: name a directory by --prefix"
case $prefix in
    /*) ;;
    *) fail "--prefix $prefix is not an absolute path" ;;
esac
here=$(cd "$(dirname "$0")" && pwd -P)
prefix=${prefix%/}
list=$prefix/share/doc/usnea/installed-files

# put MODE FILE TARGET: installs a file; TARGET is relative to the prefix, or absolute.
put() {
    target=$3
    case $target in
        /*) ;;
        *) target=$prefix/$target ;;
    esac
    mkdir -p "$destdir${target%/*}"
    # A running program cannot be written to, only replaced.
    rm -f "$destdir$target"
    cp "$2" "$destdir$target"
    chmod "$1" "$destdir$target"
    record "$target"
}

# link CONTENT TARGET: makes a symbolic link; TARGET is relative to the prefix.
link() {
    mkdir -p "$destdir$prefix/$(dirname "$2")"
    ln -sfn "$1" "$destdir$prefix/$2"
    record "$prefix/$2"
}

record() { [ -n "$destdir" ] || echo "$1" >> "$new_list"; }

install_files() {
    put 755 "$here/usnea" bin/usnea
    link usnea bin/usnea-oci
    for page in "$here"/man/*.[17]; do
        put 644 "$page" "share/man/man${page##*.}/${page##*/}"
    done
    put 644 "$here/completions/usnea.bash" share/bash-completion/completions/usnea
    put 644 "$here/completions/_usnea" share/zsh/site-functions/_usnea
    put 644 "$here/completions/usnea.fish" share/fish/vendor_completions.d/usnea.fish
    for file in README.md LICENSE; do
        put 644 "$here/$file" "share/doc/usnea/$file"
    done
    for file in "$here"/examples/*; do
        put 644 "$file" "share/doc/usnea/examples/${file##*/}"
    done
    units=share/systemd/user
    set --
    case $prefix in
        /usr | /usr/local)
            # Directories of systemd's generators; there is none below a home directory.
            units=lib/systemd/user
            link ../../../bin/usnea lib/systemd/user-generators/usnea-user-generator
            link ../../../bin/usnea lib/systemd/system-generators/usnea-system-generator
            ;;
        *) set -- "$here"/systemd/home/*.service ;;
    esac
    for file in "$here"/systemd/*.service "$here"/systemd/*.timer "$@"; do
        [ -e "$file" ] || continue
        sed "s|/usr/bin/usnea|$prefix/bin/usnea|" "$file" > "$scratch"
        put 644 "$scratch" "$units/${file##*/}"
    done
    if [ "$prefix" = /usr ]; then
        # The profile names /usr/bin/usnea.
        put 644 "$here/apparmor/usnea" /etc/apparmor.d/usnea
    fi
}

remove_files() {
    [ -e "$list" ] || fail "nothing was installed by this script in $prefix ($list is missing)"
    while IFS= read -r file; do
        rm -f "$file"
        # Directories that this left empty, up to the prefix.
        directory=${file%/*}
        while [ "$directory" != "$prefix" ] && [ "${directory#"$prefix"/}" != "$directory" ]; do
            rmdir "$directory" 2> /dev/null || break
            directory=${directory%/*}
        done
    done < "$list"
}

if [ "$uninstall" = yes ]; then
    [ -z "$destdir" ] || fail "--uninstall with --destdir: the package manager removes its files"
    remove_files
    echo "usnea is removed from $prefix; images and containers are kept (before: usnea system reset)"
    exit 0
fi

scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
if [ -n "$destdir" ]; then
    install_files
    exit 0
fi
mkdir -p "${list%/*}" || fail "cannot write to $prefix: name another directory by --prefix"
[ -w "${list%/*}" ] || fail "cannot write to $prefix: name another directory by --prefix"
# An installation over an earlier one: its files that are no longer there go too.
new_list=$list.new
: > "$new_list"
install_files
record "$list"
if [ -e "$list" ]; then
    sort "$new_list" "$new_list" "$list" | uniq -u | while IFS= read -r file; do rm -f "$file"; done
fi
mv "$new_list" "$list"
echo "usnea $("$prefix/bin/usnea" --version | sed 's/.* //') is installed in $prefix"
case :$PATH: in
    *:"$prefix/bin":*) ;;
    *) echo "note: $prefix/bin is not in PATH" ;;
esac
# Its status tells whether containers can run here; the installation stands either way.
"$prefix/bin/usnea" doctor || :
