//! Emulated IDs of a process, changed by the kernel's own rules (kernel/sys.c, kernel/groups.c). Programs that verify
//! that they have given up root (sshd, apt) find that they have.

use std::sync::Arc;

/// (uid_t) -1: no change.
const UNCHANGED: u32 = u32::MAX;

/// Reason to refuse a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not permitted with these IDs (EPERM).
    NotPermitted,
    /// Not an ID (EINVAL).
    Invalid,
}

type Changed = Result<(), Refused>;

/// Root's power over IDs of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// CAP_SETUID or CAP_SETGID.
    Held,
    /// No power: only changes between the process's own IDs.
    None,
}

/// The four IDs of a kind: user or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Real ID.
    pub real: u32,
    /// Effective ID.
    pub effective: u32,
    /// Saved ID.
    pub saved: u32,
    /// ID for access to files.
    pub files: u32,
}

impl Ids {
    /// Sets all four IDs alike.
    pub fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, files: id }
    }

    fn has(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// Emulates setuid(2) or setgid(2).
    pub fn set(&mut self, id: u32, power: Power) -> Changed {
        if id == UNCHANGED {
            return Err(Refused::Invalid);
        }
        match power {
            Power::Held => *self = Self::all(id),
            Power::None if id == self.real || id == self.saved => {
                (self.effective, self.files) = (id, id);
            }
            Power::None => return Err(Refused::NotPermitted),
        }
        Ok(())
    }

    /// Emulates setreuid(2) or setregid(2).
    pub fn set_two(&mut self, real: u32, effective: u32, power: Power) -> Changed {
        let old = *self;
        let may_be_real = [old.real, old.effective].contains(&real);
        let allowed = |id: u32, is_own: bool| id == UNCHANGED || is_own || power == Power::Held;
        if !allowed(real, may_be_real) || !allowed(effective, old.has(effective)) {
            return Err(Refused::NotPermitted);
        }
        self.real = or(real, old.real);
        self.effective = or(effective, old.effective);
        if real != UNCHANGED || (effective != UNCHANGED && effective != old.real) {
            self.saved = self.effective;
        }
        self.files = self.effective;
        Ok(())
    }

    /// Emulates setresuid(2) or setresgid(2).
    pub fn set_three(&mut self, real: u32, effective: u32, saved: u32, power: Power) -> Changed {
        let asked = [real, effective, saved];
        let is_own = |id: &u32| *id == UNCHANGED || self.has(*id);
        if power == Power::None && !asked.iter().all(is_own) {
            return Err(Refused::NotPermitted);
        }
        self.real = or(real, self.real);
        self.effective = or(effective, self.effective);
        self.saved = or(saved, self.saved);
        self.files = self.effective;
        Ok(())
    }

    /// Emulates setfsuid(2) or setfsgid(2): returns the previous ID, whether changed or not.
    pub fn set_files(&mut self, id: u32, power: Power) -> u32 {
        let before = self.files;
        if id != UNCHANGED && (power == Power::Held || self.has(id) || id == before) {
            self.files = id;
        }
        before
    }
}

fn or(id: u32, unchanged: u32) -> u32 {
    if id == UNCHANGED { unchanged } else { id }
}

/// All IDs of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User IDs.
    pub users: Ids,
    /// Group IDs.
    pub groups: Ids,
    /// Supplementary groups; `None`: never set, so the kernel's apply.
    pub supplementary: Option<Arc<[u32]>>,
}

impl Credentials {
    /// Credentials of a process that has changed none.
    pub fn of(uid: u32, gid: u32) -> Self {
        Self { users: Ids::all(uid), groups: Ids::all(gid), supplementary: None }
    }

    /// True if the effective user is root.
    pub fn is_root(&self) -> bool {
        self.users.effective == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Power::{Held, None};
    use super::*;

    fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved, files: effective }
    }

    #[test]
    fn root_becomes_another_for_good() {
        let mut users = Ids::all(0);
        users.set(5, Held).unwrap();
        assert_eq!(users, Ids::all(5));
        assert_eq!(users.set(0, None), Err(Refused::NotPermitted));
        assert_eq!(users.set(UNCHANGED, Held), Err(Refused::Invalid));
    }

    #[test]
    fn a_saved_id_is_the_way_back() {
        let mut users = Ids::all(0);
        users.set_three(UNCHANGED, 5, UNCHANGED, Held).unwrap();
        assert_eq!(users, ids(0, 5, 0));
        users.set(0, None).unwrap();
        assert_eq!(users, ids(0, 0, 0));
        users.set_two(UNCHANGED, 5, Held).unwrap(); // seteuid(3) of an older libc
        assert_eq!(users, ids(0, 5, 5), "setreuid saves what is not the real one");
        users.set_two(5, 0, None).unwrap();
        assert_eq!(users, ids(5, 0, 0), "the two are exchanged");
    }

    #[test]
    fn no_process_takes_ids_that_are_not_its_own() {
        let mut users = ids(1, 2, 3);
        assert_eq!(users.set_two(3, UNCHANGED, None), Err(Refused::NotPermitted));
        assert_eq!(users.set_two(UNCHANGED, 4, None), Err(Refused::NotPermitted));
        assert_eq!(users.set_three(3, 4, 1, None), Err(Refused::NotPermitted));
        assert_eq!(users, ids(1, 2, 3));
        users.set_three(3, 1, 2, None).unwrap();
        assert_eq!(users, ids(3, 1, 2));
    }

    #[test]
    fn the_id_of_files_answers_with_the_one_before() {
        let mut users = Ids::all(0);
        assert_eq!((users.set_files(7, Held), users.files), (0, 7));
        assert_eq!((users.set_files(UNCHANGED, Held), users.files), (7, 7));
        assert_eq!((users.set_files(9, None), users.files), (7, 7));
        assert_eq!((users.set_files(0, None), users.files), (7, 0));
    }
}
