//! A real registry (Debian's `docker-registry`) on loopback: with TLS or without, with a login or without. Its port is
//! the kernel's choice; it ends with the value.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{need, text, within};

/// Whether it speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP.
    Off,
    /// HTTPS, with a certificate of an authority of its own: [`RealRegistry::certificates`].
    On,
}

/// Whether it wants a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody may read and write.
    Off,
    /// Only [`USERNAME`] with [`PASSWORD`].
    Basic,
}

/// Who may log in.
pub const USERNAME: &str = "lichen";
/// With which password.
pub const PASSWORD: &str = "on a:stone";

/// A registry that runs.
pub struct RealRegistry {
    /// `127.0.0.1:PORT`
    pub host: String,
    folder: tempfile::TempDir,
    child: Child,
}

impl RealRegistry {
    /// Starts one and waits until it listens. `None`: a program for it is missing, which was said ([`need`]).
    #[must_use]
    pub fn start(tls: Tls, auth: Auth) -> Option<Self> {
        let programs = ["docker-registry", "openssl", "htpasswd"];
        if !programs.iter().all(|program| need(program)) {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("usnea-registry-").tempdir().expect("folder");
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n",
            text(&folder.path().join("data"))
        );
        config += "http:\n  addr: 127.0.0.1:0\n  secret: lichen\n";
        if tls == Tls::On {
            let (certificate, key) = make_certificate(folder.path());
            config +=
                &format!("  tls: {{certificate: {}, key: {}}}\n", text(&certificate), text(&key));
        }
        if auth == Auth::Basic {
            let users = folder.path().join("htpasswd");
            fs::write(&users, output(Command::new("htpasswd").args(["-Bbn", USERNAME, PASSWORD])))
                .expect("a file");
            config += &format!("auth:\n  htpasswd: {{realm: usnea, path: {}}}\n", text(&users));
        }
        let settings = folder.path().join("config.yml");
        fs::write(&settings, config).expect("a file");
        let log = folder.path().join("log");
        let child = Command::new("docker-registry")
            .args(["serve", text(&settings)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("docker-registry");
        let mut registry = Self { host: String::new(), folder, child };
        let listens = within(Duration::from_secs(20), || {
            registry.host = listening_on(&registry.log()).unwrap_or_default();
            !registry.host.is_empty()
        });
        assert!(listens, "docker-registry does not listen: {}", registry.log());
        Some(registry)
    }

    /// A folder as `certs.d/HOST` is: `ca.crt` is the authority of its certificate. Only with [`Tls::On`].
    pub fn certificates(&self) -> PathBuf {
        self.folder.path().join("certs.d")
    }

    /// How often each blob was given out, by its hex digits.
    pub fn blobs_sent(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for line in self.log().lines().filter(|line| line.contains("response completed")) {
            let is_get = line.contains("http.request.method=GET");
            if let Some(rest) = line.split("/blobs/sha256:").nth(1).filter(|_| is_get) {
                *all.entry(rest.chars().take(64).collect()).or_default() += 1;
            }
        }
        all
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listening_on(log: &str) -> Option<String> {
    let rest = log.split("listening on ").nth(1)?;
    // The line must be whole: a port that is cut off is another port.
    let end = rest.find([',', '"'])?;
    rest.get(..end).map(str::to_owned)
}

/// A certificate for 127.0.0.1 and localhost, and its key; its authority is `certs.d/ca.crt` in the folder.
fn make_certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let path = |name: &str| folder.join(name);
    fs::create_dir(path("certs.d")).expect("a folder");
    let request = |name: &str| {
        let mut command = Command::new("openssl");
        command.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args([
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            text(&path(&format!("{name}.key"))),
        ]);
        command
    };
    output(request("authority").args([
        "-x509",
        "-days",
        "2",
        "-out",
        text(&path("certs.d/ca.crt")),
    ]));
    output(request("server").args(["-out", text(&path("server.csr"))]));
    fs::write(path("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("a file");
    output(
        Command::new("openssl")
            .args([
                "x509",
                "-req",
                "-days",
                "2",
                "-CAcreateserial",
                "-in",
                text(&path("server.csr")),
            ])
            .args(["-CA", text(&path("certs.d/ca.crt")), "-CAkey", text(&path("authority.key"))])
            .args(["-extfile", text(&path("names")), "-out", text(&path("server.crt"))]),
    );
    (path("server.crt"), path("server.key"))
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
