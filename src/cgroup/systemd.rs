//! The user's systemd manager, which hands out cgroups: a transient scope with Delegate=yes
//! (<https://systemd.io/CGROUP_DELEGATION>). It is asked at its own socket: no bus is needed, and no thread.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::{self, Answer, Body, Value};
use crate::error::{Context, Error, Result};

const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
/// No manager that works takes longer to answer, or to move a process.
const PATIENCE: Duration = Duration::from_secs(20);

/// A manager that can be asked.
#[derive(Clone, Debug)]
pub struct Manager {
    socket: PathBuf,
}

impl Manager {
    /// The calling user's, where there is one.
    pub fn of_user() -> Option<Self> {
        let socket = crate::host::cgroup::user_manager()?;
        Some(Self { socket })
    }

    /// Makes the scope `name` with this process in it, and waits until it is. Its folder is this process's cgroup then.
    /// Errors: the manager refuses, and says why.
    pub fn enter_scope(&self, name: &str, slice: Option<&str>) -> Result<()> {
        let processes = [std::process::id()];
        let mut properties = vec![
            ("Description", Value::Text("container of usnea")),
            ("Delegate", Value::Truth(true)),
            ("CollectMode", Value::Text("inactive-or-failed")),
            ("PIDs", Value::Numbers(&processes)),
        ];
        properties.extend(slice.map(|slice| ("Slice", Value::Text(slice))));
        let body = Body::transient_unit(name, "fail", &properties);
        self.ask(OBJECT, INTERFACE, "StartTransientUnit", &body)
            .and_then(|_| wait_until_in(name))
            .context(|| format!("cannot get the scope {name} from the systemd user manager"))
    }

    /// Moves this process into the group `subgroup` of the scope `name`, and waits until it is there.
    pub fn attach(&self, name: &str, subgroup: &str) -> Result<()> {
        let body = Body::processes_to_unit(name, &format!("/{subgroup}"), &[std::process::id()]);
        self.ask(OBJECT, INTERFACE, "AttachProcessesToUnit", &body)
            .and_then(|_| wait_until_in(&format!("{name}/{subgroup}")))
            .context(|| format!("cannot enter {name}"))
    }

    /// Whether the unit has Delegate=yes.
    pub fn has_delegated(&self, unit: &str) -> bool {
        let kind = if unit.ends_with(".scope") { "Scope" } else { "Service" };
        let body = Body::property(&format!("{NAME}.{kind}"), "Delegate");
        let object = format!("{OBJECT}/unit/{}", escaped(unit));
        let answer = self.ask(&object, "org.freedesktop.DBus.Properties", "Get", &body);
        answer.is_ok_and(|answer| answer.truth() == Some(true))
    }

    fn ask(&self, object: &str, interface: &str, member: &str, body: &Body) -> Result<Answer> {
        let at = || self.socket.display().to_string();
        let mut stream = self.connect().context(at)?;
        stream.get_mut().write_all(&body.call(NAME, object, interface, member)).context(at)?;
        message::answer(&mut stream).context(at)?.map_err(|said| Error::new(said.escape_debug()))
    }

    /// Who we are, the kernel tells it (D-Bus Specification, "Authentication Protocol", EXTERNAL).
    fn connect(&self) -> io::Result<BufReader<UnixStream>> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let mut line = String::new();
        io::Read::take(&mut stream, 4096).read_line(&mut line)?;
        if !line.starts_with("OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.get_mut().write_all(b"BEGIN\r\n")?;
        Ok(stream)
    }
}

/// A unit's name as part of an object's path (sd_bus_path_encode(3)).
fn escaped(unit: &str) -> String {
    let escape = |(at, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        b'0'..=b'9' if at > 0 => char::from(byte).to_string(),
        _ => format!("_{byte:02x}"),
    };
    unit.bytes().enumerate().map(escape).collect()
}

/// The answer comes when the work is queued. Whether it is done, the kernel knows.
fn wait_until_in(group: &str) -> Result<()> {
    let start = std::time::Instant::now();
    while !is_in(Path::new(group)) {
        if start.elapsed() > PATIENCE {
            return Err(
                Error::new("the process was not moved there").hint("see 'journalctl --user -n 20'")
            );
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn is_in(group: &Path) -> bool {
    crate::host::cgroup::own_folder().is_some_and(|folder| folder.ends_with(group))
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn units_are_parts_of_paths() {
        assert_eq!(escaped("run-1_a.service"), "run_2d1_5fa_2eservice");
        assert_eq!(escaped("1.scope"), "_31_2escope");
    }
}
