//! `idmap[=uids=[@]FILES-SHOWN-COUNT[#...];gids=...]`: the IDs under which a bind mount shows its files (podman's
//! syntax).

use std::str::FromStr;

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Spec};

use crate::error::{Error, Result};
use crate::ids::{ContainerIds, FileIds, HostIds, IdMap, IdMaps, Map};

/// Maps from the option; without any, the container's own map applies: root's files belong to the container's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idmap {
    uids: Vec<IdmapLine>,
    gids: Vec<IdmapLine>,
}

/// Range of file IDs (`inside`) and the IDs under which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IdmapLine {
    line: IdMap,
    shown: IdmapTarget,
}

/// Meaning of the shown IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdmapTarget {
    /// IDs of the host.
    Host,
    /// IDs of the container (`@`).
    Container,
}

impl Idmap {
    /// Parses an option of a volume or of `--mount`. `None`: a different option.
    pub(super) fn of_option(option: &str) -> Option<Result<Self, String>> {
        match option.strip_prefix("idmap")? {
            "" => Some(Ok(Self::default())),
            rest => rest.strip_prefix('=').map(str::parse),
        }
    }

    /// Returns the maps for config.json, from the files' IDs to the host's. `None`: the container's map applies.
    /// Errors: an ID behind @ that the container does not have.
    pub(super) fn mappings(
        &self,
        container: &IdMaps<ContainerIds, HostIds>,
    ) -> Result<Option<(Vec<LinuxIdMapping>, Vec<LinuxIdMapping>)>> {
        if self.uids.is_empty() && self.gids.is_empty() {
            return Ok(None);
        }
        // A single map serves for both, as with --uidmap.
        let or = |asked: &'_ [IdmapLine], other: &'_ [IdmapLine]| {
            if asked.is_empty() { other } else { asked }.to_vec()
        };
        let uids = to_host(&or(&self.uids, &self.gids), &container.uids)?;
        let gids = to_host(&or(&self.gids, &self.uids), &container.gids)?;
        Ok(Some((mappings(&uids)?, mappings(&gids)?)))
    }
}

fn to_host(
    lines: &[IdmapLine],
    container: &Map<ContainerIds, HostIds>,
) -> Result<Map<FileIds, HostIds>> {
    let mut map = Vec::new();
    for IdmapLine { line, shown } in lines {
        map.extend(match shown {
            IdmapTarget::Host => vec![*line],
            IdmapTarget::Container => {
                let shown = Map::<FileIds, ContainerIds>::new(vec![*line]).through(container);
                let shown = shown.ok_or_else(|| {
                    let IdMap { inside, outside, count } = line;
                    let text = format!(
                        "idmap: @{inside}-{outside}-{count}: not all of these are IDs of the container"
                    );
                    Error::invalid(text).hint("without @ the middle number is the host's")
                });
                shown?.to_vec()
            }
        });
    }
    Ok(Map::new(map))
}

impl FromStr for Idmap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut idmap = Self::default();
        for part in text.split(';') {
            let (list, lines) = match part.split_once('=') {
                Some(("uids", lines)) => (&mut idmap.uids, lines),
                Some(("gids", lines)) => (&mut idmap.gids, lines),
                _ => return Err(format!("idmap: '{part}' is neither uids=... nor gids=...")),
            };
            if !list.is_empty() {
                return Err(format!("idmap: '{part}' is there twice"));
            }
            *list = lines.split('#').map(line).collect::<Result<_, _>>()?;
        }
        Ok(idmap)
    }
}

fn line(text: &str) -> Result<IdmapLine, String> {
    let (shown, numbers) = match text.strip_prefix('@') {
        Some(rest) => (IdmapTarget::Container, rest),
        None => (IdmapTarget::Host, text),
    };
    let wrong = || format!("idmap: '{text}' is not [@]FILES-SHOWN-COUNT");
    if numbers.split('-').count() != 3 {
        return Err(wrong());
    }
    let line =
        numbers.replace('-', ":").parse().map_err(|error| format!("{}: {error}", wrong()))?;
    Ok(IdmapLine { line, shown })
}

/// Returns the lines of a map as the config has them.
pub(super) fn mappings(map: &[IdMap]) -> Result<Vec<LinuxIdMapping>> {
    let line = |line: &IdMap| {
        LinuxIdMappingBuilder::default()
            .container_id(line.inside)
            .host_id(line.outside)
            .size(line.count)
            .build()
            .map_err(Error::new)
    };
    map.iter().map(line).collect()
}

/// Gives the container these IDs instead of its own.
pub fn set_maps(spec: &mut Spec, maps: &IdMaps<ContainerIds, HostIds>) -> Result<()> {
    if let Some(linux) = spec.linux_mut() {
        linux.set_uid_mappings(Some(mappings(&maps.uids)?));
        linux.set_gid_mappings(Some(mappings(&maps.gids)?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_host_s_or_the_container_s() {
        let idmap: Idmap = "uids=0-1-10#@10-3-10;gids=0-100-10".parse().unwrap();
        let map = vec![IdMap::new(0, 5000, 5), IdMap::new(5, 7000, 100)];
        let container = IdMaps::new(map.clone(), map);
        let (uids, gids) = idmap.mappings(&container).unwrap().unwrap();
        let numbers = |list: &[LinuxIdMapping]| -> Vec<_> {
            list.iter().map(|line| (line.container_id(), line.host_id(), line.size())).collect()
        };
        assert_eq!(numbers(&uids), [(0, 1, 10), (10, 5003, 2), (12, 7000, 8)]);
        assert_eq!(numbers(&gids), [(0, 100, 10)]);
        let beyond: Idmap = "gids=@0-100-10".parse().unwrap();
        assert!(beyond.mappings(&container).unwrap_err().to_string().contains("@0-100-10"));
        assert_eq!(Idmap::default().mappings(&container).unwrap(), None);
    }

    #[test]
    fn a_malformed_map_is_refused_with_the_part_that_is_wrong() {
        for (wrong, said) in [
            ("", "''"),
            ("uids", "'uids'"),
            ("pids=0-0-1", "'pids"),
            ("uids=0-0-1;uids=1-1-1", "twice"),
            ("uids=", "''"),
            ("uids=0-0", "'0-0'"),
            ("uids=0-0-1#", "''"),
            ("uids=0-0-0", "'0-0-0'"),
            ("uids=0--1-1", "'0--1-1'"),
            ("uids=@@0-0-1", "'@@0-0-1'"),
        ] {
            let error = wrong.parse::<Idmap>().unwrap_err();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }
}
