//! Real work in a container whose root is usnea's own overlay.

use crate::support::{Place, need};

/// Builds, version control, a database, archives: what people do in containers, all of it on the writable root.
const WORK: &str = r#"set -e; export HOME=/root PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin; mkdir -p /root /src /tmp; cd /src
git config --global user.name a; git config --global user.email a@b; git config --global init.defaultBranch main
git config --global --add safe.directory '*'
printf 'int helper(void) { return 42; }\n' > helper.c
printf 'int helper(void);\nint main(void) { return helper(); }\n' > main.c
printf 'prog: main.o helper.o\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -c -o $@ $<\n' > Makefile
make -s -j4; s=0; ./prog || s=$?; test $s = 42
make -q; sleep 0.01; touch helper.c; ! make -q; make -s
git init -q .; git add -A; git commit -qm one; git clone -q /src /clone; git -C /clone log --oneline | grep -q one
git -C /clone gc -q; git -C /clone fsck --strict 2> /dev/null; git -C /clone status --porcelain | wc -l
sqlite3 /db 'pragma journal_mode=wal; create table t (a int); with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) insert into t select i from n;' > /dev/null
sqlite3 /db 'update t set a = a + 1; delete from t where a % 2; vacuum; select count(*), sum(a) from t; pragma integrity_check'
tar -C / -cf /src.tar src; mkdir /out; tar -C /out -xf /src.tar; diff -r /src /out/src
rsync -a --delete /out/src/ /mirror/; rsync -a --delete --out-format=%n /out/src/ /mirror/; diff -r /src /mirror
ln /db /hard; rsync -aH /db /hard /links/; test $(stat -c %h /links/db) = 2
mkdir -p p/DEBIAN p/opt; printf 'Package: p\nVersion: 1\nArchitecture: all\nMaintainer: n <n@n>\nDescription: d\n' > p/DEBIAN/control; echo x > p/opt/p
dpkg-deb -b p p.deb > /dev/null; mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates; : > /var/lib/dpkg/status
dpkg -i p.deb > /dev/null 2>&1; cat /opt/p; dpkg -r p > /dev/null 2>&1; ! test -e /opt/p
echo done"#;

#[test]
fn compilers_git_sqlite_tar_rsync_and_dpkg_work_on_the_root() {
    let programs = ["gcc", "make", "git", "sqlite3", "tar", "rsync", "dpkg", "dpkg-deb"];
    if !programs.iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    place.folder("root/usr");
    for name in ["bin", "sbin", "lib", "lib64"] {
        let target = std::fs::canonicalize(format!("/{name}")).expect("a folder of the host's");
        std::os::unix::fs::symlink(target, place.path("root").join(name)).expect("a link");
    }
    let image = format!("dir:{}", place.path("root").display());
    let usr = "/usr:/usr:ro";
    let words = ["run", "--rm", "--storage-driver", "fuse", "-v", usr, &image, "sh", "-c", WORK];
    let ran = place.usnea(&words);
    assert_eq!(ran.works(), "0\n2500|6252500\nok\nx\ndone");
    place.nothing_is_left();
}
