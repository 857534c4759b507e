//! `--secret`: a secret of the store, as a file in memory or as an environment variable.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Folder of the secrets in a container.
pub const SECRETS: &str = "/run/secrets";

/// Mode of a secret's file, unless set (podman's).
const MODE: u32 = 0o444;

/// Longest name, in bytes (podman's).
const LONGEST: usize = 253;

/// Name of a secret: 1 to 253 bytes, without `=`, `/`, `,` and control characters (podman's rule).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SecretName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_odd = |c: char| "=/,".contains(c) || c.is_control();
        // The name is that of a file.
        let is_folder = matches!(text, "." | "..");
        if text.is_empty() || text.len() > LONGEST || text.contains(is_odd) || is_folder {
            return Err(format!(
                "a name is 1 to {LONGEST} bytes long, without '=', '/', ',' and control characters"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Form of a secret in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SecretForm {
    /// File in memory.
    Mount {
        /// Path of the file in the container.
        target: PathBuf,
        /// Owner of the file.
        uid: u32,
        /// Group of the file.
        gid: u32,
        /// Permissions of the file.
        mode: u32,
    },
    /// Environment variable.
    Env {
        /// Name of the variable.
        target: String,
    },
}

/// Secret of a container, as its record has it. The content is a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedSecret {
    /// ID of the secret.
    pub id: String,
    /// Name of the secret.
    pub name: SecretName,
    /// Form of the secret in the container.
    #[serde(flatten)]
    pub form: SecretForm,
}

/// A value of `--secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFlag {
    /// The value, as typed.
    pub text: String,
    /// Name or ID of the secret.
    pub source: String,
    target: Option<String>,
    is_variable: bool,
    uid: u32,
    gid: u32,
    mode: u32,
}

impl FromStr for SecretFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut flag = Self {
            text: text.to_owned(),
            source: String::new(),
            target: None,
            is_variable: false,
            uid: 0,
            gid: 0,
            mode: MODE,
        };
        let mut of_file = None;
        for (at, part) in text.split(',').enumerate() {
            match part.split_once('=') {
                None if at == 0 => flag.source = part.to_owned(),
                None => return Err(format!("'{part}' is not KEY=VALUE")),
                Some((key, value)) => flag.set(key, value, &mut of_file)?,
            }
        }
        if flag.source.is_empty() {
            return Err("the name of a secret is missing".into());
        }
        match of_file.filter(|_| flag.is_variable) {
            Some(key) => Err(format!("type=env has no {key}: that belongs to a file")),
            None => Ok(flag),
        }
    }
}

impl SecretFlag {
    fn set(
        &mut self,
        key: &str,
        value: &str,
        of_file: &mut Option<&'static str>,
    ) -> Result<(), String> {
        let id = || value.parse().map_err(|_| format!("{key}={value}: expected a number"));
        match key {
            "source" | "src" => self.source = value.to_owned(),
            "target" if value.is_empty() => return Err("target= is empty".into()),
            "target" => self.target = Some(value.to_owned()),
            "type" => {
                self.is_variable = match value {
                    "mount" => false,
                    "env" => true,
                    _ => return Err(format!("type={value}: expected mount or env")),
                }
            }
            "uid" => (self.uid, *of_file) = (id()?, Some("uid")),
            "gid" => (self.gid, *of_file) = (id()?, Some("gid")),
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                let mode = mode.ok_or_else(|| format!("mode={value}: expected an octal number"));
                (self.mode, *of_file) = (mode?, Some("mode"));
            }
            _ => {
                return Err(format!(
                    "there is no option {key}: source, target, type, uid, gid, mode"
                ));
            }
        }
        Ok(())
    }

    /// Returns the form of the secret `name` in the container. Errors: a target that is neither a path nor the name of a
    /// variable.
    pub fn form(&self, name: &SecretName) -> Result<SecretForm, String> {
        let target = self.target.clone().unwrap_or_else(|| name.to_string());
        if self.is_variable {
            return match target.contains(['=', '\0']) {
                true => Err(format!("target={target} is no name of a variable")),
                false => Ok(SecretForm::Env { target }),
            };
        }
        let target = Path::new(SECRETS).join(&target);
        let is_plain = target.components().all(|part| part != Component::ParentDir);
        match target.file_name().filter(|_| is_plain && target != Path::new(SECRETS)) {
            None => Err(format!("target={} is no path of a file", target.display())),
            Some(_) => {
                Ok(SecretForm::Mount { target, uid: self.uid, gid: self.gid, mode: self.mode })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Result<SecretForm, String> {
        let name = "key".parse()?;
        text.parse::<SecretFlag>()?.form(&name)
    }

    #[test]
    fn a_secret_is_a_file_for_all_to_read_unless_said_otherwise() {
        let mount = |target: &str, uid, gid, mode| {
            Ok(SecretForm::Mount { target: target.into(), uid, gid, mode })
        };
        assert_eq!(form("key"), mount("/run/secrets/key", 0, 0, 0o444));
        assert_eq!(form("source=key,target=a/b"), mount("/run/secrets/a/b", 0, 0, 0o444));
        assert_eq!(form("key,target=/etc/k,uid=1,gid=2,mode=400"), mount("/etc/k", 1, 2, 0o400));
        assert_eq!(form("key,type=env"), Ok(SecretForm::Env { target: "key".into() }));
        assert_eq!(form("key,type=env,target=KEY"), Ok(SecretForm::Env { target: "KEY".into() }));
    }

    #[test]
    fn a_malformed_value_is_refused() {
        for text in [
            "",
            "type=env",
            "key,other",
            "key,colour=red",
            "key,type=file",
            "key,mode=9",
            "key,mode=77777",
            "key,uid=ada",
            "key,type=env,mode=400",
            "key,target=",
            "key,target=../x",
            "key,target=/",
            "key,type=env,target=A=B",
        ] {
            assert!(form(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_podman_s() {
        for name in ["a", "a.b-c_d", "two words", ".hidden", &"x".repeat(253)] {
            assert!(name.parse::<SecretName>().is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a=b", "a,b", "a\nb", "a\0b", &"x".repeat(254)] {
            assert!(name.parse::<SecretName>().is_err(), "{name}");
        }
    }
}
