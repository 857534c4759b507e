//! User, groups and capabilities of the command as options of setpriv(1).

use std::fmt::Write;

use crate::engine::plan::process::{Groups, ProcessCredentials};

/// Returns the options, each with a blank before it.
pub(super) fn setpriv(who: &ProcessCredentials) -> String {
    let names = |set: &caps::CapsHashSet, sign: &str| {
        let mut names: Vec<String> = set
            .iter()
            .map(|capability| format!("{sign}{}", capability.to_string()[4..].to_lowercase()))
            .collect();
        names.sort();
        names.join(",")
    };
    let minus_all = |kept: &caps::CapsHashSet| match kept.is_empty() {
        true => "-all".to_owned(),
        false => format!("-all,{}", names(kept, "+")),
    };
    let mut line = format!(
        " --bounding-set={} --inh-caps={}",
        minus_all(&who.bounding),
        minus_all(&who.inheritable)
    );
    if !who.ambient.is_empty() {
        let _ = write!(line, " --ambient-caps={}", minus_all(&who.ambient));
    }
    if (who.uid, who.gid) != (0, 0) {
        let _ = write!(line, " --reuid={} --regid={}", who.uid, who.gid);
    }
    match &who.groups {
        Groups::Set(groups) if groups.is_empty() => line.push_str(" --clear-groups"),
        Groups::Set(groups) => {
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            let _ = write!(line, " --groups={}", groups.join(","));
        }
        Groups::Keep if (who.uid, who.gid) != (0, 0) => line.push_str(" --keep-groups"),
        Groups::Keep => {}
    }
    line
}
