//! Real work on the FUSE overlay, by several processes at once, and a server that is killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fuse_overlay::{inside, is_inside};
use crate::support::{binary, need};

#[test]
fn real_programs_work() {
    if ["gcc", "git", "tar", "python3"].iter().all(|program| need(program)) {
        inside("fuse_work::programs_inside");
    }
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn programs_inside() {
    if !is_inside() {
        return;
    }
    let place = Mounted::new(
        "mkdir -p lower/src; cd lower/src
        printf 'int main(void) { return 42; }\\n' > main.c; printf 'all: main\\n' > Makefile
        git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm one",
    );
    place.works(
        "set -e; cd merged
         gcc -o main src/main.c; s=0; ./main || s=$?; test $s = 42
         git config --global --add safe.directory '*' || true
         git clone -q src clone && test -f clone/main.c && git -C clone log --oneline | grep -q one
         mkdir t; seq 1 2000 | sed 's,.*,t/&,' | xargs touch; tar cf t.tar t && rm -r t && tar xf t.tar
         test $(ls t | wc -l) = 2000; rm -r t t.tar
         python3 - <<'P'
import mmap, os, sqlite3
base = sqlite3.connect('base.sqlite')
base.execute('pragma journal_mode=wal')
base.execute('create table t (a int)')
base.executemany('insert into t values (?)', ((n,) for n in range(10000)))
base.commit()
assert base.execute('select sum(a) from t').fetchone()[0] == 49995000
assert base.execute('pragma integrity_check').fetchone()[0] == 'ok'
base.close()
with open('mapped', 'w+b') as file:
    file.truncate(1 << 20)
    with mmap.mmap(file.fileno(), 0) as pages:
        pages[4096:4100] = b'page'
    file.seek(4096)
    assert file.read(4) == b'page'
fd = os.open('mapped', os.O_RDWR | os.O_DIRECT)
page = mmap.mmap(-1, 4096)
page.write(b'd' * 4096)
assert os.pwrite(fd, page, 8192) == 4096
assert os.pread(fd, 4096, 8192) == b'd' * 4096
import fcntl
fcntl.flock(fd, fcntl.LOCK_EX)
fcntl.lockf(fd, fcntl.LOCK_EX)
os.posix_fallocate(fd, 0, 2 << 20)
assert os.fstat(fd).st_size == 2 << 20
P
         cmp src/main.c clone/main.c",
    );
}

#[test]
fn several_processes_do_not_disturb_each_other() {
    inside("fuse_work::stress_inside");
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn stress_inside() {
    if !is_inside() {
        return;
    }
    let place = Mounted::new(
        "mkdir -p lower/d; for i in $(seq 1 60); do echo $i > lower/d/$i; done; ln lower/d/1 lower/d/one",
    );
    let script = "set -e; cd merged
        for n in $(seq 1 4); do
            mkdir own$$; for i in $(seq 1 60); do
                cat d/$i > own$$/$i; mv own$$/$i own$$/x$i; ln own$$/x$i own$$/y$i; rm own$$/x$i
                (echo $$ >> d/$i) 2> /dev/null || true
            done
            test $(ls own$$ | wc -l) = 60; find . > /dev/null 2>&1 || true; mv own$$ gone$$; rm -r gone$$
        done";
    let mut workers: Vec<Child> = (0..4).map(|_| place.start(script)).collect();
    for worker in &mut workers {
        assert!(worker.wait().expect("a worker").success());
    }
    for number in 1..=60 {
        let lines = fs::read_to_string(place.path(&format!("merged/d/{number}"))).expect("a file");
        assert!(lines.starts_with(&format!("{number}\n")), "{number}: {lines}");
        // Four processes, four times.
        assert_eq!(lines.lines().count(), 17, "{number}: {lines}");
    }
    place.works("cmp merged/d/1 merged/d/one; test $(ls merged) = d");
}

#[test]
fn a_killed_server_leaves_the_old_or_the_new() {
    inside("fuse_work::kill_inside");
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn kill_inside() {
    if !is_inside() {
        return;
    }
    for round in 0..12 {
        let mut place = Mounted::new(
            "mkdir -p lower/d; for i in $(seq 1 40); do yes old | head -c 300000 > lower/d/$i; done",
        );
        let mut worker = place.start(
            "cd merged; for i in $(seq 1 40); do
                chmod 600 d/$i; mv d/$i d/moved$i; echo new > d/new.tmp; mv d/new.tmp d/new$i; rm d/moved$i
             done",
        );
        std::thread::sleep(Duration::from_millis(10 + round * 13));
        place.server.kill().expect("killed");
        place.server.wait().expect("ended");
        // No hang: whoever uses the mount gets an error.
        let started = Instant::now();
        assert!(fs::read_dir(place.path("merged/d")).is_err());
        let _ = worker.wait();
        assert!(started.elapsed() < Duration::from_secs(20));
        place.unmount();
        place.mount();
        check_survivors(&place.path("merged/d"));
        assert_eq!(fs::read_dir(place.path("work/work")).expect("work").count(), 0);
    }
}

/// Every file is whole: the old content in it, or the new.
fn check_survivors(folder: &Path) {
    for entry in fs::read_dir(folder).expect("the folder").flatten() {
        let name = entry.file_name().into_string().expect("a name");
        let bytes = fs::read(entry.path()).expect("a file");
        if name.starts_with("new") {
            // What was written and not yet synced may be missing, as after every end of a file system.
            assert!(bytes == b"new\n" || bytes.is_empty(), "{name}: {} bytes", bytes.len());
        } else {
            assert_eq!(bytes.len(), 300_000, "{name}");
            assert!(bytes.starts_with(b"old\n"), "{name}");
        }
    }
}

#[test]
fn the_server_leaves_with_the_mount_and_not_before() {
    inside("fuse_work::life_inside");
}

#[test]
#[ignore = "run by the test above, in a user namespace"]
fn life_inside() {
    if !is_inside() {
        return;
    }
    let mut place = Mounted::new("mkdir lower; echo text > lower/file");
    let mut user = place.start("cd merged; exec sleep 1");
    std::thread::sleep(Duration::from_millis(300));
    place.works("umount -l merged");
    std::thread::sleep(Duration::from_millis(300));
    assert!(place.server.try_wait().expect("the server").is_none(), "it left before its user");
    user.wait().expect("the user");
    let ended = place.server.wait().expect("the server");
    assert!(ended.success(), "{ended}");
}

/// Layers and a mount in a folder of their own.
struct Mounted {
    folder: tempfile::TempDir,
    server: Child,
}

impl Mounted {
    /// The lower layer as `script` makes it.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = shell(folder.path(), &format!("mkdir upper work merged; {script}")).status();
        assert!(made.expect("sh").success());
        let server = serve(folder.path());
        Self { folder, server }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, script: &str) -> Child {
        shell(self.folder.path(), script).stderr(Stdio::null()).spawn().expect("sh")
    }

    fn works(&self, script: &str) {
        let output = shell(self.folder.path(), script).output().expect("sh");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", output.status);
    }

    fn mount(&mut self) {
        self.server = serve(self.folder.path());
    }

    fn unmount(&self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(self.path("merged"), flags).expect("unmounted");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        let _ = rustix::mount::unmount(self.path("merged"), flags);
        let _ = self.server.wait();
    }
}

fn shell(folder: &Path, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder).env("HOME", folder);
    command
}

/// The command in the foreground; it is ready when something is mounted.
fn serve(folder: &Path) -> Child {
    let mut server = Command::new(binary())
        .args(["mount", "overlay", "-f", "-o"])
        .args(["lowerdir=lower,upperdir=upper,workdir=work", "merged"])
        .current_dir(folder)
        .spawn()
        .expect("usnea");
    let outside = fs::metadata(folder).expect("the folder");
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        use std::os::unix::fs::MetadataExt;
        let merged = fs::metadata(folder.join("merged")).expect("the mount point");
        if merged.dev() != outside.dev() {
            return server;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = server.kill();
    panic!("nothing was mounted: {:?}", server.wait());
}
