//! Credential helpers: `docker-credential-NAME get|store|erase|list`, with input and output on the standard streams
//! (docker-credential-helpers, "Development"). Helpers run while usnea has no other thread, and for a limited time.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::fail;

/// Answer of all helpers that have no credentials for a server.
const NOTHING: &str = "credentials not found in native keychain";
/// Most bytes of an answer, and of the input for a helper: that fits into a pipe, so writing never blocks.
const LARGEST: usize = 60_000;

/// Folders of helpers, and the time limit of a helper.
#[derive(Clone, Debug)]
pub struct CredentialHelpers {
    /// The folders of PATH.
    pub folders: Vec<PathBuf>,
    /// Time limit of a helper: the user may have to type a passphrase meanwhile.
    pub timeout: Duration,
}

impl Default for CredentialHelpers {
    fn default() -> Self {
        Self { folders: Vec::new(), timeout: Duration::from_secs(30) }
    }
}

/// Credentials that a helper stores for a server.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HelperSecret {
    #[serde(rename = "ServerURL", default)]
    server: String,
    /// User name. `<token>`: the secret is an identity token.
    #[serde(default)]
    pub username: String,
    /// The password or token.
    #[serde(default)]
    pub secret: String,
}

/// Exit status and output of a helper.
struct HelperOutput {
    status: ExitStatus,
    output: Vec<u8>,
}

impl CredentialHelpers {
    /// Helpers in this process's PATH.
    pub fn of_user() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A relative folder depends on the current directory, which may hold another user's programs.
        let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
        Self { folders: folders.collect(), ..Self::default() }
    }

    /// True if the helper is installed.
    pub fn has(&self, helper: &str) -> bool {
        self.path(helper).is_ok()
    }

    /// The helper's credentials for `server`; `None`: none. Errors: the helper is missing, fails, or hangs.
    pub fn get(&self, helper: &str, server: &str) -> Result<Option<HelperSecret>> {
        let answer = self.run(helper, "get", server.as_bytes())?;
        if !answer.status.success() {
            return match message(&answer.output) {
                Some(text) if text == NOTHING => Ok(None),
                text => Err(failed(helper, "get", &answer, text)),
            };
        }
        // serde's own message would show a piece of the secret.
        let read: HelperSecret = serde_json::from_slice(&answer.output)
            .map_err(|_| Error::new("its answer is not what a credential helper answers"))
            .context(|| format!("{}: get", name_of(helper)))?;
        Ok((!read.secret.is_empty()).then_some(read))
    }

    /// Stores a secret in the helper. Errors: as [`CredentialHelpers::get`].
    pub fn store(&self, helper: &str, server: &str, username: &str, secret: &str) -> Result<()> {
        let all = HelperSecret {
            server: server.to_owned(),
            username: username.to_owned(),
            secret: secret.to_owned(),
        };
        let input = serde_json::to_vec(&all).map_err(io::Error::from)?;
        let answer = self.run(helper, "store", &input)?;
        let text = message(&answer.output).filter(|text| !text.contains(secret));
        if answer.status.success() { Ok(()) } else { Err(failed(helper, "store", &answer, text)) }
    }

    /// Removes the helper's credentials for `server`. Errors: as [`CredentialHelpers::get`].
    pub fn erase(&self, helper: &str, server: &str) -> Result<()> {
        let answer = self.run(helper, "erase", server.as_bytes())?;
        let text = message(&answer.output);
        if answer.status.success() || text.as_deref() == Some(NOTHING) {
            return Ok(());
        }
        Err(failed(helper, "erase", &answer, text))
    }

    /// Servers for which the helper has credentials. Errors: as [`CredentialHelpers::get`].
    pub fn list(&self, helper: &str) -> Result<Vec<String>> {
        let answer = self.run(helper, "list", b"unused")?;
        if !answer.status.success() {
            return Err(failed(helper, "list", &answer, message(&answer.output)));
        }
        let all: BTreeMap<String, String> = serde_json::from_slice(&answer.output)
            .map_err(|_| Error::new("its answer is not what a credential helper answers"))
            .context(|| format!("{}: list", name_of(helper)))?;
        Ok(all.into_keys().collect())
    }

    fn path(&self, helper: &str) -> Result<PathBuf> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if helper.is_empty() || !helper.bytes().all(good) {
            fail!("'{}' is not the name of a credential helper", helper.escape_debug());
        }
        let name = name_of(helper);
        let is_program = |path: &PathBuf| {
            path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
        };
        let found = self.folders.iter().map(|folder| folder.join(&name)).find(is_program);
        found.ok_or_else(|| {
            Error::new(format!("{name}: no such program")).hint(
                "install it, or take it out of credsStore, credHelpers (config.json, auth.json) or \
                 credential-helpers (registries.conf)",
            )
        })
    }

    fn run(&self, helper: &str, verb: &str, input: &[u8]) -> Result<HelperOutput> {
        if input.len() > LARGEST {
            fail!("too long for a credential helper");
        }
        let path = self.path(helper)?;
        let describe = || format!("{}: {verb}", path.display());
        // The helper inherits our standard error: it may prompt there.
        let mut command = Command::new(&path);
        command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context(describe)?;
        if let Some(mut pipe) = child.stdin.take() {
            // A helper that does not read its input does not need the input.
            let _ = pipe.write_all(input);
        }
        let answer = self.listen(&mut child);
        if answer.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        answer.context(describe)
    }

    fn listen(&self, child: &mut Child) -> Result<HelperOutput> {
        let deadline = Instant::now() + self.timeout;
        let mut pipe = child.stdout.take().ok_or_else(|| Error::new("no pipe"))?;
        rustix::fs::fcntl_setfl(&pipe, rustix::fs::OFlags::NONBLOCK)?;
        let number = rustix::process::Pid::from_child(child);
        let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())?;
        let mut output = Vec::new();
        let mut is_open = true;
        loop {
            // Checked before the pipe is read: all output written before the exit is then in the pipe.
            let status = child.try_wait()?;
            is_open = is_open && read_what_is_there(&mut pipe, &mut output)?;
            if let Some(status) = status {
                return Ok(HelperOutput { status, output });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                fail!("it took longer than {} seconds", self.timeout.as_secs_f32());
            }
            let end = PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN);
            let both = &mut [end, PollFd::new(&pipe, PollFlags::IN)];
            let waited_for = if is_open { &mut both[..] } else { &mut both[..1] };
            match poll(waited_for, Timespec::try_from(left).ok().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Reads the available output; true if more may come.
fn read_what_is_there(pipe: &mut ChildStdout, output: &mut Vec<u8>) -> Result<bool> {
    let mut room = [0; 4096];
    loop {
        match pipe.read(&mut room) {
            Ok(0) => return Ok(false),
            Ok(length) => output.extend(room.iter().take(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if output.len() > LARGEST {
            fail!("its answer is longer than {LARGEST} bytes");
        }
    }
}

fn name_of(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

/// The message of a failed helper (all helpers use standard output), unless the message may contain a secret.
fn message(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    let harmless = !text.is_empty() && text.len() < 200 && !text.contains(['{', '"']);
    harmless.then(|| text.to_owned())
}

fn failed(helper: &str, verb: &str, answer: &HelperOutput, text: Option<String>) -> Error {
    let why =
        text.map_or_else(|| answer.status.to_string(), |text| text.escape_debug().to_string());
    Error::new(format!("{}: {verb}: {why}", name_of(helper)))
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// Creates a helper NAME in `folder` that stores each secret in a file of `folder/kept`.
    pub fn keeping(folder: &Path, name: &str) -> CredentialHelpers {
        let kept = folder.join("kept");
        std::fs::create_dir_all(&kept).unwrap();
        let script = format!(
            r#"cd {} || exit 9
case $1 in
store) all=$(cat); url=${{all#*URL\":\"}}; url=${{url%%\"*}}; printf %s "$all" > "$(printf %s "$url" | tr / _)" ;;
get) file=$(cat | tr / _); [ -f "$file" ] || {{ echo 'credentials not found in native keychain'; exit 1; }}; cat "$file" ;;
erase) rm -f "$(cat | tr / _)" ;;
list) printf '{{'; for one in *; do [ -f "$one" ] && printf '%s"%s":"x"' "$comma" "$(printf %s "$one" | tr _ /)" && comma=,; done; printf '}}' ;;
esac"#,
            kept.display()
        );
        with_script(folder, name, &script)
    }

    /// Creates a helper NAME in `folder` that runs `script`.
    pub fn with_script(folder: &Path, name: &str, script: &str) -> CredentialHelpers {
        let path = folder.join(name_of(name));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        // Other tests fork meanwhile, and their children hold it open for writing until they exec: ETXTBSY.
        let mut command = Command::new(&path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = loop {
            match command.spawn() {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                spawned => break spawned.unwrap(),
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        CredentialHelpers {
            folders: vec![folder.join("nothing"), folder.to_owned()],
            ..CredentialHelpers::default()
        }
    }

    #[test]
    fn a_helper_keeps_and_forgets() {
        let folder = tempfile::tempdir().unwrap();
        let programs = keeping(folder.path(), "test");
        let get = |server: &str| {
            programs.get("test", server).unwrap().map(|all| (all.username, all.secret))
        };
        assert_eq!(get("a.io"), None);
        programs.store("test", "a.io", "me", "se\"cr:et").unwrap();
        programs.store("test", "https://b.io/v1/", "<token>", "t").unwrap();
        assert_eq!(get("a.io"), Some(("me".into(), "se\"cr:et".into())));
        assert_eq!(get("https://b.io/v1/"), Some(("<token>".into(), "t".into())));
        assert_eq!(programs.list("test").unwrap(), ["a.io", "https://b.io/v1/"]);
        programs.erase("test", "a.io").unwrap();
        assert_eq!(get("a.io"), None);
    }

    #[test]
    fn failures_name_the_helper_and_hide_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let programs = with_script(folder.path(), "test", script);
            programs.get("test", "a.io").map(|found| found.is_some())
        };
        for (script, why) in [
            ("echo no keyring here; exit 3", "docker-credential-test: get: no keyring here"),
            ("echo '{\"Secret\":\"hidden\"}'; exit 3", "exit status: 3"),
            ("echo hidden", "not what a credential helper answers"),
            ("echo '{\"Secret\":[\"hidden\"]}'", "not what a credential helper answers"),
            ("exec yes", "longer than 60000 bytes"),
        ] {
            let error = run(script).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("docker-credential-test"), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        assert!(!run("echo '{\"ServerURL\":\"a.io\",\"Username\":\"\",\"Secret\":\"\"}'").unwrap());
        let programs = with_script(folder.path(), "test", "echo cannot keep $(cat); exit 1");
        let error = programs.store("test", "a.io", "me", "hidden").unwrap_err();
        assert!(!error.to_string().contains("hidden"), "{error}");
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let timeout = Duration::from_millis(300);
        let programs =
            CredentialHelpers { timeout, ..with_script(folder.path(), "test", "exec sleep 60") };
        let asked = Instant::now();
        let error = programs.get("test", "a.io").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("docker-credential-test: get: it took longer than 0.3"), "{error}");
        assert!(asked.elapsed() < Duration::from_secs(20));
        // A child of the helper that holds its output open is not waited for.
        let programs = with_script(folder.path(), "test", "sleep 5 & echo '{\"Secret\":\"x\"}'");
        let asked = Instant::now();
        assert!(programs.get("test", "a.io").unwrap().is_some());
        assert!(asked.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_helper_that_is_missing_or_badly_named_is_an_error() {
        let programs = CredentialHelpers {
            folders: vec!["/nonexistent".into()],
            ..CredentialHelpers::default()
        };
        for (name, why) in [
            ("x", "docker-credential-x: no such program"),
            ("../x", "is not the name"),
            ("", "is not the name"),
            ("a b", "is not the name"),
        ] {
            let error = programs.get(name, "a.io").map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
