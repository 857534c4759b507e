//! A bundle of an OCI runtime: the small root, and a config.json that a test changes.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Place, Ran, text, within};

/// The bundle, in a place of its own. States of containers are in its folder `states`.
pub struct Bundle {
    /// The place.
    pub place: Place,
}

impl Bundle {
    /// A bundle for an ordinary user, whose command is this script.
    pub fn new(script: &str) -> Self {
        let place = Place::new();
        std::fs::create_dir(place.path("bundle")).expect("a folder");
        crate::small_root::make(&place.path("bundle/rootfs"));
        let bundle = Self { place };
        bundle.oci(&["spec", "--rootless", "--bundle", text(&bundle.path())]).works();
        bundle.change(|config| {
            config["root"]["readonly"] = false.into();
            config["process"]["args"] = ["sh", "-c", script].as_slice().into();
        });
        bundle
    }

    /// Folder of the bundle.
    pub fn path(&self) -> PathBuf {
        self.place.path("bundle")
    }

    /// Changes config.json.
    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut config =
            serde_json::from_str(&self.place.read("bundle/config.json")).expect("JSON");
        change(&mut config);
        self.place.write("bundle/config.json", config.to_string());
    }

    /// `usnea oci --root STATES WORDS`, not yet started.
    pub fn command(&self, words: &[&str]) -> Command {
        let states = self.place.path("states");
        let mut command = self.place.command(&[&["oci", "--root", text(&states)], words].concat());
        command.current_dir(self.path());
        command
    }

    /// Runs it to its end. Its output goes to files: a container that stays has the same streams, and a pipe would stay
    /// open.
    pub fn oci(&self, words: &[&str]) -> Ran {
        let (out, error) = (self.place.path("stdout"), self.place.path("stderr"));
        let file = |path: &PathBuf| std::fs::File::create(path).expect("a file");
        let mut command = self.command(words);
        let streams = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&error));
        let status = streams.status().expect("usnea").code().expect("a status");
        Ran { status, stdout: self.place.read("stdout"), stderr: self.place.read("stderr") }
    }

    /// The state of a container.
    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(self.oci(&["state", id]).works()).expect("a state")
    }

    /// The status of a container.
    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until a container has this status.
    #[track_caller]
    pub fn becomes(&self, id: &str, status: &str) {
        let became = within(Duration::from_secs(60), || self.status(id) == status);
        assert!(became, "{id} never became {status}: {}", self.state(id));
    }

    /// Waits until the command has written `/tmp/out` of the container.
    #[track_caller]
    pub fn has_begun(&self) {
        let out = self.path().join("rootfs/tmp/out");
        let began = within(Duration::from_secs(60), || {
            std::fs::read_to_string(&out).is_ok_and(|text| text.ends_with('\n'))
        });
        assert!(began, "the command wrote nothing");
    }

    /// Asserts that no state is left.
    #[track_caller]
    pub fn has_no_state(&self) {
        let entries = std::fs::read_dir(self.place.path("states")).into_iter().flatten().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

impl Drop for Bundle {
    /// Ends the containers of a test that failed.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let entries = std::fs::read_dir(self.place.path("states")).into_iter().flatten().flatten();
        for id in entries.map(|entry| entry.file_name()) {
            let mut command = self.command(&["delete", "--force"]);
            let _ = command.arg(id).stdin(Stdio::null()).status();
        }
    }
}
