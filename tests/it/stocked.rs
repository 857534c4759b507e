//! A [`Place`] with images in its store, and with a home of its own: nothing of the tester's settings and logins is read
//! or written, by usnea or by the tools that it is compared with.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Place, Ran, finish, text};

/// The place. Its stores go with it, files of subordinate IDs too.
pub struct Stocked {
    /// The place itself.
    pub place: Place,
}

impl Stocked {
    /// A place without images.
    pub fn new() -> Self {
        Self { place: Place::new() }
    }

    /// Gives a command the home, the settings of registries, and an insecure signature policy of its own.
    pub fn at_home(&self, command: &mut Command) {
        let place = &self.place;
        place.prepare(command);
        command.env("HOME", place.folder("home")).env("XDG_RUNTIME_DIR", place.folder("run"));
        command.env("CONTAINERS_REGISTRIES_CONF", place.write("registries.conf", ""));
        command.env("STORAGE_DRIVER", "vfs").env("BUILDAH_ISOLATION", "chroot");
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        // Replaced at once: commands that run meanwhile read it.
        let new = format!("home/.config/containers/{:?}", std::thread::current().id());
        let new = place.write(&new, policy);
        std::fs::rename(new, place.path("home/.config/containers/policy.json")).expect("a file");
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG"] {
            command.env_remove(name);
        }
        command.env_remove("USNEA_IMAGE_STORES");
    }

    /// Runs usnea with these arguments.
    pub fn usnea(&self, arguments: &[&str]) -> Ran {
        self.usnea_in("store", arguments)
    }

    /// Runs usnea with another store of this place.
    pub fn usnea_in(&self, store: &str, arguments: &[&str]) -> Ran {
        let mut command = self.place.command(arguments);
        self.at_home(&mut command);
        finish(command.env("USNEA_ROOT", self.place.path(store)), "")
    }

    /// Runs another program.
    pub fn other(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(program);
        self.at_home(command.args(arguments));
        finish(&mut command, "")
    }

    /// Runs a script of the shell, in which `usnea` is the program under test.
    pub fn shell(&self, script: &str) -> Ran {
        let whole = format!(
            "set -eu; usnea() {{ '{}' \"$@\"; }}\n{script}",
            text(&crate::support::binary())
        );
        self.other("sh", &["-c", &whole])
    }

    /// Makes a folder `name` with these files, and the tarball `name.tar` of it: always the same bytes.
    pub fn tarball(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        for (file, content) in files {
            self.place.write(&format!("{name}/{file}"), content);
        }
        let tarball = self.place.path(&format!("{name}.tar"));
        let folder = self.place.folder(name);
        let words =
            ["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "--mode=a+rX,u+w"];
        let words =
            [&words[..], &["--numeric-owner", "-cf", text(&tarball), "-C", text(&folder), "."]];
        self.other("tar", &words.concat()).works();
        tarball
    }

    /// Imports an image of these files, with more arguments of `usnea import`. Its ID.
    pub fn import(&self, name: &str, files: &[(&str, &str)], more: &[&str]) -> String {
        let tarball = self.tarball(&name.replace([':', '/'], "-"), files);
        self.usnea(&[&["import"], more, &[text(&tarball), name]].concat()).works().to_owned()
    }

    /// What usnea says of an image, through a template.
    pub fn field(&self, image: &str, template: &str) -> String {
        self.usnea(&["image", "inspect", "-f", template, image]).works().to_owned()
    }
}
