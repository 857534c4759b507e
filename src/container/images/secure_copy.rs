//! `usnea image scp`: copies an image between this machine and others. At each end of an ssh(1) connection a program
//! saves or loads a docker archive.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use super::load::{Load, LoadInput, LoadedImage, load};
use super::save::{ArchiveForm, save};
use super::sent_file::SentFile;
use crate::container::Usnea;
use crate::container::file_image::FileImage;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::archive::output::ArchiveSink;
use crate::image::pull::TransferProgress;

/// Other machine, as ssh(1) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteHost {
    /// Host name or address, with the user: `[USER@]HOST`.
    destination: String,
    /// Port of the SSH server; `None`: ssh's own choice.
    port: Option<u16>,
}

impl FromStr for RemoteHost {
    type Err = Error;

    /// Reads `[USER@]HOST[:PORT]`.
    fn from_str(text: &str) -> Result<Self> {
        let (destination, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address are none of a port.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (text, None),
            },
            None => (text, None),
        };
        let destination = destination.replace(['[', ']'], "");
        // ssh(1) would take a name that begins with a dash as an option (CVE-2017-1000117).
        let is_odd = |host: &str| host.is_empty() || host.starts_with('-');
        let host = destination.rsplit('@').next().unwrap_or_default();
        let has_blank = destination.contains(|c: char| c.is_whitespace() || c.is_control());
        if is_odd(&destination) || is_odd(host) || has_blank {
            let text = text.escape_debug();
            return Err(Error::invalid(format!("'{text}' is no host such as USER@HOST")));
        }
        Ok(Self { destination, port })
    }
}

/// Image to copy, with both ends. `None` for a host: this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecureCopy {
    /// Machine that has the image.
    pub from: Option<RemoteHost>,
    /// Name or ID of the image, or the name of a single-file image.
    pub image: String,
    /// Machine that gets the image.
    pub to: Option<RemoteHost>,
    /// Program on the other machines, which has the verbs `save` and `load`.
    pub program: String,
}

/// Streams of a process at another machine.
struct RemoteStreams {
    input: Stdio,
    output: Stdio,
}

impl SecureCopy {
    /// Copies the image. `output`: stream for what other machines report about a loaded image. Returns the images that
    /// were loaded here.
    pub fn run(
        &self,
        usnea: &Usnea,
        output: Option<File>,
        progress: &dyn TransferProgress,
    ) -> Result<Vec<LoadedImage>> {
        let save_words = format!("{} save {}", quoted(&self.program), quoted(&self.image));
        let load_words = format!("{} load", quoted(&self.program));
        let output = output.map_or_else(Stdio::null, Stdio::from);
        match (&self.from, &self.to) {
            (None, None) => Err(Error::invalid("both ends are this machine")
                .hint("HOST:: names another one, before or after the image")),
            (Some(from), None) => {
                let streams = RemoteStreams { input: Stdio::null(), output: Stdio::piped() };
                let mut child = from.run(&save_words, streams)?;
                let stream = file_of(child.stdout.take().map(OwnedFd::from))?;
                let request = Load { input: LoadInput::Stream(stream), platform: None };
                let loaded = load(usnea, &request, progress);
                drop(request);
                from.end(child, loaded)
            }
            (None, Some(to)) => {
                // Nobody is asked for a password in vain.
                match FileImage::path_in(&self.image) {
                    Some(path) => drop(SentFile::open(path, None)?),
                    None => drop(super::known(usnea.images()?, &self.image)?),
                }
                let streams = RemoteStreams { input: Stdio::piped(), output };
                let mut child = to.run(&load_words, streams)?;
                let sink = ArchiveSink::Stream(file_of(child.stdin.take().map(OwnedFd::from))?);
                let images = [self.image.clone()];
                let saved = save(usnea, &images, ArchiveForm::Docker, None, &sink);
                drop(sink);
                match saved {
                    // An end that reads no more is the other machine's failure, any other one is ours.
                    Err(error) if error.kind() != ErrorKind::Unread => {
                        let _ = child.kill();
                        let _ = child.wait();
                        Err(error)
                    }
                    saved => to.end(child, saved).map(|()| Vec::new()),
                }
            }
            (Some(from), Some(to)) => {
                let streams = RemoteStreams { input: Stdio::null(), output: Stdio::piped() };
                let mut saving = from.run(&save_words, streams)?;
                let stream = file_of(saving.stdout.take().map(OwnedFd::from))?;
                let streams = RemoteStreams { input: stream.into(), output };
                let loading = to.run(&load_words, streams);
                let loaded = loading.and_then(|loading| to.end(loading, Ok(())));
                from.end(saving, loaded).map(|()| Vec::new())
            }
        }
    }
}

impl RemoteHost {
    /// Runs a command of the other machine's shell. Its messages go to the caller's.
    fn run(&self, command: &str, streams: RemoteStreams) -> Result<Child> {
        let mut ssh = Command::new("ssh");
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
        ssh.args(["--", &self.destination, command]);
        ssh.stdin(streams.input).stdout(streams.output);
        ssh.spawn()
            .context(|| "cannot run ssh")
            .map_err(|error| error.hint("it is in the package openssh-client"))
    }

    /// Waits for the end of the other machine's command after this machine's part of the work. Errors: those of the
    /// command come first, since they are the reason for a stream that ends early.
    fn end<T>(&self, mut child: Child, work: Result<T>) -> Result<T> {
        let gives_up = work.is_err() && matches!(child.try_wait(), Ok(None));
        // A command that waits for more than it gets. One that has failed has closed its stream, and is about to end.
        let deadline = std::time::Instant::now() + GRACE;
        while gives_up && matches!(child.try_wait(), Ok(None)) {
            if std::time::Instant::now() >= deadline {
                let _ = child.kill();
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let is_killed = gives_up && std::time::Instant::now() >= deadline;
        let status = child.wait().context(|| "cannot wait for ssh")?;
        if status.success() || is_killed {
            return work;
        }
        let error = Error::new(format!("the command there failed: {status}"));
        Err(error.of_kind(ErrorKind::Unreachable).within(format!("host {}", self.destination)))
    }
}

/// Time that a command has to end by itself after a failure here.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

fn file_of(stream: Option<OwnedFd>) -> Result<File> {
    stream.map(File::from).ok_or_else(|| Error::new("ssh has no stream"))
}

/// Quotes a word for the shell of the other machine.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_ssh_names_them() {
        let host = |text: &str| {
            let host = text.parse::<RemoteHost>().unwrap();
            (host.destination, host.port)
        };
        assert_eq!(host("me@box"), ("me@box".into(), None));
        assert_eq!(host("box:2222"), ("box".into(), Some(2222)));
        assert_eq!(host("me@[::1]:22"), ("me@::1".into(), Some(22)));
        assert_eq!(host("2001:db8::1"), ("2001:db8::1".into(), None));
        for text in ["", "-oProxyCommand=x", "me@-x", "a b", "me@", ":22"] {
            assert!(text.parse::<RemoteHost>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_word_ends_its_quotes() {
        assert_eq!(quoted("a'; rm -rf /"), r"'a'\''; rm -rf /'");
    }
}
