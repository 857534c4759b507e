//! The user's systemd manager, which provides cgroups: a transient scope with Delegate=yes
//! (<https://systemd.io/CGROUP_DELEGATION>). Requests go to its own socket: no bus and no thread is needed.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::limits::UnitShare;
use super::message::{self, BusBody, BusReply, BusValue};
use crate::error::{Context, Error, Result};
use crate::hint;

const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const JOB: &str = "org.freedesktop.systemd1.Job";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Time limit for an answer: no working manager takes longer, even with many starts at once.
const PATIENCE: Duration = Duration::from_secs(90);
/// Interval of asking the manager if the job still exists.
const ROUND: Duration = Duration::from_secs(2);

/// Client of a manager. All clones share one connection, made with the first request: systemd logs connections that
/// send no data.
#[derive(Clone, Debug)]
pub struct SystemdManager {
    socket: PathBuf,
    connection: Arc<Mutex<Option<BufReader<UnixStream>>>>,
}

impl SystemdManager {
    /// Returns the calling user's manager, if one runs.
    pub fn of_user() -> Option<Self> {
        let socket = crate::host::cgroup::user_manager_socket()?;
        Some(Self { socket, connection: Arc::default() })
    }

    /// Creates the scope `name` with this process in it, and waits until the process has moved: its folder is then this
    /// process's cgroup. `shares` are the scope's weights among its siblings. Errors: the manager refuses, with its
    /// reason.
    pub fn enter_scope(&self, name: &str, slice: Option<&str>, shares: &[UnitShare]) -> Result<()> {
        let processes = [std::process::id()];
        let mut properties = vec![
            ("Description", BusValue::Text("container of usnea")),
            ("Delegate", BusValue::Truth(true)),
            ("CollectMode", BusValue::Text("inactive-or-failed")),
            ("PIDs", BusValue::Numbers(&processes)),
        ];
        properties.extend(slice.map(|slice| ("Slice", BusValue::Text(slice))));
        properties.extend(shares.iter().map(|(name, value)| (*name, BusValue::Amount(*value))));
        let body = BusBody::transient_unit(name, "fail", &properties);
        self.ask(OBJECT, INTERFACE, "StartTransientUnit", &body)
            .and_then(|answer| self.wait_until_in(name, answer.text()))
            .context(|| format!("cannot get the scope {name} from the systemd user manager"))
    }

    /// Changes the weights of a unit among its siblings.
    pub fn set_shares(&self, unit: &str, shares: &[UnitShare]) -> Result<()> {
        let values: Vec<_> =
            shares.iter().map(|(name, value)| (*name, BusValue::Amount(*value))).collect();
        let body = BusBody::unit_properties(unit, &values);
        let answer = self.ask(OBJECT, INTERFACE, "SetUnitProperties", &body);
        answer.map(drop).context(|| format!("cannot change {unit}"))
    }

    /// Moves this process into the group `subgroup` of the scope `name`, and waits until the process has moved.
    pub fn attach(&self, name: &str, subgroup: &str) -> Result<()> {
        let body = BusBody::processes_to_unit(name, &format!("/{subgroup}"), &[std::process::id()]);
        self.ask(OBJECT, INTERFACE, "AttachProcessesToUnit", &body)
            .and_then(|_| self.wait_until_in(&format!("{name}/{subgroup}"), None))
            .context(|| format!("cannot enter {name}"))
    }

    /// True if the unit has Delegate=yes.
    pub fn has_delegated(&self, unit: &str) -> bool {
        let kind = if unit.ends_with(".scope") { "Scope" } else { "Service" };
        let body = BusBody::property(&format!("{NAME}.{kind}"), "Delegate");
        let object = format!("{OBJECT}/unit/{}", escaped(unit));
        let answer = self.ask(&object, PROPERTIES, "Get", &body);
        answer.is_ok_and(|answer| answer.truth() == Some(true))
    }

    fn ask(&self, object: &str, interface: &str, member: &str, body: &BusBody) -> Result<BusReply> {
        let at = || self.socket.display().to_string();
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => self.connect().context(at)?,
        };
        stream.get_mut().write_all(&body.call(NAME, object, interface, member)).context(at)?;
        let answer = message::answer(&mut stream).context(at)?;
        *connection = Some(stream);
        answer.map_err(|said| Error::new(said.escape_debug()))
    }

    /// Waits until this process is in `group`. The answer to a call arrives when the job is queued. The kernel shows if
    /// the job is done; the manager shows if the job is still pending.
    fn wait_until_in(&self, group: &str, job: Option<String>) -> Result<()> {
        let start = Instant::now();
        let mut asked = start;
        let mut pause = Duration::from_micros(500);
        while !is_in(Path::new(group)) {
            let is_late = match &job {
                Some(job) if asked.elapsed() > ROUND => {
                    asked = Instant::now();
                    // No job between the two checks: the job is done.
                    !self.has_job(job) && !is_in(Path::new(group))
                }
                Some(_) => false,
                None => start.elapsed() > PATIENCE,
            };
            if is_late {
                return Err(Error::new("the process was not moved there").hint(hint::USER_JOURNAL));
            }
            std::thread::sleep(pause);
            // Many starts at once: the manager needs the processor more than this process.
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    fn has_job(&self, job: &str) -> bool {
        self.ask(job, PROPERTIES, "Get", &BusBody::property(JOB, "State")).is_ok()
    }

    /// Connects and authenticates; the kernel reports our user (D-Bus Specification, "Authentication Protocol",
    /// EXTERNAL).
    fn connect(&self) -> io::Result<BufReader<UnixStream>> {
        let stream = crate::host::cgroup::connect_to_manager(&self.socket)?;
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

/// Escapes a unit's name for an object path (sd_bus_path_encode(3)).
fn escaped(unit: &str) -> String {
    let escape = |(at, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
        b'0'..=b'9' if at > 0 => char::from(byte).to_string(),
        _ => format!("_{byte:02x}"),
    };
    unit.bytes().enumerate().map(escape).collect()
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
