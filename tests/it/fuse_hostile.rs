//! Layers that nobody would make in good faith, and options that cannot be: an error each, never a hang, a panic or a
//! write outside of the upper layer.

use std::process::Command;

use crate::fuse_overlay::script;
use crate::support::{Place, binary, finish, need};

#[test]
fn a_layer_that_is_no_folder_is_refused() {
    let place = Place::new();
    for name in ["lower", "upper", "work", "m"] {
        place.folder(name);
    }
    place.write("file", "");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mkfifoat(rustix::fs::CWD, place.path("fifo"), mode).expect("a FIFO");
    std::os::unix::fs::symlink("loop", place.path("loop")).expect("a link");
    for (options, said) in [
        ("lowerdir=fifo", "cannot open fifo: Not a directory"),
        ("lowerdir=/dev/null", "cannot open /dev/null: Not a directory"),
        ("lowerdir=file", "cannot open file: Not a directory"),
        ("lowerdir=loop", "cannot open loop: Too many levels"),
        ("lowerdir=/root", "cannot open /root: Permission denied"),
        ("lowerdir=lower,upperdir=fifo,workdir=work", "cannot open fifo"),
        ("lowerdir=lower,upperdir=upper,workdir=fifo", "cannot open fifo"),
        ("lowerdir=lower,upperdir=lower/u,workdir=work", "cannot open lower/u"),
        ("lowerdir=.,upperdir=upper,workdir=work", "overlap"),
        ("lowerdir=lower,upperdir=.,workdir=work", "overlap"),
        ("lowerdir=lower,upperdir=upper,workdir=lower", "overlap"),
        ("lowerdir=", "cannot open"),
        ("lowerdir=lower::lower", "cannot open"),
    ] {
        let mut command = Command::new(binary());
        command.args(["mount", "overlay", "-o", options, "m"]).current_dir(place.path("."));
        finish(&mut command, "").fails_with(125, &[said]);
    }
}

#[test]
fn unusable_upper_and_work_folders_are_reported() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "mkdir t o; mount -t tmpfs t t; mkdir t/u t/w
         fails $usnea mount overlay -o lowerdir=lower,upperdir=t/u,workdir=work m; says 'not in one mount'
         mount --bind . o
         fails $usnea mount overlay -o lowerdir=lower,upperdir=upper,workdir=o/work m; says 'not in one mount'
         mount_with ''; mkdir n
         fails $usnea mount overlay -o lowerdir=lower,upperdir=t/u,workdir=work n; says 'not in one mount'
         fails $usnea mount overlay -o lowerdir=lower,upperdir=upper,workdir=work n; says 'in use by another overlay'
         unmount; mount -o remount,bind,ro t
         fails $usnea mount overlay -o lowerdir=lower,upperdir=t/u,workdir=t/w m; says 'read-only file system'
         is \"$(ls m)\" ''; umount t; umount o",
    );
    ran.works();
}

#[test]
fn five_hundred_layers_are_one_tree_and_no_more_are_taken() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "for i in $(seq 1 501); do mkdir -p l/$i/d; echo $i > l/$i/f$i; echo $i > l/$i/top; echo $i > l/$i/d/$i; done
         $usnea mount overlay -o lowerdir=$(seq -s: -f l/%g 1 500),upperdir=upper,workdir=work m
         is \"$(ls m | wc -l) $(ls m/d | wc -l) $(cat m/top m/f500 | tr '\\n' ' ')\" '502 500 1 500 '
         rm m/top; echo new > m/d/500; is \"$(cat m/d/500) $(cat l/500/d/500)\" 'new 500'; test ! -e m/top; umount m
         fails $usnea mount overlay -o lowerdir=$(seq -s: -f l/%g 1 501) m; says 'more than 500'",
    );
    ran.works();
}

#[test]
fn the_longest_names_and_paths_longer_than_any_call_takes_are_served() {
    if !need("unshare") || !need("python3") {
        return;
    }
    let ran = script(
        &Place::new(),
        "cat > deep.py <<'P'
import os, sys
def down(top, make):
    os.chdir(top)
    for _ in range(40):
        if make: os.mkdir('d' * 200)
        os.chdir('d' * 200)
here = os.open('.', os.O_RDONLY)
down('lower', True)
open('n' * 255, 'w').write('lower')
os.fchdir(here)
os.system(os.environ['USNEA_BIN'] + ' mount overlay -o lowerdir=lower,upperdir=upper,workdir=work m') and sys.exit(1)
down('m', False)
assert open('n' * 255).read() == 'lower'
open('n' * 255, 'a').write(' more')
open('m' * 255, 'w').write('new')
os.rename('m' * 255, 'r' * 255)
os.mkdir('e' * 255)
assert sorted(os.listdir('.')) == ['e' * 255, 'n' * 255, 'r' * 255]
os.unlink('n' * 255)
assert not os.path.exists('n' * 255)
try: open('x' * 256, 'w'); sys.exit('too long a name')
except OSError as error: assert error.errno == 36, error
os.fchdir(here)
down('upper', False)
assert open('r' * 255).read() == 'new'
os.fchdir(here)
P
         python3 deep.py; umount m",
    );
    ran.works();
}

/// The man page says that layers must not change. Should they, nothing worse than an error comes of it.
#[test]
fn layers_that_change_or_vanish_underneath_give_errors_and_no_end_of_the_server() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "change() { for n in $(seq 1 25); do
             rm -rf lower/d; mkdir -p lower/d/e; echo $n > lower/d/e/f; echo $n > lower/f
             rm -rf lower/s; if test $((n % 2)) = 0; then mkdir lower/s; touch lower/s/x; else ln -s / lower/s; fi
         done; }
         change; $usnea mount overlay -f -o lowerdir=lower,upperdir=upper,workdir=work m & server=$!
         until test -e m/f; do sleep 0.01; done
         change & changes=$!
         for n in $(seq 1 40); do
             (find m; cat m/d/e/f m/f; echo x > m/d/e/new; mv m/d/e/new m/d/new; rm m/f; touch m/f; ls m/s) > /dev/null 2>&1 || true
         done
         wait $changes; echo here > m/here; is \"$(cat upper/here)\" here
         rm -rf lower; ls -R m > /dev/null 2>&1 || true; echo again > m/here; is \"$(cat m/here)\" again
         kill -0 $server; kill $server; wait $server",
    );
    ran.works();
}

#[test]
fn a_link_that_was_put_in_the_place_of_a_folder_leads_nowhere() {
    if !need("unshare") {
        return;
    }
    let ran = script(
        &Place::new(),
        "mkdir -p lower/d lower/l/sub upper/u outside; echo x > lower/d/f; echo x > upper/u/f
         mkdir -p n/m; $usnea mount overlay -o lowerdir=lower,upperdir=upper,workdir=work n/m; ls n/m n/m/l > /dev/null
         mv upper/u upper/was; ln -s ../outside upper/u
         mv lower/d lower/was; ln -s ../outside lower/d
         for f in u d; do
             (cd n; echo new > m/$f/new; cat m/$f/f >> m/$f/more; mkdir m/$f/folder; ln -s x m/$f/link; mv m/$f/f m/$f/g) 2> /dev/null || true
         done
         is \"$(ls -A outside)\" ''
         # The folder above is a link by the time that something below is copied up.
         rm -rf upper/l; ln -s ../outside upper/l; (echo new > n/m/l/sub/new) 2> /dev/null || true
         is \"$(ls -A outside)\" ''; umount n/m",
    );
    ran.works();
}

#[test]
fn an_owner_s_record_that_cannot_be_read_hides_that_file_alone() {
    if !need("unshare") || !need("python3") {
        return;
    }
    let ran = script(
        &Place::new(),
        "for f in a b c d e f good; do echo $f > lower/$f; done
         python3 -c \"
import os
for name, value in dict(a=b'', b=b'x:y:z', c=b'0:0:99999999', d=b'4294967296:0:644', e=b'0:0:644:block-x-y', f=b'9' * 60000, good=b'0:0:640').items():
    try: os.setxattr('lower/' + name, 'user.containers.override_stat', value)
    except OSError: os.setxattr('lower/' + name, 'user.containers.override_stat', value[:200])
\"
         mount_with ,xattr_permissions=2
         is \"$(stat -c %u:%g:%a m/good)\" 0:0:640
         for f in a b c d e f; do fails cat m/$f; says 'Input/output error'; done
         is \"$(ls m 2> /dev/null | grep good)\" good; echo x >> m/good; is \"$(cat upper/good | tr '\\n' ' ')\" 'good x '
         unmount",
    );
    ran.works();
}
