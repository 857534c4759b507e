//! `--mount KEY=VALUE,...`: docker's comma-separated form, with quotes around a field that contains a comma.

use crate::hint;
use std::str::FromStr;

use super::bind::{BindAccess, BindOptions, BindOwners, BindSource, PROPAGATIONS, word_of};
use super::destination::Destination;
use super::idmap::Idmap;
use super::size::Size;
use super::switch::parse_switch;
use super::tmpfs::{COPY_UP, TmpfsMount, parse_mode};
use super::volume::{CONSISTENCY, VolumeContent, VolumeFlag, VolumeKind, VolumeSource};

/// Parsed value of `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountFlag {
    /// `type=bind`
    Bind {
        /// The value as typed.
        text: String,
        /// File or folder of the host.
        source: BindSource,
        /// Mount point in the container.
        destination: Destination,
        /// Settings of the bind mount.
        bind: BindOptions,
    },
    /// `type=tmpfs`
    Tmpfs(TmpfsMount),
    /// `type=volume`
    Volume(VolumeFlag),
}

/// Fields of the value, before the type of the mount is known.
#[derive(Default)]
struct MountFields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    access: BindAccess,
    propagation: Option<&'static str>,
    reach: Option<&'static str>,
    relabel: bool,
    owners: BindOwners,
    idmap: Option<Idmap>,
    size: Option<Size>,
    mode: Option<u32>,
    nocopy: Option<bool>,
    /// Word of `bind-recursive`.
    recursion: Option<&'static str>,
    /// Whether a tmpfs begins with the files of the root.
    copy_up: Option<bool>,
}

/// Values of `bind-recursive` (docker).
const RECURSIONS: [&str; 4] = ["enabled", "disabled", "writable", "readonly"];

impl MountFields {
    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let needed = || {
            value.filter(|value| !value.is_empty()).ok_or_else(|| format!("{key} needs a value"))
        };
        let switch = || value.map_or(Ok(true), parse_switch);
        match key {
            "type" => self.kind = Some(needed()?.to_owned()),
            "source" | "src" => self.source = Some(needed()?.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(needed()?.to_owned()),
            "readonly" | "ro" if switch()? => self.access = BindAccess::ReadOnly,
            "readonly" | "ro" => self.access = BindAccess::ReadWrite,
            "bind-propagation" => {
                let word = word_of(&PROPAGATIONS, needed()?);
                self.propagation = Some(word.ok_or_else(|| {
                    format!("bind-propagation is one of {}", PROPAGATIONS.join(", "))
                })?);
            }
            "bind-nonrecursive" => self.reach = Some(if switch()? { "bind" } else { "rbind" }),
            "bind-recursive" => {
                let word = word_of(&RECURSIONS, needed()?)
                    .ok_or_else(|| format!("bind-recursive is one of {}", RECURSIONS.join(", ")))?;
                self.reach = Some(if word == "disabled" { "bind" } else { "rbind" });
                self.recursion = Some(word);
            }
            "tmpcopyup" => self.copy_up = Some(switch()?),
            "notmpcopyup" => self.copy_up = Some(!switch()?),
            "consistency"
                if value
                    .is_some_and(|value| value == "default" || CONSISTENCY.contains(&value)) => {}
            "u" | "chown" => {
                self.owners = match switch()? {
                    true => BindOwners::TheUsers,
                    false => BindOwners::AsTheyAre,
                };
            }
            "idmap" => self.idmap = Some(value.map_or_else(|| Ok(Idmap::default()), str::parse)?),
            "relabel" if matches!(value, Some("shared" | "private")) => self.relabel = true,
            "relabel" => return Err("relabel is shared or private".into()),
            "tmpfs-size" | "size" => self.size = Some(super::size::parse_some(needed()?)?),
            "tmpfs-mode" | "mode" => self.mode = Some(parse_mode(needed()?)?),
            "volume-nocopy" => self.nocopy = Some(switch()?),
            "volume-driver" if value == Some("local") => {}
            "volume-driver" => return Err("volume-driver: local is the only one".into()),
            "volume-opt" => {
                return Err("volume-opt: volumes are folders of usnea's, without options".into());
            }
            "volume-label" => {
                return Err(format!("volume-label: {}", hint::VOLUME_LABEL));
            }
            _ => return Err(format!("'{key}' is not a key of a mount")),
        }
        Ok(())
    }

    fn bind(self, destination: Destination, text: &str) -> Result<MountFlag, String> {
        if self.size.is_some() || self.mode.is_some() {
            return Err("tmpfs-size and tmpfs-mode are not for type=bind".into());
        }
        if self.nocopy.is_some() {
            return Err("volume-nocopy is not for type=bind".into());
        }
        if self.copy_up.is_some() {
            return Err("tmpcopyup is for type=tmpfs".into());
        }
        match (self.recursion, self.access) {
            (Some("readonly"), BindAccess::ReadWrite) => {
                return Err("bind-recursive=readonly needs readonly".into());
            }
            (Some("readonly"), _) if self.propagation.is_some_and(|word| word != "rprivate") => {
                return Err("bind-recursive=readonly needs bind-propagation=rprivate".into());
            }
            (Some("writable"), BindAccess::ReadOnly) => {
                return Err("bind-recursive=writable: a read-only bind mount is read-only with the mounts below it".into());
            }
            _ => {}
        }
        let default = BindOptions::default();
        Ok(MountFlag::Bind {
            text: text.to_owned(),
            source: self.source.ok_or("source is missing")?.parse()?,
            destination,
            bind: BindOptions {
                access: self.access,
                reach: self.reach.unwrap_or(default.reach),
                propagation: self.propagation.unwrap_or(default.propagation),
                flags: Vec::new(),
                owners: self.owners.with_idmap(self.idmap)?,
            },
        })
    }

    fn tmpfs(self, destination: Destination) -> Result<MountFlag, String> {
        if self.source.is_some() {
            return Err("a tmpfs has no source".into());
        }
        let is_given = self.owners == BindOwners::TheUsers || self.idmap.is_some();
        if self.propagation.is_some() || self.reach.is_some() || self.relabel || is_given {
            return Err(
                "bind-propagation, bind-nonrecursive, relabel, U and idmap are not for type=tmpfs"
                    .into(),
            );
        }
        if self.nocopy.is_some() {
            return Err("volume-nocopy is not for type=tmpfs".into());
        }
        let mut tmpfs = TmpfsMount::new(destination);
        if self.access == BindAccess::ReadOnly {
            tmpfs.flags[0] = "ro";
        }
        tmpfs.words.extend(self.copy_up.filter(|copies| *copies).map(|_| COPY_UP));
        tmpfs.mode = self.mode.unwrap_or(tmpfs.mode);
        tmpfs.size = self.size.map(|size| size.to_string());
        Ok(MountFlag::Tmpfs(tmpfs))
    }

    fn volume(self, destination: Destination, text: &str) -> Result<MountFlag, String> {
        if self.size.is_some() || self.mode.is_some() {
            return Err("tmpfs-size and tmpfs-mode are not for type=volume".into());
        }
        if self.propagation.is_some() || self.reach.is_some() || self.copy_up.is_some() {
            return Err(
                "bind-propagation, bind-nonrecursive and tmpcopyup are not for type=volume".into(),
            );
        }
        let source = match &self.source {
            Some(name) => VolumeSource::Named(name.parse().map_err(|why| {
                format!("source={name}: {why}; type=bind is for folders of the host")
            })?),
            None => VolumeSource::Anonymous,
        };
        let nocopy = self.nocopy.unwrap_or(false);
        Ok(MountFlag::Volume(VolumeFlag {
            text: text.to_owned(),
            source,
            destination,
            kind: VolumeKind::Bind(BindOptions {
                access: self.access,
                owners: self.owners.with_idmap(self.idmap)?,
                ..BindOptions::default()
            }),
            content: if nocopy { VolumeContent::Nothing } else { VolumeContent::OfImage },
        }))
    }
}

impl FromStr for MountFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mount = MountFields::default();
        for field in fields(text)? {
            match field.split_once('=') {
                Some((key, value)) => mount.take(&key.to_ascii_lowercase(), Some(value))?,
                None => mount.take(&field.to_ascii_lowercase(), None)?,
            }
        }
        let destination = mount.target.take().ok_or("target is missing")?.parse()?;
        match mount.kind.as_deref() {
            Some("bind") => mount.bind(destination, text),
            Some("tmpfs") => mount.tmpfs(destination),
            // docker's default type.
            Some("volume") | None => mount.volume(destination, text),
            Some(kind) => Err(format!("type={kind}: expected bind, tmpfs or volume")),
        }
    }
}

/// Splits a CSV record (RFC 4180, as Go reads it): a quoted field may contain commas, and `""` for a quote.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err(
                        "a quote in the middle of a field: put quotes around the whole field"
                            .into(),
                    );
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("a quoted field ends at its quote".into()),
        }
    }
}

/// Reads a quoted field after its opening quote; returns the field, and the rest after its closing quote.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or("a quote is not closed")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options(text: &str) -> String {
        match text.parse().unwrap_or_else(|error| panic!("{text}: {error}")) {
            MountFlag::Bind { bind, .. } => bind.options().join(","),
            MountFlag::Tmpfs(tmpfs) => tmpfs.options().join(","),
            MountFlag::Volume(volume) => format!("{:?} {:?}", volume.source, volume.content),
        }
    }

    #[test]
    fn dockers_keys_and_their_short_forms_mean_the_same() {
        for (text, expected) in [
            ("type=bind,source=/a,target=/b", "rbind,rprivate"),
            ("type=bind,src=/a,dst=/b,readonly", "rbind,rprivate,ro,rro"),
            ("TYPE=bind,src=/a,destination=/b,ro=true", "rbind,rprivate,ro,rro"),
            ("type=bind,src=/a,dst=/b,ro=false,relabel=shared", "rbind,rprivate"),
            ("type=bind,src=/a,dst=/b,bind-propagation=rslave,bind-nonrecursive", "bind,rslave"),
            ("type=tmpfs,dst=/b", "rw,noexec,nosuid,nodev,mode=1777"),
            ("type=tmpfs,dst=/b,tmpcopyup", "rw,noexec,nosuid,nodev,mode=1777,tmpcopyup"),
            ("type=bind,src=/a,dst=/b,bind-recursive=writable", "rbind,rprivate"),
            ("type=bind,src=/a,dst=/b,ro,bind-recursive=readonly", "rbind,rprivate,ro,rro"),
            ("type=bind,src=/a,dst=/b,ro,bind-recursive=disabled", "bind,rprivate,ro"),
            (
                "type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=700,ro",
                "ro,noexec,nosuid,nodev,mode=700,size=1048576",
            ),
        ] {
            assert_eq!(options(text), expected, "{text}");
        }
    }

    #[test]
    fn a_quoted_field_may_hold_commas_and_quotes() {
        let mount = "type=bind,\"source=/a,\"\"b\",target=/c".parse().unwrap();
        match mount {
            MountFlag::Bind { source, .. } => assert_eq!(Ok(source), "/a,\"b".parse()),
            _ => panic!("not a bind mount"),
        }
    }

    #[test]
    fn a_malformed_mount_is_refused_with_the_part_that_is_wrong() {
        for (wrong, said) in [
            ("", "''"),
            ("type=bind", "target"),
            ("type=bind,target=/b", "source"),
            ("source=/a,target=/b", "type=bind is for"),
            ("type=volume,source=/a,target=/b", "type=bind is for"),
            ("type=volume,source=data,target=/b,volume-opt=o=uid=1", "volume-opt"),
            ("type=volume,source=data,target=/b,volume-driver=nfs", "local"),
            ("type=volume,source=data,target=/b,tmpfs-size=1m", "tmpfs-size"),
            ("type=bind,source=/a,target=/b,volume-nocopy", "volume-nocopy"),
            ("type=npipe,source=/a,target=/b", "npipe"),
            ("type=bind,source=a,target=/b", "./a"),
            ("type=bind,source=/a,target=b", "absolute"),
            ("type=bind,source=/a,target=/", "root itself"),
            ("type=bind,source=,target=/b", "source needs a value"),
            ("type=bind,source=/a,target=/b,ro=maybe", "maybe"),
            ("type=bind,source=/a,target=/b,bind-propagation=up", "bind-propagation"),
            ("type=bind,source=/a,target=/b,relabel=x", "relabel"),
            ("type=bind,source=/a,target=/b,tmpfs-size=1m", "tmpfs-size"),
            ("type=bind,source=/a,target=/b,idmap,U", "exclude"),
            ("source=data,target=/b,U,idmap", "exclude"),
            ("type=bind,source=/a,target=/b,idmap=0-0-1", "uids="),
            ("type=bind,source=/a,target=/b,", "''"),
            ("type=bind,source=/a,target=/b,bind-recursive=readonly", "needs readonly"),
            ("type=bind,source=/a,target=/b,ro,bind-recursive=writable", "read-only with"),
            ("type=bind,source=/a,target=/b,bind-recursive=on", "writable, readonly"),
            ("type=bind,source=/a,target=/b,tmpcopyup", "tmpcopyup"),
            ("type=volume,source=a,target=/b,tmpcopyup", "tmpcopyup"),
            ("type=tmpfs,source=/a,target=/b", "no source"),
            ("type=tmpfs,target=/b,bind-propagation=slave", "bind-propagation"),
            ("type=tmpfs,target=/b,tmpfs-mode=9", "octal"),
            ("type=tmpfs,target=/b,tmpfs-size=x", "size"),
            ("type=bind,\"source=/a,target=/b", "closed"),
            ("type=bind,\"source=/a\"x,target=/b", "quote"),
            ("type=bind,source=/a\"b,target=/b", "quote"),
        ] {
            let error = wrong.parse::<MountFlag>().unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC*") {
            let _ = text.parse::<MountFlag>();
        }

        #[test]
        fn a_quoted_field_comes_back(field in "\\PC*") {
            let quoted = format!("\"{}\",x", field.replace('"', "\"\""));
            prop_assert_eq!(fields(&quoted), Ok(vec![field, "x".to_owned()]));
        }
    }
}
