//! `--mount KEY=VALUE,...`: docker's comma-separated form, with quotes around a field that contains a comma.

use crate::hint;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::bind::{
    BindAccess, BindOptions, BindOwners, BindSource, MissingSource, PROPAGATIONS, word_of,
};
use super::destination::Destination;
use super::file_system::FileSystemMount;
use super::glob::GlobMount;
use super::idmap::Idmap;
use super::image_volume::{ImageVolume, SQUASHFS, parse_offset};
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
    /// `type=volume` and `type=squashfs`
    Volume(VolumeFlag),
    /// `type=glob`
    Glob(GlobMount),
    /// `type=ramfs` and `type=devpts`
    FileSystem(FileSystemMount),
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
    subpath: Option<PathBuf>,
    /// Whether a missing source is made.
    create: Option<bool>,
    uid: Option<u32>,
    gid: Option<u32>,
    /// Most terminals of a devpts.
    max: Option<u32>,
    /// Start of an image in its file, in bytes.
    offset: Option<u64>,
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
            "bind-create-src" => self.create = Some(switch()?),
            "volume-subpath" | "subpath" => self.subpath = Some(parse_subpath(key, needed()?)?),
            "uid" => self.uid = Some(parse_number(key, needed()?)?),
            "gid" => self.gid = Some(parse_number(key, needed()?)?),
            "max" => self.max = Some(parse_number(key, needed()?)?),
            "offset" => self.offset = Some(parse_offset(needed()?)?),
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

    /// Refuses keys that only other types of mounts have.
    fn refuse_keys_of_others(&self, kind: &str) -> Result<(), String> {
        let is_bind = matches!(kind, "bind" | "glob");
        let of_devpts = [("uid", self.uid), ("gid", self.gid), ("max", self.max)];
        if let Some((key, _)) =
            of_devpts.iter().find(|(_, value)| value.is_some() && kind != "devpts")
        {
            return Err(format!("{key} is for type=devpts"));
        }
        if self.offset.is_some() && kind != SQUASHFS {
            return Err(format!("offset is for type={SQUASHFS}"));
        }
        if self.subpath.is_some() && kind != "volume" {
            return Err("volume-subpath is for type=volume".into());
        }
        if self.create.is_some() && kind != "bind" {
            return Err("bind-create-src is for type=bind".into());
        }
        let is_given = self.owners == BindOwners::TheUsers || self.idmap.is_some();
        let is_of_bind = self.propagation.is_some() || self.reach.is_some() || self.relabel;
        if matches!(kind, "ramfs" | "devpts" | SQUASHFS) {
            if self.source.is_some() && kind != SQUASHFS {
                return Err(format!("a {kind} has no source"));
            }
            if is_of_bind || is_given || self.nocopy.is_some() || self.copy_up.is_some() {
                return Err(format!(
                    "keys of bind mounts, volumes and tmpfs are not for type={kind}"
                ));
            }
            let has_mode = self.mode.is_some() && kind == SQUASHFS;
            if self.size.is_some() || has_mode {
                return Err(format!("a {kind} has no size: a tmpfs has"));
            }
        }
        if is_bind && self.copy_up.is_some() {
            return Err("tmpcopyup is for type=tmpfs".into());
        }
        Ok(())
    }

    fn glob(mut self, text: &str) -> Result<MountFlag, String> {
        let destination = self.target.take().map(|target| target.parse()).transpose()?;
        let pattern = self.source.take().ok_or("source is missing")?;
        let bind = self.bind_options()?;
        Ok(MountFlag::Glob(GlobMount { text: text.to_owned(), pattern, destination, bind }))
    }

    fn image(self, destination: Destination, text: &str) -> Result<MountFlag, String> {
        let source: BindSource = self.source.ok_or("source is missing")?.parse()?;
        let image = ImageVolume { offset: self.offset.unwrap_or(0), no_exec: false };
        Ok(MountFlag::Volume(VolumeFlag {
            text: text.to_owned(),
            source: VolumeSource::Host(source),
            subpath: None,
            destination,
            kind: VolumeKind::Image(image),
            content: VolumeContent::Nothing,
        }))
    }

    fn file_system(self, kind: &'static str, destination: Destination) -> MountFlag {
        let access = if self.access == BindAccess::ReadOnly { "ro" } else { "rw" };
        MountFlag::FileSystem(FileSystemMount {
            destination,
            kind,
            access,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            max: self.max,
        })
    }

    fn bind(mut self, destination: Destination, text: &str) -> Result<MountFlag, String> {
        let source: BindSource = self.source.take().ok_or("source is missing")?.parse()?;
        let missing = match self.create {
            Some(true) => MissingSource::Made,
            Some(false) | None => MissingSource::Refused,
        };
        Ok(MountFlag::Bind {
            text: text.to_owned(),
            source: source.with(missing),
            destination,
            bind: self.bind_options()?,
        })
    }

    /// Returns the settings of a bind mount.
    fn bind_options(self) -> Result<BindOptions, String> {
        if self.size.is_some() || self.mode.is_some() {
            return Err("tmpfs-size and tmpfs-mode are not for type=bind".into());
        }
        if self.nocopy.is_some() {
            return Err("volume-nocopy is not for type=bind".into());
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
        Ok(BindOptions {
            access: self.access,
            reach: self.reach.unwrap_or(default.reach),
            propagation: self.propagation.unwrap_or(default.propagation),
            flags: Vec::new(),
            owners: self.owners.with_idmap(self.idmap)?,
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
        if let Some(subpath) = &self.subpath {
            let what = subpath.display();
            if source == VolumeSource::Anonymous {
                return Err(format!(
                    "volume-subpath={what}: a new volume is empty; source=NAME is missing"
                ));
            }
            if self.idmap.is_some() {
                return Err("volume-subpath and idmap exclude each other".into());
            }
        }
        // A part of a volume is there already.
        let nocopy = self.nocopy.unwrap_or(false) || self.subpath.is_some();
        Ok(MountFlag::Volume(VolumeFlag {
            text: text.to_owned(),
            source,
            subpath: self.subpath,
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
        // docker's default type.
        let kind = mount.kind.take().unwrap_or_else(|| "volume".to_owned());
        mount.refuse_keys_of_others(&kind)?;
        if kind == "glob" {
            return mount.glob(text);
        }
        let destination = mount.target.take().ok_or("target is missing")?.parse()?;
        match kind.as_str() {
            "bind" => mount.bind(destination, text),
            "tmpfs" => mount.tmpfs(destination),
            "volume" => mount.volume(destination, text),
            SQUASHFS => mount.image(destination, text),
            "ramfs" => Ok(mount.file_system("ramfs", destination)),
            "devpts" => Ok(mount.file_system("devpts", destination)),
            "image" => Err("type=image: an image is not mounted here; 'usnea export IMAGE' writes its files, which type=bind mounts, and 'usnea save' a squashfs, which type=squashfs mounts".into()),
            kind => Err(format!(
                "type={kind}: expected bind, volume, tmpfs, glob, squashfs, ramfs or devpts"
            )),
        }
    }
}

/// Parses a path below a volume.
fn parse_subpath(key: &str, text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    match path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        true => Ok(path.to_owned()),
        false => Err(format!("{key}={text}: expected a relative path without '..'")),
    }
}

fn parse_number(key: &str, text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) if number != u32::MAX && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(number)
        }
        _ => Err(format!("{key}={text}: expected a number")),
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
            MountFlag::Volume(volume) => {
                format!("{:?} {:?} {:?}", volume.source, volume.content, volume.subpath)
            }
            MountFlag::Glob(glob) => glob.bind.options().join(","),
            MountFlag::FileSystem(mount) => mount.options().join(","),
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
            ("type=glob,src=/a*,dst=/b,ro", "rbind,rprivate,ro,rro"),
            ("type=bind,src=/a,dst=/b,bind-create-src,bind-nonrecursive", "bind,rprivate"),
            ("type=ramfs,dst=/b,tmpfs-mode=700", "rw,noexec,nosuid,nodev,mode=700"),
            (
                "type=devpts,dst=/b,gid=5,mode=0640,max=9",
                "rw,noexec,nosuid,newinstance,ptmxmode=0666,mode=640,gid=5,max=9",
            ),
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
            ("type=image,source=a,target=/b", "usnea export"),
            ("type=glob,target=/b", "source"),
            ("type=squashfs,target=/b", "source"),
            ("type=squashfs,source=a,target=/b", "./a"),
            ("type=squashfs,source=/a,target=/b,offset=x", "number of bytes"),
            ("type=squashfs,source=/a,target=/b,U", "type=squashfs"),
            ("type=squashfs,source=/a,target=/b,tmpfs-mode=700", "no size"),
            ("type=bind,source=/a,target=/b,offset=1", "type=squashfs"),
            ("type=glob,source=/a*,target=/b,bind-create-src", "type=bind"),
            ("type=glob,source=/a*,target=/b,tmpfs-size=1m", "tmpfs-size"),
            ("type=volume,source=a,target=/b,bind-create-src", "type=bind"),
            ("type=volume,source=a,target=/b,volume-subpath=/c", "relative"),
            ("type=volume,source=a,target=/b,volume-subpath=c/../../d", "relative"),
            ("type=volume,target=/b,volume-subpath=c", "source=NAME"),
            ("type=volume,source=data,target=/b,subpath=c,idmap", "exclude"),
            ("type=bind,source=/a,target=/b,volume-subpath=c", "type=volume"),
            ("type=bind,source=/a,target=/b,uid=1", "type=devpts"),
            ("type=ramfs,target=/b,tmpfs-size=1m", "no size"),
            ("type=ramfs,source=/a,target=/b", "no source"),
            ("type=ramfs,target=/b,tmpcopyup", "type=ramfs"),
            ("type=devpts,target=/b,max=-1", "expected a number"),
            ("type=devpts,target=/b,bind-propagation=slave", "type=devpts"),
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
