//! User namespaces: the maps available to this user, and those of a container.
//!
//! Two levels exist. **base** maps root to the user and the IDs after it to their subordinate IDs. Files of other IDs
//! can only be created and removed in base, so work on the store and on roots happens there. **container** is base
//! itself, or a child of it with another map of the same IDs. A child needs no newuidmap: base has all capabilities
//! over it.

mod auto;
mod lines;
mod write;

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Context, Error, Phrase, Result, Setting};
use crate::fail;
use crate::hint;
use crate::host::idmap_helpers::{self, IdmapHelpers};
use crate::host::subid;
use crate::ids::{
    AskedMap, BaseIds, ContainerIds, FileIds, HostIds, IdMap, IdMaps, Map, Outside, OwnRange,
    UsernsMode,
};

pub use auto::Room;
pub use lines::check_disjoint;
pub use write::{
    become_root, forbidden, in_base, in_base_and_here, in_container, in_process_and_here, maps_in,
    namespace_of, setgroups_in, write_maps, write_own_maps,
};

/// Writer of base's maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The process in base: its own ID alone, and setgroups is denied (user_namespaces(7), CVE-2018-7169).
    Itself,
    /// newuidmap and newgidmap, which may use the subordinate IDs.
    Helpers(IdmapHelpers),
    /// The parent of that process, as root: every ID of that root.
    Root,
    /// Nobody: the namespace exists, and this process is root of it or enters it.
    Nobody,
}

/// Permission for setgroups(2) in a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setgroups {
    /// The namespace's root may set groups.
    Allowed,
    /// No process may.
    Denied,
}

/// Base user namespace, which owns all our files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Maps of the namespace.
    pub maps: IdMaps<BaseIds, HostIds>,
    /// Writer of the maps.
    pub writer: Writer,
}

/// User namespaces of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The outer level.
    pub base: Base,
    /// Maps of the container's own namespace; `None`: base serves for both.
    pub container: Option<IdMaps<ContainerIds, BaseIds>>,
}

impl Base {
    /// Returns the base of the calling user, with all their IDs. Without subordinate IDs, or without newuidmap to use
    /// them (with a warning), base has the user's own ID alone.
    pub fn of_user() -> Result<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid == 0
            && caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SETUID)
                .unwrap_or(false)
        {
            return Ok(Self { maps: lines::identity()?, writer: Writer::Root });
        }
        let own = IdMaps::new(vec![IdMap::new(0, uid, 1)], vec![IdMap::new(0, gid, 1)]);
        let Some(ranges) = subid::of_user()? else {
            return Ok(Self { maps: own, writer: Writer::Itself });
        };
        let Some(helpers) = idmap_helpers::find() else {
            log::warn!(
                "your subordinate IDs are not used: {}",
                idmap_helpers::why_unusable().unwrap_or_default()
            );
            return Ok(Self { maps: own, writer: Writer::Itself });
        };
        let maps = IdMaps::new(
            lines::append(
                own.uids.to_vec(),
                ranges.uids.iter().map(|range| (range.first, range.count)),
            ),
            lines::append(
                own.gids.to_vec(),
                ranges.gids.iter().map(|range| (range.first, range.count)),
            ),
        );
        Ok(Self { maps, writer: Writer::Helpers(helpers) })
    }

    /// Returns this process's own user namespace as base: this process is its root.
    pub fn present() -> Result<Self> {
        Ok(Self { maps: lines::identity()?, writer: Writer::Nobody })
    }

    /// Returns another user namespace as base. Errors: this process may not enter it.
    pub fn present_in(namespace: &OwnedFd) -> Result<Self> {
        Ok(Self { maps: maps_in(namespace.as_fd())?, writer: Writer::Nobody })
    }

    /// Returns a new base with exactly these maps. Errors: IDs that are not the user's.
    pub fn with_maps(maps: IdMaps<ContainerIds, HostIds>) -> Result<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let is_own =
            |map: &[IdMap], id| matches!(map, [line] if (line.outside, line.count) == (id, 1));
        if is_own(&maps.uids, uid) && is_own(&maps.gids, gid) {
            return Ok(Self { maps: maps.as_bases(), writer: Writer::Itself });
        }
        let user = Self::of_user()?;
        for (name, map, base) in [
            ("uidMappings", &maps.uids, &user.maps.uids),
            ("gidMappings", &maps.gids, &user.maps.gids),
        ] {
            if map.through(&base.inverse()).is_none() {
                let text = format!("{}: not all of these are yours", lines::shown(map));
                let error = Error::refused(text).within(format!("config.json: linux.{name}"));
                return Err(error.hint(hint::SEE_SUBORDINATE_IDS));
            }
        }
        Ok(Self { maps: maps.as_bases(), writer: user.writer })
    }

    /// Returns the levels of a container below this base, which is present: its IDs are the host's for this process.
    /// Errors: IDs that base lacks.
    pub fn above(self, maps: &IdMaps<ContainerIds, HostIds>) -> Result<Levels> {
        let inward = self.maps.inverse();
        let missing = |name: &str, map: &[IdMap]| {
            let text = format!("{}: not all of these are mapped here", lines::shown(map));
            Error::refused(text).within(format!("config.json: linux.{name}"))
        };
        let uids = maps.uids.through(&inward.uids);
        let gids = maps.gids.through(&inward.gids);
        let container = IdMaps {
            uids: uids.ok_or_else(|| missing("uidMappings", &maps.uids))?,
            gids: gids.ok_or_else(|| missing("gidMappings", &maps.gids))?,
        };
        Ok(Levels { base: self, container: Some(container) })
    }

    /// Returns the maps for `--userns`, or for `--uidmap` and `--gidmap`. `room` is called only for a range of the
    /// container's own.
    pub fn container_maps(
        &self,
        mode: &UsernsMode,
        uidmap: &[AskedMap],
        gidmap: &[AskedMap],
        room: impl FnOnce() -> Result<Room>,
    ) -> Result<IdMaps<ContainerIds, HostIds>> {
        let in_base = if uidmap.is_empty() && gidmap.is_empty() {
            match mode {
                UsernsMode::Host => return Ok(self.maps.clone().as_containers()),
                UsernsMode::Auto(wanted) => self.own_range(wanted, &room()?)?,
                UsernsMode::KeepId { uid, gid, size } => IdMaps {
                    uids: lines::keep(
                        &self.maps.uids,
                        uid.unwrap_or(rustix::process::geteuid().as_raw()),
                        *size,
                    ),
                    gids: lines::keep(
                        &self.maps.gids,
                        gid.unwrap_or(rustix::process::getegid().as_raw()),
                        *size,
                    ),
                },
                UsernsMode::NoMap => IdMaps {
                    uids: lines::without_first(&self.maps.uids),
                    gids: lines::without_first(&self.maps.gids),
                },
            }
        } else {
            // podman: a single map serves for both.
            let or = |asked: &'_ [AskedMap], other: &'_ [AskedMap]| {
                if asked.is_empty() { other } else { asked }.to_vec()
            };
            IdMaps {
                uids: self.in_base(Setting::Uidmap.into(), &or(uidmap, gidmap), &self.maps.uids)?,
                gids: self.in_base(Setting::Gidmap.into(), &or(gidmap, uidmap), &self.maps.gids)?,
            }
        };
        if in_base.uids.is_empty() || in_base.gids.is_empty() {
            return Err(self.no_subordinate_ids(Setting::Userns.with("nomap")));
        }
        Ok(IdMaps {
            uids: self.to_host(Setting::Uidmap, &in_base.uids, &self.maps.uids)?,
            gids: self.to_host(Setting::Gidmap, &in_base.gids, &self.maps.gids)?,
        })
    }

    /// Converts requested lines to base. Errors: an ID of the host that is not in base.
    fn in_base(
        &self,
        label: Phrase,
        asked: &[AskedMap],
        base: &Map<BaseIds, HostIds>,
    ) -> Result<Map<ContainerIds, BaseIds>> {
        let inward = base.inverse();
        let mut map = Vec::new();
        for AskedMap { line, outside } in asked {
            map.extend(match outside {
                Outside::Base => vec![*line],
                Outside::Host => Map::<ContainerIds, HostIds>::new(vec![*line]).through(&inward).ok_or_else(|| {
                    let IdMap { inside, outside, count } = line;
                    let map = format!("{inside}:@{outside}:{count}");
                    Error::invalid("not all of these are yours").within(label.clone().with(map)).hint("the IDs behind @ are the host's: yours, and those of /etc/subuid and /etc/subgid")
                })?.to_vec(),
            });
        }
        Ok(Map::new(map))
    }

    /// Returns the maps to base for a range of the container's own. Errors: too few IDs.
    fn own_range(&self, wanted: &OwnRange, room: &Room) -> Result<IdMaps<ContainerIds, BaseIds>> {
        let label = || Setting::Userns.with("auto");
        let size = wanted.size.unwrap_or(room.needs.max(auto::LEAST));
        let (uids, gids) = self.own_ranges()?;
        if uids.is_empty() || gids.is_empty() {
            return Err(self.no_subordinate_ids(label()));
        }
        let short = |what: &str, shortage: auto::Shortage| {
            let auto::Shortage { needed, free, all } = shortage;
            let text = format!("{needed} {what} IDs are needed, and {free} of {all} are free");
            Error::invalid(text).within(label()).hint(hint::FEWER_IDS)
        };
        let fixed =
            self.in_base(Setting::Userns.with("auto:uidmapping"), &wanted.uids, &self.maps.uids)?;
        let others = room.others.iter().map(|maps| &maps.uids);
        let uids = auto::map(&uids, &self.maps.uids, others, &fixed, size)
            .map_err(|shortage| short("user", shortage))?;
        let fixed =
            self.in_base(Setting::Userns.with("auto:gidmapping"), &wanted.gids, &self.maps.gids)?;
        let others = room.others.iter().map(|maps| &maps.gids);
        let gids = auto::map(&gids, &self.maps.gids, others, &fixed, size)
            .map_err(|shortage| short("group", shortage))?;
        Ok(IdMaps { uids, gids })
    }

    /// Returns the ranges to choose from, in base's numbers. Root has all of the host's IDs, and most of them are in
    /// use. So root's ranges are those granted to the account `containers` (podman's).
    fn own_ranges(&self) -> Result<(Vec<subid::SubidRange>, Vec<subid::SubidRange>)> {
        if self.writer != Writer::Root || !crate::host::userns::in_initial_namespace() {
            return Ok((
                auto::all_but_first(&self.maps.uids),
                auto::all_but_first(&self.maps.gids),
            ));
        }
        let granted = subid::granted_to("containers")?;
        if granted.uids.is_empty() || granted.gids.is_empty() {
            let text = "no IDs are granted to the account 'containers'";
            return Err(Error::invalid(text).within(Setting::Userns.with("auto")).hint(
                "add a line like containers:2147483647:1073741824 to /etc/subuid and /etc/subgid",
            ));
        }
        Ok((granted.uids, granted.gids))
    }

    fn to_host(
        &self,
        setting: Setting,
        map: &Map<ContainerIds, BaseIds>,
        base: &Map<BaseIds, HostIds>,
    ) -> Result<Map<ContainerIds, HostIds>> {
        lines::check_disjoint(map).context(|| setting)?;
        map.through(base).ok_or_else(|| match lines::count(base) {
            1 => self.no_subordinate_ids(setting.into()),
            count => Error::invalid(format!("{}: you have 0 to {}", lines::shown(map), count - 1))
            .within(setting)
            .hint("the middle number counts from 0 (you), 1 (the first of your subordinate IDs) and so on"),
        })
    }

    fn no_subordinate_ids(&self, label: Phrase) -> Error {
        let error = Error::refused("needs subordinate IDs, and you have none that can be used")
            .within(label);
        match (subid::of_user(), idmap_helpers::hint()) {
            (Ok(Some(_)), Some(hint)) => error.hint(hint),
            _ => error.hint(subid::missing_hint()),
        }
    }

    /// Permission for setgroups(2) in base: denied if its own process maps it, or if it is denied in our namespace
    /// already. All namespaces below inherit the denial (user_namespaces(7)).
    pub fn setgroups(&self) -> Setgroups {
        let denied_around_us = || {
            std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny")
        };
        match self.writer {
            Writer::Itself => Setgroups::Denied,
            Writer::Root | Writer::Nobody if denied_around_us() => Setgroups::Denied,
            Writer::Root | Writer::Nobody | Writer::Helpers(_) => Setgroups::Allowed,
        }
    }

    /// Returns the levels that a container with `maps` needs. Errors: an ID that is not in base.
    pub fn levels(self, maps: &IdMaps<ContainerIds, HostIds>) -> Result<Levels> {
        let (wanted, own) = (lines::normalise(maps), lines::normalise(&self.maps));
        if wanted == own.as_containers() {
            return Ok(Levels { base: self, container: None });
        }
        if self.writer == Writer::Itself {
            // A single ID under another number: this map is as easy to write as base's.
            if lines::count(&wanted.uids) != 1 || lines::count(&wanted.gids) != 1 {
                fail!(Refused: "the container's map has IDs that are not yours");
            }
            return Ok(Levels {
                base: Self { maps: wanted.as_bases(), writer: Writer::Itself },
                container: None,
            });
        }
        let container = wanted.through(&self.maps.inverse()).ok_or_else(|| {
            Error::refused("the container's map has IDs that are not yours")
                .hint(hint::SEE_SUBORDINATE_IDS)
        })?;
        Ok(Levels { base: self, container: Some(container) })
    }
}

impl Levels {
    /// Moves the levels into another base, with the same IDs of the host for the container. `maps`: those of that base.
    /// `None`: that base lacks IDs.
    pub fn within(self, maps: &IdMaps<BaseIds, HostIds>) -> Option<Self> {
        if lines::normalise(maps) == lines::normalise(&self.base.maps) {
            return Some(self);
        }
        let container = self.to_host()?.through(&maps.inverse())?;
        let base = Base { maps: maps.clone(), writer: self.base.writer };
        Some(Self { base, container: Some(container) })
    }

    /// Returns the maps from the container's IDs to the host's. `None`: base lacks IDs.
    pub fn to_host(&self) -> Option<IdMaps<ContainerIds, HostIds>> {
        match &self.container {
            None => Some(self.base.maps.clone().as_containers()),
            Some(container) => container.through(&self.base.maps),
        }
    }

    /// Gives the container a namespace of its own with the same IDs: helper processes then stay out of its sight and
    /// reach.
    pub fn apart(self) -> Self {
        let itself = |map: &[IdMap]| {
            map.iter().map(|line| IdMap::new(line.inside, line.inside, line.count)).collect()
        };
        let maps = &self.base.maps;
        let same = IdMaps::new(itself(&maps.uids), itself(&maps.gids));
        Self { container: Some(self.container.unwrap_or(same)), ..self }
    }

    /// Returns the IDs to show in base for those on disk: the container's maps, unless those are the identity.
    pub fn shown(&self) -> Option<IdMaps<FileIds, BaseIds>> {
        let changes = |map: &[IdMap]| map.iter().any(|line| line.inside != line.outside);
        let maps = self.container.as_ref()?;
        (changes(&maps.uids) || changes(&maps.gids)).then(|| maps.clone().as_files())
    }
}
