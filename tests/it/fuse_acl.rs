//! POSIX ACLs on the FUSE overlay: users and groups within are moved as owners are.

use crate::fuse_overlay::script;
use crate::support::{Place, need};

#[test]
fn users_and_groups_of_acls_are_moved_as_owners_are() {
    if !["unshare", "setfacl", "getfacl"].iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "acl() { getfacl -n -c \"$@\" | grep -E ':[0-9]+:' | tr '\\n' ' '; }
         echo x > lower/f; setfacl -m u:0:rw,g:0:r lower/f; mkdir lower/d
         mount_with ,uidmapping=0:5:1,gidmapping=0:50:1
         is \"$(acl m/f)\" 'user:5:rw- group:50:r-- '
         setfacl -m u:5:r,g:50:rw m/f
         is \"$(acl m/f)\" 'user:5:r-- group:50:rw- '; is \"$(acl upper/f)\" 'user:0:r-- group:0:rw- '
         is \"$(acl lower/f)\" 'user:0:rw- group:0:r-- '
         fails setfacl -m u:6:r m/f; says 'too large\\|Invalid'
         setfacl -d -m u:5:rwx m/d; touch m/d/new
         is \"$(acl upper/d/new)\" 'user:0:rwx #effective:rw- ' || is \"$(acl m/d/new | tr -s '\\t ')\" x
         setfacl -b m/f; is \"$(acl m/f)\" ''; unmount",
    );
    ran.works();
}

#[test]
fn acls_stay_what_they_are_where_nothing_is_moved() {
    if !["unshare", "setfacl", "getfacl"].iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "echo x > lower/f; setfacl -m u:0:rw lower/f; mount_with ''
         is \"$(getfacl -n -c m/f | grep user:0)\" user:0:rw-; echo y >> m/f
         is \"$(getfacl -n -c upper/f | grep user:0)\" user:0:rw-; unmount",
    );
    ran.works();
}

/// The real modes stand for nothing there, and an ACL would be checked against them.
#[test]
fn there_are_no_acls_where_owners_are_records() {
    if !["unshare", "setfacl", "getfacl"].iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    let ran = script(
        &place,
        "echo x > lower/f; mount_with ,xattr_permissions=2
         fails setfacl -m u:0:rw m/f; says 'not supported'; getfacl m/f > /dev/null; cp -p m/f m/g; cp -a m/g m/h
         is \"$(cat m/h)\" x; unmount",
    );
    ran.works();
}
