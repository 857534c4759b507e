//! POSIX ACLs on the FUSE overlay: users and groups within are moved as owners are.

use crate::fuse_overlay::{script, script_with_all_ids};
use crate::support::{Place, finish, need, need_subids};

#[test]
fn users_and_groups_of_acls_are_moved_as_owners_are() {
    if !["unshare", "setfacl", "getfacl"].iter().all(|program| need(program)) || !need_subids() {
        return;
    }
    let place = Place::new();
    let ran = script_with_all_ids(
        &place,
        "acl() { getfacl -n -c \"$@\" | grep -E ':[0-9]+:' | tr '\\n' ' '; }
         echo x > lower/f; setfacl -m u:3:rw,g:4:r,u:100:r lower/f; mkdir lower/d
         mount_with ,uidmapping=0:0:1:3:5:2,gidmapping=0:0:1:4:50:2
         is \"$(acl m/f)\" 'user:5:rw- group:50:r-- '
         setfacl -m u:5:r,g:50:rw m/f
         is \"$(acl m/f)\" 'user:5:r-- group:50:rw- '; is \"$(acl upper/f)\" 'user:3:r-- group:4:rw- '
         is \"$(acl lower/f)\" 'user:3:rw- user:100:r-- group:4:r-- '
         fails setfacl -m u:60:r m/f; says 'too large\\|Invalid'
         setfacl -d -m u:5:rwx m/d; touch m/d/new
         is \"$(acl upper/d/new | cut -c1-10) $(acl m/d/new | cut -c1-10)\" 'user:3:rwx user:5:rwx'
         setfacl -b m/f; is \"$(acl m/f)\" ''; unmount",
    );
    ran.works();
}

/// Users without an ID here are left out: with them the kernel would refuse the whole of it, and the file.
#[test]
fn a_file_with_an_acl_for_strangers_can_be_read_and_copied_up() {
    if !["unshare", "setfacl", "getfacl"].iter().all(|program| need(program)) {
        return;
    }
    let place = Place::new();
    let file = place.write("file", "old\n");
    let file = file.to_str().expect("UTF-8");
    finish(std::process::Command::new("setfacl").args(["-m", "u:54321:rwx,g:54321:r", file]), "")
        .works();
    let ran = script(
        &place,
        "mv ../file lower/f; mount_with ''
         is \"$(cat m/f)\" old; fails sh -c 'getfacl -n -c m/f | grep 54321'; echo new >> m/f; cat upper/f; unmount",
    );
    assert_eq!(ran.works(), "old\nnew");
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
