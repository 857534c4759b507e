//! Text of units, in the order of podman's.

use std::fmt::Write;

use crate::quadlet::words;

/// Unit of a container or a pod.
#[derive(Debug, Default)]
pub struct SystemdUnit {
    /// Name, without `.service`.
    pub name: String,
    /// Suffix of the description of a template.
    pub instance: &'static str,
    /// Lines between the name and the first group.
    pub header: String,
    /// Settings of `[Unit]` behind the common ones.
    pub unit: Vec<(&'static str, String)>,
    /// Settings of `[Service]`.
    pub service: Vec<(&'static str, String)>,
}

impl SystemdUnit {
    /// Adds a setting of `[Unit]`, if there are values.
    pub fn depend(&mut self, key: &'static str, values: &[String]) {
        if !values.is_empty() {
            self.unit.push((key, values.join(" ")));
        }
    }

    /// Adds a setting of `[Service]`.
    pub fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.service.push((key, value.into()));
    }

    /// Text of the unit's file; `mounts` is a path that must be mounted.
    pub fn text(&self, mounts: &str) -> String {
        let Self { name, instance, header, .. } = self;
        let mut text = format!(
            "# {name}.service\n{header}\n[Unit]\nDescription=usnea {name}.service{instance}\n\
             Documentation=man:usnea-generate-systemd(1)\nWants=network-online.target\n\
             After=network-online.target\nRequiresMountsFor={}\n",
            escaped(mounts)
        );
        for (key, value) in &self.unit {
            let _ = writeln!(text, "{key}={value}");
        }
        text += "\n[Service]\n";
        for (key, value) in &self.service {
            let _ = writeln!(text, "{key}={value}");
        }
        text += "\n[Install]\nWantedBy=default.target\n";
        text
    }
}

/// Command line of a unit: each option begins a line, as podman has it.
#[derive(Clone, Debug)]
pub struct UnitCommandLine(String);

impl UnitCommandLine {
    /// Command line of the program.
    pub fn of(program: &str) -> Self {
        Self(escaped(program))
    }

    /// Adds words that may hold anything.
    pub fn words<T: AsRef<str>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        words.into_iter().for_each(|word| self.add(&escaped(word.as_ref())));
        self
    }

    /// Adds words with specifiers of systemd.
    pub fn raw(mut self, words: &[&str]) -> Self {
        words.iter().for_each(|word| self.add(word));
        self
    }

    /// Text of the setting.
    pub fn text(self) -> String {
        self.0
    }

    fn add(&mut self, word: &str) {
        let separator = if word.starts_with('-') { " \\\n\t" } else { " " };
        self.0 += separator;
        self.0 += word;
    }
}

/// Quotes a word; specifiers and variables of systemd mean nothing in it.
pub fn escaped(word: &str) -> String {
    words::join(&[word.replace('%', "%%").replace('$', "$$")])
}
